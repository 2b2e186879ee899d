"""The plug-ins of the product: judges over HTTP, people by simulation or by file, real models."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np

from rewardjax.config import Config
from rewardjax.curation import people as people_lib
from rewardjax.curation import people_files
from rewardjax.curation.annotation.desk import open_desk
from rewardjax.curation.judges import asking, protocol
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.ledger.rows import Value
from rewardjax.curation.ledger.stage_names import PairIds, Stage
from rewardjax.curation.people import Answer, Task
from rewardjax.curation.retrieval import embed, encoder
from rewardjax.curation.retrieval.http_embedder import EmbeddingServer, NotEmbedded, http_embedder
from rewardjax.curation.reward_models import checkpoints
from rewardjax.curation.stages import labeling, panels, quorum
from rewardjax.curation.workspace import Paused, Plugins, Row, Workspace
from rewardjax.data import world
from rewardjax.io import files

PEOPLE = ("simulated", "files")
# Pairs whose texts say how rare words are: more would hardly change it, and take half of the time
# of an embedding.
RARITY = 50_000
EMBEDDERS = ("static", "backbone", "minilm", "encoder", "http")

# ------------------------------------------------------------------ judges


def judge(ws: Workspace, items: Sequence[Item], stage: Stage) -> Iterable[Row]:
    """Ask the judges that serve the stage, paying only for answers that the ledger of calls lacks.

    Raises Paused where a server or the budget ended before all had answered, or where too little of
    what they answered can be used.
    """
    judges = panels.members(ws, stage, "judge")
    advance = ws.running.advance
    report = asking.ask(items, judges, ws.calls, purpose=stage.name, advance=advance)
    rows = list(protocol.votes(items, judges, ws.calls, stage.name))
    _pause_unless_complete(ws, report, stage, "judge")
    return rows


def describe(ws: Workspace, items: Sequence[Item], stage: Stage) -> Iterable[Row]:
    """Ask the taggers that serve this iteration. Raises Paused as `judge` does."""
    taggers = panels.members(ws, stage, "tag")
    about = {"task": "tag", "purpose": stage.name}
    report = asking.ask(items, taggers, ws.calls, **about, advance=ws.running.advance)
    rows = list(protocol.tags(items, taggers, ws.calls, stage.name))
    _pause_unless_complete(ws, report, stage, "tag")
    return rows


def _pause_unless_complete(
    ws: Workspace, report: asking.Report, stage: Stage, task: Literal["judge", "tag"]
) -> None:
    why = asking.unfinished(report)
    # Better no answer than one from half a panel: which half answered would depend on the budget.
    if why is not None:
        raise Paused(f"{stage.name}: {why}")
    quorum.pause_if_short(ws, stage, task)


# ------------------------------------------------------------------ people


def people(ws: Workspace, tasks: Sequence[Task], stage: Stage) -> Sequence[Answer]:
    """Answers by `people.kind`: simulated, or given by `curate answers`.

    Raises Paused while too few have come back.
    """
    settings = ws.config.people
    if settings.kind == "simulated":
        return people_lib.simulate(
            tasks,
            truth(ws),
            accuracy=settings.accuracy,
            p_undecided=settings.p_undecided,
            seed=ws.config.seed,
        )
    if settings.kind == "files":
        return _answers_by_file(ws, tasks, stage)
    raise ValueError(f"people.kind = {settings.kind!r} is not one of {', '.join(PEOPLE)}")


def _answers_by_file(ws: Workspace, tasks: Sequence[Task], stage: Stage) -> Sequence[Answer]:
    """What people answered, once the step is closed; before that, the tasks are written."""
    with open_desk(ws.folder) as desk:
        desk.deal(stage.name, tasks, ws.config.people.quota)
        if desk.close_where_met(stage.name):
            return desk.answers(stage.name)
        missing, needed = desk.missing(stage.name), desk.open_tasks(stage.name)
    folder = ws.folder / "queue"
    folder.mkdir(exist_ok=True)
    queue = folder / f"{stage.name}.tasks.jsonl"
    people_files.write_tasks(ws.store, tasks, queue)
    people_files.write_tasks(
        ws.store, tasks, queue.with_suffix(".label_studio.json"), "label_studio"
    )
    verb = f"python -m rewardjax.curate answers {ws.folder}"
    message = (
        f"{stage.name}: {len(tasks)} tasks for people are in {queue}; {len(missing)} are not "
        f"answered, and {needed} more answers close the step: show what came back with "
        f"`{verb} FILE...`, then store it with --commit; --close goes on without the rest"
    )
    # Where answers were put in an earlier version: nobody is to wait for what is never read.
    back = folder / f"{stage.name}.answers.jsonl"
    if back.exists():
        message += f"; {back} is not read by itself: `{verb} {back} --commit`"
    raise Paused(message)


def truth(ws: Workspace) -> Callable[[str], Value]:
    """pair_id -> what is really better, for simulated people: by the world's oracle, or a file."""
    if ws.config.people.truth == "world":
        return _world_truth(ws)
    lines = pathlib.Path(ws.config.people.truth).read_text().splitlines()
    table = {}
    for row in map(json.loads, lines):
        table[row["pair_id"]] = row["value"]
    return table.__getitem__


