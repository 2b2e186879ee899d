"""Having pairs described, embedded and labeled: by judges over HTTP, by people or their simulation. All of it resumes by unit.

Every function is given the pairs in an order that is itself in the ledger, splits them into units, and does those that are not done.
"""

import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from rewardjax import files
from rewardjax.curation import people as humans
from rewardjax.curation import people_files
from rewardjax.curation.judges import asking, bias, protocol
from rewardjax.curation.judges.attributes import Attributes
from rewardjax.curation.judges.prompts import LEGAL, Example, Item
from rewardjax.curation.retrieval import embed as embed_lib
from rewardjax.curation.retrieval import search
from rewardjax.curation.stages.budget import affordable
from rewardjax.curation.workspace import Paused, Workspace, units
from rewardjax.data import world
from rewardjax.parallel.mesh import make_mesh

# ---------------------------------------------------------------------------------------------------------------- attributes, vectors


def tag(ws: Workspace, pair_ids: Sequence[str], stage: str, iteration: int) -> None:
    """Have the judges describe the pairs that have no attributes yet: the paper's 5-tuple. Raises Paused."""
    for unit, ids in units(list(pair_ids)):
        if not ws.store.has("attributes", stage, unit):
            known = set(ws.store.current_attributes(ids).column("pair_id").to_pylist())
            items = as_items(ws, [pair_id for pair_id in ids if pair_id not in known])
            _refuse_unfinished(
                asking.ask(items, ws.judges, ws.calls, task="tag", purpose=stage), stage
            )
            ws.store.append(
                "attributes",
                stage,
                unit,
                protocol.tags(items, ws.judges, ws.calls),
                iteration=iteration,
            )


def embed(ws: Workspace, pair_ids: Sequence[str], stage: str, iteration: int) -> None:
    """Vectors of prompt and attributes, for the pairs that have none yet."""
    if all(ws.store.has("embeddings", stage, unit) for unit, _ in units(list(pair_ids))):
        return
    with jax.set_mesh(make_mesh()):
        embedder = _embedder(ws, pair_ids)
        left = set(ws.store.without_embedding(embedder.name))
        for unit, ids in units(list(pair_ids)):
            if not ws.store.has("embeddings", stage, unit):
                todo = sorted(left & set(ids))
                vectors = embedder.embed(_texts(ws, todo))
                rows = [
                    {"pair_id": i, "embedder": embedder.name, "vector": v.tolist()}
                    for i, v in zip(todo, vectors, strict=True)
                ]
                ws.store.append("embeddings", stage, unit, rows, iteration=iteration)


def _embedder(ws: Workspace, pair_ids: Sequence[str]) -> embed_lib.Embedder:
    """The config's embedder. What the static one learns of the first pairs it sees is kept, so that later vectors compare with theirs."""
    settings = ws.config.embedder
    if settings.name == "backbone":
        return embed_lib.backbone(settings.folder, width=settings.width)
    if settings.name != "static":
        raise ValueError(f"embedder.name = {settings.name!r}: 'static' or 'backbone'")
    path = ws.folder / "rarity.npy"
    if not path.exists():
        with files.replacing(path) as part, open(part, "wb") as file:
            np.save(file, embed_lib.fit_rarity(_texts(ws, pair_ids)))
    return embed_lib.static(np.load(path), settings.width)


def _texts(ws: Workspace, pair_ids: Sequence[str]) -> list[str]:
    """What is embedded of each pair."""
    attributes = {row["pair_id"]: row for row in ws.store.current_attributes(pair_ids).to_pylist()}
    return [
        embed_lib.text_of(row["prompt"], attributes.get(row["pair_id"]))
        for row in ws.store.texts(pair_ids)
    ]


