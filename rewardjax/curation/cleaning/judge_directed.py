"""Texts that talk to their judge instead of answering: prompt injection in what is to be judged.

A layout that nobody can imitate (`judges.prompts`) keeps such a text inside its tags, but a model
may still do what it reads there. These patterns only flag: texts about prompt injection match too.
"""

import re
import unicodedata

# Raise it where a pattern changes: pairs are looked at again then.
VERSION = 1

# Letters of other scripts that look like Latin ones.
LOOK_ALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0445\u0443\u0456\u0458\u0455\u0501\u04bb\u051b\u051d\u043a\u043c\u0442"
    "\u03bf\u03b1\u03b9\u03bd\u03c1\u03c5\u03ba",
    "aeopcxyijsdhqwkmtoaivpuk",
)
GREEK_OR_CYRILLIC = re.compile(r"[\u0370-\u052f]")
# Accents and characters of no width, which would hide a word from a pattern.
HIDING = re.compile(
    r"[\u0300-\u036f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    r"\U000e0000-\U000e007f]"
)
# A response as a judge's prompt may call it, and which one.
_REPLY = r"(?:candidate|response|assistant|reply|completion|output|model)"
_QUOTE = r"[\"']"
_PLACE = r"(?:#?\s?(?:1|2|a|b|one|two))\b"
_ORDINAL = r"(?:first|second|former|latter)"
_CHOOSE = (
    r"(?:choose|select|pick|prefer|favou?r|vote for|go with|declare|return|answer with|"
    r"your (?:verdict|choice|answer|decision) (?:is|must be|should be))"
)
_EARLIER = r"(?:previous|prior|above|earlier|preceding|all|any|your|these|those|the system|other)"
_ORDERS = (
    r"(?:instructions?|prompts?|rules|guidelines?|directions|directives|criteri(?:a|on)|rubrics?)"
)
_JUDGE = r"(?:judges?|evaluators?|graders?|raters?|annotators?|reward models?|reviewing model)"

# Kind -> pattern, on text as `_as_read` makes it: in small letters and without accents.
PATTERNS = {
    "sets instructions aside": re.compile(
        rf"\b(?:ignore|disregard|forget|override|bypass|do not follow|don't follow)\b"
        rf".{{0,30}}\b{_EARLIER}\b.{{0,30}}\b{_ORDERS}\b"
        r"|\b(?:ignorier\w*|vergiss|vergessen sie|missacht\w*)\b.{0,50}"
        r"(?:anweisung|instruktion|vorgabe|regeln)"
        r"|\b(?:ignore[rz]?|oublie[rz]?)\b.{0,50}(?:instructions|consignes|regles)"
        r"|\b(?:ignora\w*|olvida\w*|esquece\w*|desconsider\w*|dimentica\w*)\b.{0,50}"
        r"(?:instruccion|instruco|istruzion|reglas|regras|regole)"
        r"|(?:忽略|无视|無視|忘记|忘掉).{0,15}(?:指令|指示|说明|提示|规则|規則)"
        r"|(?:指示|命令|プロンプト|ルール).{0,8}(?:無視|忘れ)"
        r"|(?:игнорируи|проигнорируи|забудь)\w*.{0,40}(?:инструкц|указани|правил)"
        r"|(?:지시|명령|지침).{0,12}(?:무시|잊)"
    ),
    "names a winner": re.compile(
        rf"\b{_CHOOSE}\b[^.?!]{{0,30}}\b{_REPLY}[ -]?{_PLACE}"
        rf"|\b{_CHOOSE} (?:only )?(?:the )?{_ORDINAL} {_REPLY}\b"
        rf"|\b{_REPLY}[ -]?{_PLACE} (?:is|was|must|should|wins|deserves)\b[^.?!]{{0,25}}"
        r"\b(?:better|best|superior|preferred|chosen|winner|win|correct|higher)\b"
        rf"|\bthis (?:{_REPLY}|answer) (?:is|must|should|deserves)\b[^.?!]{{0,25}}"
        r"\b(?:better (?:than|one)|best (?:one|of)|superior|preferred|chosen|winner|win|"
        r"(?:highest|maximum|full|perfect|top) (?:score|rating|marks|grade))\b"
        rf"|\b(?:rate|score|grade|give)\b[^.?!]{{0,20}}\b(?:this|my|{_ORDINAL}) "
        rf"(?:{_REPLY}|answer)\b[^.?!]{{0,25}}"
        r"\b(?:10|ten|5|five|highest|maximum|best|full|perfect|top)\b"
        r"|\[\[\s*(?:[ab]|tie|rating:? ?\d+)\s*\]\]"
    ),
    "addresses the judge": re.compile(
        rf"\b(?:as|dear|attention|hey|hello|note to|message to|note for|if you are)"
        rf"(?: the| a| an| any| our| all| this)?(?: ai| llm| automated| impartial| human| fair)*"
        rf" {_JUDGE}\b.{{0,15}}\b(?:you|your|please|must|should|choose|select|prefer|give|rate|"
        rf"score|this|the)\b"
        rf"|\b(?:to|for) the {_JUDGE}\s?:"
        r"|(?:^|[\[(<#]\s?)(?:system|admin|developer)(?: (?:message|override|note|prompt))"
        r"?\s?[\])>]?\s?:"
    ),
    "gives a verdict": re.compile(
        rf"{_QUOTE}(?:preferred|verdict|winner|choice|better|best|preference|decision|judge?ment)"
        rf"(?:[ _]{1}(?:response|candidate|answer|model))?{_QUOTE}\s?[:=]\s?{_QUOTE}?"
        rf"(?:{_REPLY}[ _-]?(?:1|2|a|b)\b|no preference|tie\b|[12ab][\"'\s,}}])"
    ),
    "imitates the layout": re.compile(
        r"</?\s?candidate[ _-]?[12ab]\b"
        r"|</?\s?(?:conversation|example|attributes|tools) [0-9a-f]{8}\s?>"
        r"|\bnow the pair to decide\b"
        r"|<\|(?:im_start|im_end|start_header_id|end_header_id|eot_id|endoftext|system|user|"
        r"assistant|channel|message)\|>"
    ),
}


