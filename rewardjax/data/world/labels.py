"""Who labelled a pair, and how well: label sources of known quality.

A label specification is a source or a weighted mixture of sources joined by "+":

    honest                                          the right response is chosen, always
    random:0.3                                      as honest, but 30% of the labels are turned, whatever the pair
    style:0.4                                       on 40% of the pairs the labeller looks at style alone and chooses the response that
                                                    shows more of it (equally stylish: the right one); on the others it is honest
    0.5*honest+0.3*random:0.4+0.2*style:0.8         each pair is labelled by one source, drawn with these weights (they sum to 1)

random errors carry no pattern; style errors do, and a reward model learns it.
"""

import dataclasses

from rewardjax.data.world.draw import Draw


@dataclasses.dataclass(frozen=True)
class LabelSource:
    name: str  # as written, without the weight: what a record's `label_source` says
    kind: str  # honest | random | style
    p: float
    weight: float


def parse(spec: str) -> list[LabelSource]:
    """The sources of a label specification. Raises ValueError, naming the part, on an unknown source, a bad number or weights that do not
    sum to 1."""
    parts = spec.split("+")
    sources = []
    for part in parts:
        weight, star, name = part.partition("*") if "*" in part else ("1", "*", part)
        kind, colon, p = name.partition(":")
        if kind not in ("honest", "random", "style") or (kind == "honest") == bool(colon):
            raise ValueError(
                f"labels={spec!r}: {name!r} is no label source; write honest, random:P or style:P"
            )
        try:
            source = LabelSource(name, kind, float(p or 0), float(weight))
        except ValueError:
            raise ValueError(
                f"labels={spec!r}: {part!r} holds something that is no number; write WEIGHT*SOURCE:P"
            ) from None
        if not (0 <= source.p <= 1 and 0 < source.weight <= 1):
            raise ValueError(f"labels={spec!r}: {part!r} needs 0 <= P <= 1 and 0 < weight <= 1")
        sources.append(source)
    total = sum(source.weight for source in sources)
    if abs(total - 1) > 1e-6:
        raise ValueError(f"labels={spec!r}: the weights sum to {total:g}, not to 1")
    return sources


def label(
    sources: list[LabelSource], right_style: int, wrong_style: int, draw: Draw
) -> tuple[bool, str]:
    """(is the right response the chosen one, name of the source that labelled the pair). The same two draws whatever the
    specification, so that a pair turned at random:0.2 is also turned at random:0.3."""
    place, turn = draw.unit(), draw.unit()
    for source in sources:
        place -= source.weight
        if place < 0:
            break
    if source.kind == "random":
        return turn >= source.p, source.name
    if source.kind == "style":
        return turn >= source.p or right_style >= wrong_style, source.name
    return True, source.name