def vectors(ws: Workspace, pair_ids: Sequence[str]) -> np.ndarray:
    """Their vectors on the grid of retrieval, int8 [n, D]. Raises KeyError for a pair without one."""
    sql = "select pair_id, any_value(vector) as vector from embeddings where pair_id in (select unnest($ids)) group by pair_id"
    found = {
        row["pair_id"]: row["vector"]
        for row in ws.store.query(sql, {"ids": list(pair_ids)}).to_pylist()
    }
    return search.on_grid(np.array([found[pair_id] for pair_id in pair_ids], np.float32))


# ---------------------------------------------------------------------------------------------------------------- judges


def judge(
    ws: Workspace,
    pair_ids: Sequence[str],
    stage: str,
    iteration: int,
    gold: Mapping[str, str | None],
) -> None:
    """Have the judges label pairs, shown the nearest `shots` of the gold pairs (id -> label); then merge them. Raises Paused."""
    for unit, ids in units(list(pair_ids)):
        if not ws.store.has("votes", f"{stage}-judges", unit):
            items = as_items(ws, ids, examples(ws, ids, gold))
            _refuse_unfinished(asking.ask(items, ws.judges, ws.calls, purpose=stage), stage)
            ws.store.append(
                "votes",
                f"{stage}-judges",
                unit,
                protocol.votes(items, ws.judges, ws.calls),
                iteration=iteration,
            )
    if not ws.store.has("votes", f"{stage}-panel", "all"):
        rows = ws.store.query(
            "select * from votes where stage = ? order by pair_id, voter, sample",
            [f"{stage}-judges"],
        ).to_pylist()
        ws.store.append(
            "votes",
            f"{stage}-panel",
            "all",
            protocol.panel(rows, **ws.config.panel.to_dict()),
            iteration=iteration,
        )
        for warning in bias.undecided_judges(rows):
            print(f"warning: {stage}: {warning}", file=sys.stderr)


def examples(
    ws: Workspace, pair_ids: Sequence[str], gold: Mapping[str, str | None]
) -> dict[str, tuple[Example, ...]]:
    """For each pair the nearest gold pairs as a judge is shown them (retrieval #2 of the paper)."""
    # As many as the judge that is shown most wants; each takes the nearest of them (Judge.shots).
    shots = max([ws.config.shots, *(judge.shots or 0 for judge in ws.judges)])
    known = {pair_id: value for pair_id, value in gold.items() if value in LEGAL}
    if not shots or not known or not pair_ids:
        return {}
    ids = sorted(known)
    with jax.set_mesh(make_mesh()):
        near, _ = search.nearest(vectors(ws, pair_ids), vectors(ws, ids), min(shots, len(ids)))
    nearest = [[ids[j] for j in row if j >= 0] for row in near.tolist()]
    shown = sorted({i for row in nearest for i in row})
    attributes = _attributes(ws, shown)
    as_example = {
        i: Example(
            i, text["prompt"], (text["response_a"], text["response_b"]), known[i], attributes.get(i)
        )
        for i, text in zip(shown, ws.store.texts(shown), strict=True)
    }
    return {
        pair_id: tuple(as_example[i] for i in row if i != pair_id)
        for pair_id, row in zip(pair_ids, nearest, strict=True)
    }


def as_items(
    ws: Workspace, pair_ids: Sequence[str], shots: dict[str, tuple[Example, ...]] | None = None
) -> list[Item]:
    attributes = _attributes(ws, pair_ids)
    return [
        Item(
            i,
            row["prompt"],
            (row["response_a"], row["response_b"]),
            attributes.get(i),
            (shots or {}).get(i, ()),
        )
        for i, row in zip(pair_ids, ws.store.texts(pair_ids), strict=True)
    ]


def _attributes(ws: Workspace, pair_ids: Sequence[str]) -> dict[str, Attributes]:
    names = list(Attributes.model_fields)
    rows = ws.store.current_attributes(pair_ids).select(["pair_id", *names]).to_pylist()
    return {row.pop("pair_id"): Attributes(**row) for row in rows}


