"""Having pairs described, embedded and labeled, by whomever the workspace's plug-ins stand for.

Every function is given pairs, splits those that its stage is not done with into units, and appends
these one by one: a run that was killed goes on at the unit it was in.
"""

import functools
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow as pa
import pyarrow.compute

from rewardjax import config as config_lib
from rewardjax.curation import settings, units
from rewardjax.curation.judges import bias, protocol
from rewardjax.curation.judges.attributes import Attributes
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.prompts import LEGAL, Example, Item
from rewardjax.curation.ledger.reader import decoded
from rewardjax.curation.ledger.rows import VoteRow
from rewardjax.curation.ledger.stage_names import UNIT, WITHOUT_ROW, PairIds, Stage, in_slices
from rewardjax.curation.ledger.tables import Tables
from rewardjax.curation.overview import voters
from rewardjax.curation.retrieval import embed as embed_lib
from rewardjax.curation.retrieval import search
from rewardjax.curation.stages import panels, quorum
from rewardjax.curation.workspace import Row, Workspace
from rewardjax.parallel.mesh import make_mesh

# The functions of pyarrow.compute are made when it is imported: a type checker knows none of them.
pc: Any = pyarrow.compute

VECTORS = 2**14  # read at a time, as float32

# ------------------------------------------------------------------ attributes, vectors


def tag(ws: Workspace, pair_ids: PairIds, stage: Stage) -> None:
    """Have pairs described that have no attributes yet: the paper's 5-tuple. May raise Paused."""
    at_once = _units_at_once(panels.members(ws, stage, "tag"), "tag")
    units.append(ws, pair_ids, stage, functools.partial(_describing, stage=stage), at_once)


def _describing(ws: Workspace, stage: Stage) -> units.RowsOf:
    def attributes(ids: Sequence[str]) -> Iterable[Row]:
        described = set(ws.store.current_attributes(ids).column("pair_id").to_pylist())
        # Their attributes are not looked up: that they have none is why they are here.
        items = _items(ws, [pair_id for pair_id in ids if pair_id not in described], {}, {})
        return ws.plugins.describe(ws, items, stage)

    return attributes


def _units_at_once(judges: Sequence[Judge], task: str) -> int:
    """How many units to ask about together, so that every server has `max_in_flight` requests.

    Twice as many questions as that: while the last replies come in, fewer are in flight.
    """
    at_once = 1
    for judge in judges:
        in_flight = judge.max_in_flight * len(judge.urls)
        of_unit = UNIT * protocol.question_count(judge, task)
        at_once = max(at_once, math.ceil(2 * in_flight / of_unit))
    return at_once


def embed(ws: Workspace, pair_ids: PairIds, stage: Stage) -> None:
    """Put vectors of prompt and attributes into the ledger, for the pairs that have none yet."""
    if next(stage.open_units(ws.store, pair_ids), None) is None:
        return
    with jax.set_mesh(make_mesh()):
        # Also where tasks embed: what it learns of all pairs is kept in the workspace for them.
        embedder = ws.plugins.embedder(ws, pair_ids)
    _refuse_other_vectors(ws, embedder.name)
    asker: units.Asker = _embedding
    if not ws.config.engine.name:
        # A model is not loaded twice.
        asker = functools.partial(_embedding, embedder=embedder)
    units.append(ws, pair_ids, stage, asker)


def _embedding(ws: Workspace, embedder: embed_lib.Embedder | None = None) -> units.RowsOf:
    with jax.set_mesh(make_mesh()):
        used = embedder or ws.plugins.embedder(ws, ())

    def rows(ids: Sequence[str]) -> pa.Table:
        # A vector is a function of the pair's text: a second one would say nothing new.
        new = ws.store.without_embedding(used.name, ids)
        with jax.set_mesh(make_mesh()):
            table = _embeddings(ws, used, new)
        ws.running.advance(len(ids))
        return table

    return rows


