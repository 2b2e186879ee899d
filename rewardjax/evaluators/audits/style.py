"""How a response is written, in numbers: five habits that reward models are known to pay for.

None of them depends on what the response says. Word lists are English; texts in other languages get
their length, lists and markdown measured, and zeros for the rest.
"""

import re

import numpy as np

# By name, what is measured; the page prints these sentences.
FEATURES = {
    "length": "log2(1 + words): 1 more is twice the words",
    "lists": "share of the lines that are list items",
    "markdown": "marks a hundred words: headings, bold, code, tables, links",
    "hedging": "hedges a hundred words: perhaps, I think, it seems",
    "opener": "1 where it opens with praise, agreement or eagerness",
}

# "- x", "* x", "1. x", "(b) x"; a letter or number needs its point or bracket, and text after it.
ITEM = re.compile(r"^\s*(?:[-*+•]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S", re.MULTILINE)
LINE = re.compile(r"^.*\S.*$", re.MULTILINE)
MARK = re.compile(
    # headings and bold
    r"^\s{0,3}#{1,6}\s|\*\*[^*\n]+\*\*|__[^_\n]+__"
    # code blocks and inline code
    r"|^\s*```|`[^`\n]+`"
    # rows of tables and links
    r"|^\s*\|.*\|\s*$|\[[^\]\n]+\]\([^)\n]+\)"
    # quotes and rules
    r"|^\s*>\s|^\s*(?:-{3,}|\*{3,})\s*$",
    re.MULTILINE,
)
HEDGE = re.compile(
    r"\b(?:might|may|perhaps|maybe|possibly|probably|presumably|arguably|apparently|seemingly|"
    r"somewhat|likely|unlikely|generally|typically|usually|often|roughly|could be|can be|i think|"
    r"i believe|i suppose|i guess|i assume|i feel|in my opinion|in my view|it seems?|"
    r"it appears|seems? to|appears? to|tends? to|"
    r"not (?:entirely |completely |quite |fully )?(?:sure|certain|clear)|as far as i know|"
    r"to my knowledge|it depends|in some cases|to some extent|more or less|sort of|kind of)\b"
)
PRAISE = (
    r"great|excellent|good|fantastic|wonderful|amazing|brilliant|insightful|thoughtful|interesting|"
    r"fascinating|lovely|superb|awesome|perfect"
)
# At the very start only: the same words later in a response may belong to its subject.
OPENER = re.compile(
    # "What a great ..."
    rf"\W*(?:(?:what an?|that(?:'s| is) (?:an?|such an?)|this is (?:an?|such an?)|such an?) "
    rf"(?:\w+ ){{0,2}}(?:{PRAISE})\b|"
    # "Great question"
    rf"(?:{PRAISE}) (?:\w+ )?"
    r"(?:question|point|idea|choice|job|work|thought|request|thinking|observation|topic)\b|"
    # agreement
    r"you(?:'re| are) (?:\w+ )?(?:right|correct)\b|"
    # eagerness; the mark after it keeps "sure enough" out
    r"(?:absolutely|certainly|definitely|of course|sure thing|sure|gladly|happily)\s*[!,.]|"
    r"i(?:'d| would) (?:be (?:\w+ )?(?:happy|glad|delighted|thrilled|honou?red)|love) to\b|"
    r"i(?:'m| am) (?:\w+ )?(?:happy|glad|delighted) to\b|"
    r"i (?:completely |totally |fully |wholeheartedly )?(?:agree|love (?:this|that|your|how))\b|"
    r"thank(?:s| you)(?: so much| very much)? for (?:asking|your|sharing|reaching|bringing)\b)"
)
# A Chinese, Japanese or Korean character counts as a word, since no spaces say where words end.
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]|"
    r"[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+"
)


def features(text: str) -> np.ndarray:
    """The measures of FEATURES [F] of a response, in that order; all zero for an empty one."""
    words = len(WORD.findall(text))
    lines = len(LINE.findall(text))
    # The word lists are in lower case and with straight apostrophes.
    lower = text.lower().replace("’", "'")
    per_hundred_words = 100 / max(words, 1)
    return np.array(
        [
            np.log2(1 + words),
            len(ITEM.findall(text)) / max(lines, 1),
            len(MARK.findall(text)) * per_hundred_words,
            len(HEDGE.findall(lower)) * per_hundred_words,
            float(OPENER.match(lower) is not None),
        ]
    )
