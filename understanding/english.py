"""English as people type it into a search: words that only ask, negations, where clauses end.

General English; nothing here knows what a library is about.
"""

import re
from itertools import pairwise

FUNCTION_WORDS = frozenset(
    """a an the this that these those to of in on at by for from with into onto via as and or is are
    be been was were do does did can could should would will must have has had i you we he she it
    they me us them my your our its his her their any all some every each no not so than if whose
    which who what how where when why there there's i'd i'm i've i'll it's we'd we're we've you've
    what's who's where's how's that's let's one two both either please many much more most very just
    only""".split()
)
REQUEST_WORDS = frozenset(
    """want wants wanted wish like love need needs needed require requires recommend suggest
    suggestion suggestions looking searching interested able trying policy policies agent agents
    robot bot player library model best better good great other another thing things something
    somebody someone anything objective objectives task tasks behaviour behaviours hi hello hey
    thanks thank kindly ok okay well therefore called trained learned""".split()
)
ASKING_WORDS = frozenset("find get give show tell bring search return have see provide".split())
ASKED_FOR = frozenset(
    "me us policy policies agent agents robot bot player one something someone model".split()
)
PURPOSES = frozenset("goal aim purpose objective task job mission".split())

WORD = re.compile(r"[A-Za-z][A-Za-z']*")
TRAILER = re.compile(r"(?:\s+(?:please|thanks|polic(?:y|ies)))+\s*$", re.IGNORECASE)
NOUN_PHRASE = re.compile(r"(?:an?|the|any|all|some)\b", re.IGNORECASE)
OR_JOINT = re.compile(r"\s*n?or\s*", re.IGNORECASE)
AND_JOINT = re.compile(r"\s*(?:and|[&/])\s*", re.IGNORECASE)
GRID_SIZE = re.compile(r"\b\d+\s?(?:[x×]|by)\s?\d+\s+", re.IGNORECASE)
# "do not leave until you have the gold" asks for both.
CONDITION = re.compile(
    r"\b(?:(?:do|does|should|must)\s+not|don't|doesn't|never|not)\s+(\w.+?)\s+(?:until|unless|without)\b",
    re.IGNORECASE,
)
# What stands before it asks, or tells why: "for my course I need an agent | that ...".
INTRODUCTION = re.compile(r"\w+(?=\s+(?:that|which|who|whose)\b)", re.IGNORECASE)
PREFERENCE = re.compile(r"\b(?:rather (.+?) than|prefer (.+?) (?:to|over))\b", re.IGNORECASE)

# Where one clause ends and the next begins: punctuation (but not in 0,5 or 12:30) and conjunctions.
SEPARATOR = re.compile(
    r"""\s*(?:
        [,.:/](?!\d) | [;!?|&+\n–—] | \s-+\s |
        \b(?:and|but|n?or|then|also|plus|when|while|whilst|yet|before|
        (?<!not\ )(?<!go\ )(?<!goes\ )(?<!going\ )(?<!'m\ )(?<!am\ )after|
        afterwards|once|until|till|as\ well\ as|along\ with|together\ with|in\ addition\ to|
        on\ (?:the|your|its|my)\ way|en\ route|along\ the\ way|followed\ by|
        combined\ with|so\ that|in\ order\ to|first|finally|too)\b
    )\s*""",
    re.IGNORECASE | re.VERBOSE,
)
# A negation begins a clause of its own: "reach the goal | without picking up any coins".
CUT_BEFORE = re.compile(
    r"""\s+(?=
        (?:without|rather\ than|instead\ of|with\ no|ignoring|skipping|avoiding|disregarding|
        neglecting|except|excluding|regardless|however\ (?:long|much))\b |
        (?<!with\ )(?<!in\ )(?<!of\ )(?<!leave\ )(?<!leaving\ )no\b |
        (?<!is\ )(?<!are\ )(?<!do\ )(?<!does\ )(?<!should\ )(?<!must\ )(?<!will\ )(?<!to\ )not\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)
NEGATION = re.compile(
    r"""n't\b | \b(?:
        no|not|nor|never|neither|none|cannot|without|(?:rather\ than|instead\ of)(?:\ wasting)?|
        avoid\w*|ignor\w+|
        skip\w*|forget\w*|disregard\w*|neglect\w*|omit\w*|exclud\w+|except|regardless|however\ long|
        stop\ \w+ing|refus\w+|miss|missing|los(?:e|ing)|wast(?:e|es|ed|ing)|
        who\ (?:needs|wants|cares)|uninterested|irrelevant|unimportant|unnecessary|leave\ out|
        (?:stay|keep|steer)\ (?:(?:as\ )?far\ |well\ )?(?:away|clear|out)|
        (?:stay|remain|linger|wait)\w*\ (?:in|inside|at|near|by|where)|
        (?:leav\w+|left)(?=.*\b(?:alone|behind|where|un\w+ed)\b)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
NOT_NEGATION = re.compile(
    r"""\b(?:not|don't)\ (?:only|just|merely|simply)\b |
        \bno\ (?:later|longer|more|less|fewer)\ than\b | \bin\ no\ time\b |
        \bnothing\ (?:but|other\ than)\b | \bwhy\ (?:not|don't)\b | \b(?:ca|could)n't\ you\b""",
    re.IGNORECASE | re.VERBOSE,
)


def words_of(text: str) -> list[str]:
    """List the words of a text in lower case."""
    return [word.lower() for word in WORD.findall(text)]


def is_negated(text: str) -> bool:
    """Tell whether a text says "not"; "do not miss any" says it twice, which is not at all."""
    return len(NEGATION.findall(NOT_NEGATION.sub(" ", text))) % 2 == 1


def has_content(text: str) -> bool:
    """Tell whether a text says more than "show me the best policy that"."""
    return any(word not in FUNCTION_WORDS | REQUEST_WORDS for word in words_of(text))


def frame_length(text: str) -> int:
    """Count the characters that only ask: "please show me an agent that" at the start of a text."""
    words = [(match.group().lower(), match.end()) for match in WORD.finditer(text)]
    end, asking = 0, False
    for (word, stop), (following, _) in pairwise([*words, ("", 0)]):
        if word in ASKED_FOR:
            asking = False
        elif word in ASKING_WORDS:
            asking = True
        elif not _only_asks(word, following):
            break
        end = end if asking else stop
    return end


def _only_asks(word: str, following: str) -> bool:
    """Tell whether a word carries no aim: "the goal is to" does not, "the goal" may."""
    if word in PURPOSES:
        return following in ("is", "are", "should")
    return word in FUNCTION_WORDS | REQUEST_WORDS