def _embeddings(ws: Workspace, embedder: embed_lib.Embedder, pair_ids: list[str]) -> pa.Table:
    """Rows of `embeddings`, as Arrow: a vector as Python numbers takes thirty times the memory."""
    vectors = np.zeros((0, embedder.width), np.float32)  # [n, width]
    # A unit may hold nothing new: no embedder is asked about no text.
    if pair_ids:
        vectors = np.asarray(embedder.embed(embedded_texts(ws, pair_ids)), np.float32)
    offsets = np.arange(len(pair_ids) + 1, dtype=np.int32) * vectors.shape[1]
    columns = {
        "pair_id": pa.array(pair_ids, pa.string()),
        "embedder": pa.repeat(pa.scalar(embedder.name), len(pair_ids)),
        "vector": pa.ListArray.from_arrays(offsets, vectors.ravel()),
    }
    return pa.table(columns)


def _refuse_other_vectors(ws: Workspace, embedder: str) -> None:
    """Raise ValueError where the ledger has vectors of another embedder."""
    # The config cannot change, but an embedder may with a release: cosines between vectors of two
    # embedders say nothing, and retrieval would not notice.
    sql = "select embedder from embeddings where embedder <> ? limit 1"
    others = ws.store.query(sql, [embedder]).column("embedder").to_pylist()
    if others:
        raise ValueError(
            f"{ws.folder}: the ledger has vectors of the embedder {others[0]}, which cannot be "
            f"compared with those of {embedder}; go on with the release that made them, or in a "
            "new workspace"
        )


def embedded_texts(ws: Workspace, pair_ids: Sequence[str]) -> list[str]:
    """The text of each pair whose vector is taken: prompt and attributes, never the responses."""
    attributes = {row["pair_id"]: row for row in _attribute_rows(ws, pair_ids).to_pylist()}
    # Responses are most of a pair's text, and are not part of this one.
    prompts = ws.store.text_rows(pair_ids, ("prompt",)).column("prompt").to_pylist()
    texts = []
    for pair_id, prompt in zip(pair_ids, prompts, strict=True):
        texts.append(embed_lib.text_of(json.loads(prompt), attributes.get(pair_id)))
    return texts


def all_texts(ws: Workspace, pair_ids: PairIds) -> Iterator[str]:
    """`embedded_texts` of any number of pairs, as they are asked for."""
    for ids in in_slices(pair_ids, UNIT):
        yield from embedded_texts(ws, ids)


def vectors(ws: Workspace, pair_ids: PairIds) -> np.ndarray:
    """Their vectors on retrieval's grid, int8 [n, D]. Raises KeyError for a pair without one."""
    # Only numbers of one byte are kept of each part: as float32 they would take four times as much.
    parts = [_on_grid(ws, ids) for ids in in_slices(pair_ids, VECTORS)]
    if not parts:
        return np.zeros((0, 0), np.int8)
    return np.concatenate(parts)


def _on_grid(ws: Workspace, pair_ids: list[str]) -> np.ndarray:
    """`vectors` of some thousand pairs."""
    rows = ws.store.rows_about("embeddings", pair_ids, ("pair_id", "vector"))
    # Any of a pair's vectors: they are equal, as one embedder made them all.
    places = pc.index_in(pa.array(pair_ids, pa.string()), rows.column("pair_id"))
    if places.null_count:
        having = set(rows.column("pair_id").to_pylist())
        missing = [pair_id for pair_id in pair_ids if pair_id not in having]
        raise KeyError(f"pairs {missing[:3]} have no vector in {ws.folder}")
    rows = rows.take(places)
    flat = rows.column("vector").combine_chunks().flatten().to_numpy()  # [n * D]
    return search.on_grid(flat.reshape(len(pair_ids), -1))


# ------------------------------------------------------------------ judges