def _world_truth(ws: Workspace) -> Callable[[str], Value]:
    # A record of the world is named after the task that it was made of, so the oracle can tell.
    rows = ws.store.query("select pair_id, record_id, response_a from pairs").to_pylist()
    table = {row["pair_id"]: row for row in rows}

    def better(pair_id: str) -> Value:
        row = table[pair_id]
        answer = json.loads(row["response_a"])[-1]["content"]
        if answer == world.oracle(row["record_id"]):
            return "a"
        return "b"

    return better


# ------------------------------------------------------------------ embedders


def check_embedder(settings: Config) -> None:
    """Raise ValueError or ImportError for a section `embedder` that would fail at its stage."""
    name, width = settings.name, settings.width
    if name not in EMBEDDERS:
        raise ValueError(f"embedder.name = {name!r} is not one of {', '.join(EMBEDDERS)}")
    if name in ("backbone", "encoder") and not settings.folder:
        raise ValueError(f"embedder.name = {name!r} needs embedder.folder, the model's folder")
    if name == "static" and width is None:
        raise ValueError("embedder.width = None, but static vectors need a width, such as 256")
    # Their makers did not train them to be cut, and a setting that is ignored would mislead.
    if name in ("minilm", "encoder") and width is not None:
        raise ValueError(
            f"embedder.width = {width}, but {name} has a width of its own: set embedder.width=None"
        )
    if name == "minilm":
        encoder.minilm_folder()
    if name == "http":
        EmbeddingServer(**settings.server.to_dict())


def embedder(ws: Workspace, pair_ids: PairIds) -> embed.Embedder:
    """The config's embedder.

    What the static one learns of the first pairs it sees is kept in the workspace, so that later
    vectors compare with theirs.
    """
    settings = ws.config.embedder
    check_embedder(settings)
    if settings.name == "backbone":
        return embed.backbone(settings.folder, width=settings.width)
    if settings.name == "minilm":
        return encoder.encoder(encoder.minilm_folder())
    if settings.name == "encoder":
        return encoder.encoder(settings.folder)
    if settings.name == "http":
        return _embedder_over_http(ws)
    path = ws.folder / "rarity.npy"
    if not path.exists():
        # Ids are hashes: the first ones are a sample at random, and always the same.
        rarity = embed.fit_rarity(labeling.all_texts(ws, pair_ids[:RARITY]))
        with files.replacing(path) as part, open(part, "wb") as file:
            np.save(file, rarity)
    return embed.static(np.load(path), settings.width)


def _embedder_over_http(ws: Workspace) -> embed.Embedder:
    """The server's vectors; Paused, not lost, where it gives none."""
    settings = ws.config.embedder
    server = EmbeddingServer(**settings.server.to_dict())
    try:
        over_http = http_embedder(server, ws.calls, width=settings.width, purpose="embed")
    except NotEmbedded as error:
        raise Paused(str(error)) from None

    def embed_or_pause(texts: Sequence[str]) -> np.ndarray:
        try:
            return over_http.embed(texts)
        except NotEmbedded as error:
            raise Paused(str(error)) from None

    return dataclasses.replace(over_http, embed=embed_or_pause)


PLUGINS = Plugins(
    people,
    judge,
    describe,
    embedder,
    checkpoints.train,
    checkpoints.load,
    checkpoints.rehearse,
)
