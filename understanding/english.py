"""English as people type it into a search: words that only ask, "not", where clauses end.

General English; nothing here knows what a library is about. Text in other languages passes through:
its words count as content, and clauses end at punctuation.
"""

import re
from itertools import takewhile

FUNCTION_WORDS = frozenset(
    """a an the this that these those to of in on at by for from with into onto via as and or is are
    be been was were do does did can could should would will must have has had i you he she it we
    they me us them my your our its his her their any all some every each so than if whose which
    who what how where when why there i'd i'm i've i'll it's we'd we're we've what's who's how's
    that's there's let's one two both either please many much more most very just only also too
    then""".split()
)
# What is said of the asking and of what is found. How an agent was trained tells not what for.
REQUEST_WORDS = frozenset(
    """want wants wish like love need needs require requires recommend suggest suggestion looking
    searching interested able trying policy policies agent agents robot bot model library best
    better good great other another something anything somebody someone objective task behaviour
    behaviours hi hello hey thanks thank ok trained learned a2c ddpg dqn ppo sac td3 trpo""".split()
)
# Requests and tasks begin with these: "get me an agent", "get out".
ASKING_WORDS = frozenset("find get give show tell bring search provide".split())
ENGLISH = FUNCTION_WORDS | REQUEST_WORDS | ASKING_WORDS
WORD = re.compile(r"[^\W_][\w'’]*")
# Where one clause ends and the next begins: punctuation (but not in 0,5 or 12:30), conjunctions,
# and before what begins a clause of its own: "reach the goal | without picking up any coins".
BREAK = re.compile(
    r"""\s*(?: [,.:/](?!\d) | [;!?|&+()\n–—。，、；：！？] | \s-+\s | \b(?:
        and|but|n?or|then|also|plus|when|while|whilst|yet|before|after|afterwards|once|until|till|
        as\ well\ as|in\ addition\ to|besides|apart\ from|followed\ by|first|finally|that|which|
        (?:on|along)\ \w+\ way(?:\ to)?|en\ route(?:\ to)?|please|thanks
    )\b )\s* |
    (?<!not)\s+(?= (?:with|without|in\ (?:the|as)|using|\w{3,}ly|rather\ than|instead\ of|never|
        not\ (?:the|any))\b )""",
    re.IGNORECASE | re.VERBOSE,
)
# "do not leave until you have the gold" asks for both.
CONDITION = re.compile(
    r"\b(?:not|never|\w+n['’]t)\s+([^,;.]+?)\s+(?:until|unless|without)\b", re.IGNORECASE
)
# Words that say "not". Said twice it is no negation: "do not miss any".
NEGATION = re.compile(
    r"""n['’]t\b | \b(?:
        no(?!\ time\b)|not(?!\ (?:only|just)\b)|nor|never|neither|none|nothing|nobody|without|
        rather\ than|instead\ of|avoid\w*|ignor\w+|skip\w*|forget\w*|except\w*|exclud\w*|miss|
        stop|regardless|(?:leav\w+|left|away)(?=.*\b(?:alone|out|behind|where|from)\b)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)


def words_of(text: str) -> list[str]:
    """List the words of a text in lower case."""
    return [word.lower() for word in WORD.findall(text)]


def is_negated(text: str) -> bool:
    """Tell whether the first clause of a text says "not", an odd number of times."""
    return len(NEGATION.findall(BREAK.split(text, maxsplit=1)[0])) % 2 == 1


def clauses(text: str) -> list[tuple[int, int]]:
    """Find where the parts of a text that grammar does not cut start and end.

    Words that only ask ("please show me an agent that") are no part of them.
    """
    breaks = list(BREAK.finditer(text))
    starts = [0, *(cut.end() for cut in breaks)]
    ends = [*(cut.start() for cut in breaks), len(text)]
    parts = [list(WORD.finditer(text, *bounds)) for bounds in zip(starts, ends, strict=True)]
    said = filter(None, map(_without_asking, parts))
    return [(words[0].start(), words[-1].end()) for words in said]


def _without_asking(words: list[re.Match[str]]) -> list[re.Match[str]]:
    """Leave out the words at the start that only ask; none is left when the rest says nothing."""
    asking = list(takewhile(lambda word: word.group().lower() in ENGLISH, words))
    while asking and asking[-1].group().lower() not in REQUEST_WORDS:
        asking.pop()
    said = words[len(asking) :]
    return said if any(word.group().lower() not in FUNCTION_WORDS for word in said) else []