def judge(
    ws: Workspace,
    pair_ids: PairIds,
    asked: Stage,
    merged: Stage,
    gold: Mapping[str, str | None],
) -> None:
    """Have the judges label pairs, each shown the nearest gold pairs; then merge what they say.

    Args:
        ws: the workspace.
        pair_ids: which pairs, in order.
        asked: the stage of the single judgments.
        merged: the stage of the panel's votes.
        gold: the pairs that may be shown as examples, with their labels.
    """
    # A merged panel stands: what single judges would say today changes nothing about it.
    if merged.has(ws.store):
        return
    asker = functools.partial(_judging, stage=asked, gold=gold)
    at_once = _units_at_once(panels.members(ws, asked, "judge"), "judge")
    units.append(ws, pair_ids, asked, asker, at_once)
    _ask_again(ws, asked, asker(ws))
    judges_of_unit = _judges_of_units(ws, asked)

    def enough() -> Iterator[list[VoteRow]]:
        for votes in asked.votes(ws.store):
            yield quorum.with_quorum(votes, judges_of_unit, ws.config.judging.quorum)

    panel = protocol.panel_in_parts(enough, **ws.config.panel.to_dict())
    merged.append(ws.store, "votes", Tables(panel))
    # Told and not raised: whether such a judge is broken is for a person to see.
    for warning in bias.undecided_judges(*voters.answers_and_ties(ws.store, asked.name)):
        print(f"warning: {asked.name}: {warning}", file=sys.stderr)


def _judging(ws: Workspace, stage: Stage, gold: Mapping[str, str | None]) -> units.RowsOf:
    # Read when the first unit asks: where all are finished nothing is.
    shown = functools.cache(lambda: _examples(ws, gold))

    def votes_about(ids: Sequence[str]) -> Iterable[Row]:
        return ws.plugins.judge(ws, as_items(ws, ids, _nearest(ws, ids, shown())), stage)

    return votes_about


def _judges_of_units(ws: Workspace, asked: Stage) -> dict[str, int]:
    """How many judges were asked in each unit of a stage: a judge may have come in its middle."""
    counts = {}
    for manifest in asked.manifests(ws.store):
        read = ws.store.settings(manifest)
        if read is None:
            counts[manifest["unit"]] = len(panels.members(ws, asked, "judge"))
        else:
            counts[manifest["unit"]] = len(settings.judges_in(read))
    return counts


def _ask_again(ws: Workspace, asked: Stage, votes_about: units.RowsOf) -> None:
    """Ask anew what came to no answer in units whose judges had other settings. May raise Paused.

    Only of a judge whose own settings changed, a larger `max_tokens` for example: asked in the same
    way, the question would end as it did.
    """
    lost = _lost(ws, asked)
    if not lost:
        return
    sql = """
        select distinct pair_id, voter, sample from votes
        where stage = ? and pair_id in (select unnest(?))"""
    rows = ws.store.query(sql, [asked.name, list(lost)]).to_pylist()
    voted = {(row["pair_id"], row["voter"], row["sample"]) for row in rows}
    new = []
    for row in votes_about(sorted(lost)):
        key = row["pair_id"], row["voter"], row["sample"]
        # The other judges' votes stay what they were, and one who came later stays out.
        if row["voter"] in lost[row["pair_id"]] and key not in voted:
            new.append(row)
    if new:
        asked.append(ws.store, "votes", new, asked.free_unit(ws.store))


def _lost(ws: Workspace, asked: Stage) -> dict[str, set[str]]:
    """pair_id -> the voters who left it unanswered in its unit and have other settings today."""
    now = settings.read_by(settings.recorded(config_lib.resolve(ws.config)), "votes", asked.name)
    lost: dict[str, set[str]] = {}
    for manifest in asked.manifests(ws.store):
        changed = settings.judges_that_changed(ws.store.settings(manifest) or {}, now or {})
        if not changed:
            continue
        # The unit's own pairs, as far as they have a row; those without one are in its inputs.
        rows = ws.store.query(
            "select distinct pair_id from votes where stage = ? and unit = ?",
            [asked.name, manifest["unit"]],
        )
        about = {*rows.column("pair_id").to_pylist(), *manifest["inputs"].get(WITHOUT_ROW, ())}
        for name in changed:
            for pair_id in ws.calls.unanswered(asked.name, "judge", f"judge:{name}") & about:
                lost.setdefault(pair_id, set()).add(f"judge:{name}")
    return lost


