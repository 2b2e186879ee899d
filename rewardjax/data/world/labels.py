"""Who labeled a pair, and how well: label sources of known quality.

A label specification is a source or a weighted mixture of sources joined by "+":

    honest              the right response is chosen, always
    random:0.3          as honest, but 30 % of the labels are turned, whatever the pair
    style:0.4           on 40 % of the pairs the labeler looks at style alone and chooses the
                        response that shows more of it (equally stylish: the right one); on the
                        others it is honest
    0.5*honest+0.3*random:0.4+0.2*style:0.8
                        each pair is labeled by one source, drawn with these weights (they sum to 1)

Random errors carry no pattern; style errors do, and a reward model learns it.
"""

import dataclasses

from rewardjax.data.world.draw import Draw

KINDS = ("honest", "random", "style")


@dataclasses.dataclass(frozen=True)
class LabelSource:
    """One labeler: `kind` of KINDS, its rate `p` of bad labels, and its `weight` in the mixture.

    `name` is as written, without the weight: a record's `label_source`.
    """

    name: str
    kind: str
    p: float
    weight: float


def parse(spec: str) -> list[LabelSource]:
    """The sources of a label specification.

    Raises ValueError, naming the part, on an unknown source, a bad number or weights that do not
    sum to 1.
    """
    sources = [_source(spec, part) for part in spec.split("+")]
    total = sum(source.weight for source in sources)
    if abs(total - 1) > 1e-6:
        raise ValueError(f"labels={spec!r}: the weights sum to {total:g}, not to 1")
    return sources


def _source(spec: str, part: str) -> LabelSource:
    # A source alone has the whole weight.
    weight, name = "1", part
    if "*" in part:
        weight, _, name = part.partition("*")
    kind, colon, p = name.partition(":")
    # An honest labeler has no rate, and the others need one.
    if kind not in KINDS or (kind == "honest") == bool(colon):
        raise ValueError(
            f"labels={spec!r}: {name!r} is not a label source; write honest, random:P or style:P"
        )
    try:
        source = LabelSource(name, kind, float(p or 0), float(weight))
    except ValueError:
        raise ValueError(
            f"labels={spec!r}: {part!r} has something that is not a number; write WEIGHT*SOURCE:P"
        ) from None
    if not (0 <= source.p <= 1 and 0 < source.weight <= 1):
        raise ValueError(f"labels={spec!r}: {part!r} needs 0 <= P <= 1 and 0 < weight <= 1")
    return source


def label(
    sources: list[LabelSource], right_style: int, wrong_style: int, draw: Draw
) -> tuple[bool, str]:
    """(is the right response the chosen one, name of the source that labeled the pair).

    The same two draws whatever the specification, so that a pair turned at random:0.2 is also
    turned at random:0.3: more noise adds errors to those there are.
    """
    place, turn = draw.unit(), draw.unit()
    source = _at(sources, place)
    if turn >= source.p:
        return True, source.name
    if source.kind == "style":
        return right_style >= wrong_style, source.name
    # An honest source has p = 0 and does not come here.
    return False, source.name


def _at(sources: list[LabelSource], place: float) -> LabelSource:
    """The source in whose share of [0, 1) `place` lies."""
    for source in sources:
        place -= source.weight
        if place < 0:
            return source
    # The weights may sum to a little less than 1.
    return sources[-1]
