"""How a response is written, in numbers: the five habits that reward models are known to pay for, whatever it says.

Word lists are English; texts in other languages get their length, lists and markdown measured, and zeros for the rest.
"""

import re

import numpy as np

FEATURES = {
    "length": "log2(1 + words): 1 more is twice the words",
    "lists": "share of the lines that are list items",
    "markdown": "marks a hundred words: headings, bold, code, tables, links",
    "hedging": "hedges a hundred words: perhaps, I think, it seems",
    "opener": "1 where it opens with praise, agreement or eagerness",
}

ITEM = re.compile(r"^\s*(?:[-*+•]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S", re.MULTILINE)
LINE = re.compile(r"^.*\S.*$", re.MULTILINE)
MARK = re.compile(
    r"^\s{0,3}#{1,6}\s|\*\*[^*\n]+\*\*|__[^_\n]+__|^\s*```|`[^`\n]+`|^\s*\|.*\|\s*$|\[[^\]\n]+\]\([^)\n]+\)|^\s*>\s|^\s*(?:-{3,}|\*{3,})\s*$",
    re.MULTILINE,
)
HEDGE = re.compile(
    r"\b(?:might|may|perhaps|maybe|possibly|probably|presumably|arguably|apparently|seemingly|somewhat|likely|unlikely|generally|typically|"
    r"usually|often|roughly|could be|can be|i think|i believe|i suppose|i guess|i assume|i feel|in my opinion|in my view|it seems?|"
    r"it appears|seems? to|appears? to|tends? to|not (?:entirely |completely |quite |fully )?(?:sure|certain|clear)|as far as i know|"
    r"to my knowledge|it depends|in some cases|to some extent|more or less|sort of|kind of)\b"
)
PRAISE = (
    r"great|excellent|good|fantastic|wonderful|amazing|brilliant|insightful|thoughtful|interesting|fascinating|lovely|superb|awesome|"
    r"perfect"
)
OPENER = re.compile(
    rf"\W*(?:(?:what an?|that(?:'s| is) (?:an?|such an?)|this is (?:an?|such an?)|such an?) (?:\w+ ){{0,2}}(?:{PRAISE})\b|"
    rf"(?:{PRAISE}) (?:\w+ )?(?:question|point|idea|choice|job|work|thought|request|thinking|observation|topic)\b|"
    r"you(?:'re| are) (?:\w+ )?(?:right|correct)\b|"
    r"(?:absolutely|certainly|definitely|of course|sure thing|sure|gladly|happily)\s*[!,.]|"
    r"i(?:'d| would) (?:be (?:\w+ )?(?:happy|glad|delighted|thrilled|honou?red)|love) to\b|"
    r"i(?:'m| am) (?:\w+ )?(?:happy|glad|delighted) to\b|"
    r"i (?:completely |totally |fully |wholeheartedly )?(?:agree|love (?:this|that|your|how))\b|"
    r"thank(?:s| you)(?: so much| very much)? for (?:asking|your|sharing|reaching|bringing)\b)"
)
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+"
)


def features(text: str) -> np.ndarray:
    """The measures of FEATURES [5] of a response, in that order; an empty response has none of anything."""
    words = len(WORD.findall(text))
    lower = text.lower().replace("’", "'")
    per_hundred = 100 / max(words, 1)
    return np.array(
        [
            np.log2(1 + words),
            len(ITEM.findall(text)) / max(len(LINE.findall(text)), 1),
            len(MARK.findall(text)) * per_hundred,
            len(HEDGE.findall(lower)) * per_hundred,
            float(OPENER.match(lower) is not None),
        ]
    )