class _Examples(NamedTuple):
    """The G gold pairs that judges may be shown, by id.

    Read once: they lie all over the ledger, so that to look up a few of them for each unit would
    read all of it every time. As Arrow: decoded, a text takes several times the memory.
    """

    ids: list[str]
    values: list[str]
    vectors: np.ndarray  # int8 [G, D]
    texts: pa.Table
    attributes: pa.Table  # null where nobody described the pair


def _examples(ws: Workspace, gold: Mapping[str, str | None]) -> _Examples:
    usable = {}
    # What nobody is shown need not have a vector.
    if _most_shots(ws):
        usable = {pair_id: value for pair_id, value in gold.items() if value in LEGAL}
    ids = sorted(usable)
    rows = _attribute_rows(ws, ids)
    attributes = rows.take(pc.index_in(pa.array(ids, pa.string()), rows.column("pair_id")))
    values = [usable[pair_id] for pair_id in ids]
    return _Examples(ids, values, vectors(ws, ids), ws.store.text_rows(ids), attributes)


def _most_shots(ws: Workspace) -> int:
    """Of the judge that is shown most; each takes the nearest of them (`Judge.shots`)."""
    return max([ws.config.shots, *(judge.shots or 0 for judge in ws.judges)])


def _nearest(
    ws: Workspace, pair_ids: Sequence[str], gold: _Examples
) -> dict[str, tuple[Example, ...]]:
    """For each pair its nearest gold pairs, best first, as a judge is shown them.

    This is retrieval #2 of the paper (section 1.3): `shots` of them at most.
    """
    if not gold.ids or not pair_ids:
        return {}
    shots = min(_most_shots(ws), len(gold.ids))
    with jax.set_mesh(make_mesh()):
        # [pairs, shots] places in `gold`, -1 where there are fewer gold pairs
        near, _ = search.nearest(vectors(ws, pair_ids), gold.vectors, shots)
    places = np.unique(near[near >= 0])
    example_of = dict(zip(places.tolist(), _shown(gold, places), strict=True))
    nearest = {}
    for pair_id, row in zip(pair_ids, near.tolist(), strict=True):
        examples = [example_of[place] for place in row if place >= 0]
        # Never the pair itself: its label would be shown to who is asked for it.
        nearest[pair_id] = tuple(each for each in examples if each.pair_id != pair_id)
    return nearest


def _shown(gold: _Examples, places: np.ndarray) -> Iterator[Example]:
    """The gold pairs at these places, as judges see them."""
    texts = decoded(gold.texts.take(places))
    described = _as_attributes(gold.attributes.take(places).drop_null())
    for place, text in zip(places.tolist(), texts, strict=True):
        responses = text["response_a"], text["response_b"]
        yield Example(
            text["pair_id"],
            text["prompt"],
            responses,
            gold.values[place],
            described.get(text["pair_id"]),
            text["tools"],
        )


def as_items(
    ws: Workspace,
    pair_ids: Sequence[str],
    shots: Mapping[str, tuple[Example, ...]] | None = None,
) -> list[Item]:
    """Pairs as judges are asked about them, with their attributes and examples."""
    attributes = _as_attributes(_attribute_rows(ws, pair_ids))
    return _items(ws, pair_ids, attributes, shots or {})


def _items(
    ws: Workspace,
    pair_ids: Sequence[str],
    attributes: Mapping[str, Attributes],
    shots: Mapping[str, tuple[Example, ...]],
) -> list[Item]:
    items = []
    for pair_id, text in zip(pair_ids, ws.store.texts(pair_ids), strict=True):
        responses = text["response_a"], text["response_b"]
        items.append(
            Item(
                pair_id,
                text["prompt"],
                responses,
                attributes.get(pair_id),
                shots.get(pair_id, ()),
                text["tools"],
            )
        )
    return items


def _attribute_rows(ws: Workspace, pair_ids: Sequence[str]) -> pa.Table:
    names = list(Attributes.model_fields)
    return ws.store.current_attributes(pair_ids).select(["pair_id", *names])


def _as_attributes(rows: pa.Table) -> dict[str, Attributes]:
    return {row.pop("pair_id"): Attributes(**row) for row in rows.to_pylist()}