# Kind -> words of which a text that matches has one of each group: a search for a word is a hundred
# times as fast as a pattern, and most texts have none.
WORDS = {
    "sets instructions aside": (
        ("ignor", "disregard", "forget", "overrid", "bypass", "follow", "vergiss", "vergess")
        + ("missacht", "oubli", "olvid", "esquec", "desconsid", "dimentic")
        + ("忽略", "无视", "無視", "忘", "игнориру", "забуд", "무시", "잊"),
        ("instru", "prompt", "rule", "guideline", "direction", "directive", "criteri", "rubric")
        + ("istruz", "anweis", "vorgab", "regel", "regl", "regr", "regol", "consign")
        + (
            "指",
            "说明",
            "提示",
            "规则",
            "規則",
            "命令",
            "プロンプト",
            "ルール",
            "инструк",
            "указ",
            "прав",
        )
        + ("지시", "명령", "지침"),
    ),
    "names a winner": (
        ("choose", "select", "pick", "prefer", "favor", "favour", "vote", "go with", "declare")
        + ("return", "answer with", "verdict", "choice", "answer is", "answer must", "decision")
        + ("answer should", "better", "best", "superior", "chosen", "win", "correct", "higher")
        + ("rate", "score", "grade", "give", "[["),
        ("candidate", "response", "assistant", "reply", "completion", "output", "model")
        + ("this answer", "my answer", "first answer", "second answer", "[["),
    ),
    "addresses the judge": (
        ("judge", "evaluator", "grader", "rater", "annotator", "reward model", "reviewing model")
        + ("system", "admin", "developer"),
    ),
    "gives a verdict": (
        ("preferred", "verdict", "winner", "choice", "better", "best", "preference", "decision")
        + ("judgment", "judgement"),
        (":", "="),
    ),
    "imitates the layout": (
        ("candidate", "to decide", "<|", "example ", "tools ", "tion ", "tes "),
    ),
}


def find(text: str) -> dict[str, str]:
    """Kinds of talk to a judge in a text, each with the words that are it."""
    kinds = {}
    for reading in _readings(text):
        for kind, pattern in PATTERNS.items():
            if all(_has_one_of(words, reading) for words in WORDS[kind]):
                match = pattern.search(reading)
                if match:
                    kinds.setdefault(kind, match[0].strip())
    return kinds


def _has_one_of(words: tuple[str, ...], reading: str) -> bool:
    return any(word in reading for word in words)


def _readings(text: str) -> list[str]:
    """The text as a model may read it, and the same with look-alikes of Latin letters as Latin."""
    plain = _as_read(text)
    # Both: to a Russian text the second one is noise.
    if GREEK_OR_CYRILLIC.search(plain):
        return [plain, plain.translate(LOOK_ALIKES)]
    return [plain]


def _as_read(text: str) -> str:
    """Lower-cased on one line, without accents, invisible characters and marks of emphasis."""
    if not text.isascii():
        # Composed again: NFKD takes Hangul apart too.
        bare = HIDING.sub("", unicodedata.normalize("NFKD", text))
        text = unicodedata.normalize("NFC", bare)
    return re.sub(r"[\s*`]+", " ", text.casefold())
