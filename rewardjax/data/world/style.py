"""How an answer is dressed: a nuisance drawn without looking at whether the answer is right.

`dress` and `undress` are inverse on the answer: dressing adds politeness, hedging, emphasis, bullets and filler; undressing finds the bare
answer again, so that a judge or an oracle can read a response as it stands.
"""

import re

from rewardjax.data.world.draw import Draw

FEATURES = ("opener", "hedge", "emphasis", "bullets", "filler", "closer")
OPENERS = ["Sure!", "Great question!", "Of course, happy to help!", "Thank you for asking!"]
HEDGES = ["I think", "I believe", "As far as I know,"]
FILLERS = [
    "I checked each part with care.",
    "It took me a while to work it out.",
    "I read the question twice and went through it slowly.",
]
CLOSERS = ["I hope this helps!", "Let me know if you need more.", "Have a nice day!"]
FRAMES = ["{}.", "Answer: {}.", "The answer is {}.", "Result: {}."]
_FRAME = re.compile(r"^(?:the answer is|answer:|result:)\s*", re.IGNORECASE)


def draw_style(draw: Draw) -> dict[str, bool]:
    """Which features a response has. A level is drawn first, so that pairs differ in how stylish they are and not only in which
    features."""
    level = draw.pick((0.05, 0.3, 0.6, 0.9))
    return {feature: draw.chance(level) for feature in FEATURES}


def score(style: dict[str, bool]) -> int:
    """How stylish a response is: the number of features it shows, 0 to 6."""
    return sum(style[feature] for feature in FEATURES)


def dress(answer: str, style: dict[str, bool], draw: Draw) -> str:
    """The response's text: `answer` (items joined by ", " where it has several) in the style's dress."""
    items = answer.split(", ")
    if style["emphasis"]:
        items = [f"**{item}**" for item in items]
    frame = draw.pick(FRAMES)
    if style["hedge"]:
        frame = f"{draw.pick(HEDGES)} {frame[0].lower()}{frame[1:]}"
    if style["bullets"]:
        core = "\n".join([frame.format("").rstrip(" .")] + [f"- {item}" for item in items]) + "\n"
    else:
        core = frame.format(", ".join(items))
    parts = [draw.pick(OPENERS)] if style["opener"] else []
    parts.append(core)
    parts += [draw.pick(FILLERS)] if style["filler"] else []
    parts += [draw.pick(CLOSERS)] if style["closer"] else []
    return re.sub(r" ?\n ?", "\n", " ".join(parts)).strip()


def undress(text: str) -> str:
    """The bare answer inside a dressed response."""
    for phrase in OPENERS + HEDGES + FILLERS + CLOSERS:
        text = text.replace(phrase, "")
    text = _FRAME.sub("", text.replace("**", "").strip()).strip().rstrip(".")
    lines = [line.strip().removeprefix("- ") for line in text.split("\n") if line.strip()]
    return ", ".join(lines)
