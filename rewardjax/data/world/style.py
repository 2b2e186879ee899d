"""How an answer is dressed: a nuisance drawn without looking at whether the answer is right.

Dressing adds politeness, hedging, emphasis, bullets and filler around the answer. It hides nothing:
taking all of them away leaves the bare answer.
"""

import re

from rewardjax.data.world.draw import Draw

FEATURES = ("opener", "hedge", "emphasis", "bullets", "filler", "closer")
# A style without any of them.
PLAIN: dict[str, bool] = dict.fromkeys(FEATURES, False)
OPENERS = ["Sure!", "Great question!", "Of course, happy to help!", "Thank you for asking!"]
HEDGES = ["I think", "I believe", "As far as I know,"]
FILLERS = [
    "I checked each part with care.",
    "It took me a while to work it out.",
    "I read the question twice and went through it slowly.",
]
CLOSERS = ["I hope this helps!", "Let me know if you need more.", "Have a nice day!"]
FRAMES = ["{}.", "Answer: {}.", "The answer is {}.", "Result: {}."]


def draw_style(draw: Draw) -> dict[str, bool]:
    """Which features a response has.

    A level is drawn first, so that pairs differ in how stylish they are and not only in which
    features.
    """
    level = draw.pick((0.05, 0.3, 0.6, 0.9))
    return {feature: draw.chance(level) for feature in FEATURES}


def score(style: dict[str, bool]) -> int:
    """How stylish a response is: the number of features it shows, 0 to 6."""
    return sum(style[feature] for feature in FEATURES)


def dress(answer: str, style: dict[str, bool], draw: Draw) -> str:
    """The response's text: `answer` in the style's dress; several items are joined by ", ".

    Phrases are drawn in the order below, and only those that the style has.
    """
    items = answer.split(", ")
    if style["emphasis"]:
        items = [f"**{item}**" for item in items]
    frame = draw.pick(FRAMES)
    if style["hedge"]:
        # "I think the answer is"
        frame = f"{draw.pick(HEDGES)} {frame[0].lower()}{frame[1:]}"
    if style["bullets"]:
        heading = frame.format("").rstrip(" .")
        core = "\n".join([heading, *(f"- {item}" for item in items)]) + "\n"
    else:
        core = frame.format(", ".join(items))
    parts = [core]
    if style["opener"]:
        parts.insert(0, draw.pick(OPENERS))
    if style["filler"]:
        parts.append(draw.pick(FILLERS))
    if style["closer"]:
        parts.append(draw.pick(CLOSERS))
    # A list ends with a line break, which needs no blank around it.
    return re.sub(r" ?\n ?", "\n", " ".join(parts)).strip()