def _refuse_unfinished(report: asking.Report, stage: str) -> None:
    """Raises Paused where judges left questions open: better no answer than one from half a panel."""
    why = asking.unfinished(report)
    if why is not None:
        raise Paused(f"{stage}: {why}")


# ---------------------------------------------------------------------------------------------------------------- people


def people(
    ws: Workspace, pair_ids: Sequence[str], stage: str, iteration: int, gold: Sequence[str]
) -> None:
    """Have people label pairs, within their budget. Raises Paused where their answers are to come as a file."""
    if ws.store.has("votes", stage, "all") and ws.store.has("attributes", stage, "all"):
        return
    settings = ws.config.people
    before = (
        ws.store.query(
            "select count(*) from votes where kind in ('human', 'check') and stage <> ?", [stage]
        )
        .column(0)[0]
        .as_py()
    )
    left = (
        None
        if ws.config.budget.people is None
        else ws.config.budget.people - before * ws.config.prices.gold
    )
    tasks = humans.queue(
        ws.store,
        pair_ids,
        settings.annotators,
        overlap=settings.overlap,
        checks=settings.checks,
        gold=gold,
        seed=ws.config.seed,
    )
    tasks = tasks[: affordable(len(tasks), ws.config.prices.gold, left)]
    if settings.kind == "simulated":
        known = truth(ws)
        answers = humans.simulate(
            tasks,
            known,
            accuracy=settings.accuracy,
            p_undecided=settings.p_undecided,
            seed=ws.config.seed,
        )
    elif settings.kind == "files":
        answers = _answers(ws, tasks, stage)
    else:
        raise ValueError(f"people.kind = {settings.kind!r}: 'simulated' or 'files'")
    rows, bad = humans.votes(tasks, answers)
    _note(ws, stage, bad)
    ws.store.append("votes", stage, "all", rows, iteration=iteration)
    # The last, as the queue and what is edited depend on the attributes: killed before it, the same call finds them as they were.
    ws.store.append(
        "attributes",
        stage,
        "all",
        humans.edited_attributes(ws.store, tasks, answers),
        iteration=iteration,
    )


def _answers(ws: Workspace, tasks: Sequence[humans.Task], stage: str) -> list[humans.Answer]:
    """What people wrote back; before that, the tasks are written. Raises Paused while there are no answers."""
    folder = ws.folder / "queue"
    folder.mkdir(exist_ok=True)
    out, back = folder / f"{stage}.tasks.jsonl", folder / f"{stage}.answers.jsonl"
    if not back.exists():
        people_files.write_tasks(ws.store, tasks, out)
        people_files.write_tasks(
            ws.store, tasks, out.with_suffix(".label_studio.json"), "label_studio"
        )
        raise Paused(
            f"{stage}: {len(tasks)} tasks for people are in {out}; put their answers (JSONL or a Label Studio export) into {back}"
        )
    answers, bad = people_files.read_answers(back)
    _note(ws, f"{stage}.unreadable", bad)
    return answers


def _note(ws: Workspace, name: str, lines: Sequence[str]) -> None:
    if lines:
        path = ws.folder / "queue" / f"{name}.refused.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def truth(ws: Workspace) -> Callable[[str], str]:
    """pair_id -> what is really better: of the preference world by its oracle, else as a file says."""
    if ws.config.people.truth != "world":
        rows = map(json.loads, pathlib.Path(ws.config.people.truth).read_text().splitlines())
        table = {row["pair_id"]: row["value"] for row in rows}
        return lambda pair_id: table[pair_id]

    rows = ws.store.query("select pair_id, record_id, response_a from pairs").to_pylist()
    table = {row["pair_id"]: row for row in rows}
    is_right = lambda row: (
        json.loads(row["response_a"])[-1]["content"] == world.oracle(row["record_id"])
    )
    return lambda pair_id: "a" if is_right(table[pair_id]) else "b"
