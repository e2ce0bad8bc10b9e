"""English as people type it into a search: words that only ask, "not", where clauses end.

General English; nothing here knows what a library is about. Text in other languages passes through:
its words count as content, and clauses end at punctuation.
"""

import re
from dataclasses import dataclass

FUNCTION_WORDS = frozenset(
    """a an the this that these those to of in on at by for from with into onto via as and or is are
    be been was were do does did can could should would will must have has had i you he she it we
    they me us them my your our its his her their any all some every each so than if whose which
    who what how where when why there there's i'd i'm i've i'll it's we'd we're we've you've what's
    who's where's how's that's let's one two both either please many much more most very just only
    also too then there's""".split()
)
REQUEST_WORDS = frozenset(
    """want wants wanted wish like love need needs needed require requires recommend suggest
    suggestion suggestions looking searching interested able trying policy policies agent
    agents robot bot player library model best better good great other another thing things
    something somebody someone anything objective objectives task tasks behaviour behaviours hi
    hello hey thanks thank kindly ok okay well therefore called trained learned""".split()
)
# What an agent was trained with says nothing about what for.
ALGORITHMS = frozenset("a2c a3c ars ddpg dqn ppo qrdqn reinforce sac sarsa td3 tqc trpo".split())
ASKING_WORDS = frozenset("find get give show tell bring search return have see provide".split())
ASKED_FOR = frozenset(
    "me us policy policies agent agents robot bot player one something someone model".split()
)
FRAME_WORDS = FUNCTION_WORDS | REQUEST_WORDS | ALGORITHMS
ENGLISH = FRAME_WORDS | ASKING_WORDS
WORD = re.compile(r"[^\W_][\w'’]*")
# What may end a text without meaning anything.
TRAILER = re.compile(r"(?:[\s.!?,;:]+(?:please|thanks|thank you))*[\s.!?,;:]*$", re.IGNORECASE)

# Where one clause ends and the next begins: punctuation (but not in 0,5 or 12:30) and conjunctions.
SEPARATOR = re.compile(
    r"""\s*(?:
        [,.:/](?!\d) | [;!?|&+()\n–—。，、；：！？] | \s-+\s |
        \b(?:and|but|n?or|then|also|plus|when|while|whilst|whereas|yet|before|after|afterwards|once|
        until|till|as\ well\ as|along\ with|together\ with|in\ addition\ to|besides|apart\ from|
        on\ (?:the|your|its|my)\ way(?:\ to)?|en\ route(?:\ to)?|along\ the\ way|followed\ by|
        combined\ with|so\ that|in\ order\ to|first|finally|too|that|which|who)\b
    )\s*""",
    re.IGNORECASE | re.VERBOSE,
)
# These words begin a clause of their own: "reach the goal | without picking up any coins".
CUT_BEFORE = re.compile(
    r"""\s+(?=
        (?:(?<!to\ do\ )with(?!\ no\b)|without|in\ (?:the\ \w+est|as\ \w+)|using|
        reliably|consistently|rather\ than|instead\ of|never|avoiding|ignoring)\b |
        (?<!with\ )(?<!in\ )(?<!of\ )(?<!is\ )(?<!are\ )no\b |
        (?<!is\ )(?<!are\ )(?<!do\ )(?<!does\ )(?<!did\ )(?<!can\ )(?<!should\ )(?<!must\ )
        (?<!need\ )(?<!will\ )(?<!would\ )(?<!could\ )(?<!to\ )not\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)
# "do not leave until you have the gold" asks for both.
CONDITION = re.compile(
    r"\b(?:(?:do|does|should|must)\s+not|don['’]t|doesn['’]t|never|not)\s+(\w.+?)\s+"
    r"(?:until|unless|without)\b",
    re.IGNORECASE,
)
# Words that say "not". Said twice it is no negation: "do not miss any".
NEGATION = re.compile(
    r"""(?:n['’]t|\b(?:not|never))\ mind\b | n['’]t\b | \b(?:
        no(?!\ time\b)|not(?!\ (?:only|just|merely|simply)\b)|nor|never|neither|none|nothing|
        nobody|without|rather\ than|instead\ of|avoid\w*|ignor\w+|skip\w*|forget\w*|stop|
        regardless|except\w*|exclud\w*|miss(?:es|ing)?|omit\w*|neglect\w*|
        (?:leav\w+|left|away)(?=.*\b(?:alone|out|behind|where|from)\b)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)


def words_of(text: str) -> list[str]:
    """List the words of a text in lower case."""
    return [word.lower() for word in WORD.findall(text)]


def has_content(text: str) -> bool:
    """Tell whether a text says more than "show me the best policy that"."""
    return any(word not in FRAME_WORDS for word in words_of(text))


def is_negated(text: str) -> bool:
    """Tell whether a text says "not", an odd number of times: only then can it rule things out."""
    return len(NEGATION.findall(text)) % 2 == 1


def begins_negated(text: str) -> bool:
    """Tell whether a text says "not" before anything else: "not the coins", "never mind them"."""
    return NEGATION.match(text) is not None


@dataclass(frozen=True)
class Clause:
    """A part of a text that grammar does not cut.

    Attributes:
        start: where it starts.
        content: where the words start that do not only ask ("please show me an agent that").
        end: where it ends.
    """

    start: int
    content: int
    end: int


def clauses(text: str) -> list[Clause]:
    """Find the parts of a text that grammar does not cut, except those that only ask."""
    cuts = [(m.start(), m.end()) for rule in (SEPARATOR, CUT_BEFORE) for m in rule.finditer(text)]
    found, start = [], 0
    for end, following in [*sorted(cuts), (len(text), len(text))]:
        clause = _clause(text, start, end)
        if clause:
            found.append(clause)
        start = max(start, following)
    return found


def _clause(text: str, start: int, end: int) -> Clause | None:
    """Take white space off both ends of a part; None when nothing is left but a frame."""
    if not has_content(text[start:end]):
        return None
    end = start + len(TRAILER.sub("", text[start:end]))
    content = start + _frame_length(text[start:end])
    start += len(text[start:end]) - len(text[start:end].lstrip())
    return Clause(start, content, end)


def _frame_length(text: str) -> int:
    """Count the characters that only ask: "please show me an agent that" at the start of a text."""
    length, asking = 0, False
    for word in WORD.finditer(text):
        lower = word.group().lower()
        if lower in ASKED_FOR:
            asking = False
        elif lower in ASKING_WORDS:
            asking = True
        elif lower not in FRAME_WORDS:
            break
        length = length if asking else word.end()
    return length + len(text[length:]) - len(text[length:].lstrip())
