"""The two reward models of curation: trained by `rewardjax.train` on a pool, and asked about others."""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from rewardjax.config import Config
from rewardjax.curation.ledger import write_pairs
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.reward_models import score_pairs
from rewardjax.curation.workspace import Workspace, units
from rewardjax.defaults import held_out
from rewardjax.models import checkpoint
from rewardjax.scoring import model as scorer
from rewardjax.training import loop, metrics

CHOICE = "choice"  # the held-out set on which the best checkpoint is chosen


def fit(
    ws: Workspace, chair: str, iteration: int, pool: str, *, choose_on: str | None = None
) -> pathlib.Path:
    """Train the model that sits on `chair` ("best", "gold") in `iteration` on the labels of `pool` before it; returns its workdir.

    choose_on: the pool on which its best checkpoint is chosen (paper: the gold set chooses the best RM); without one, or where it has no
    labels, the last checkpoint counts.
    What it was trained on goes to the ledger, under the fingerprint of its weights. Killed, it goes on at its last checkpoint."""
    stage, workdir = f"{chair}-{iteration}", ws.folder / "models" / f"{chair}-{iteration}"
    if not ws.store.has("training", stage, "all"):
        can_choose = choose_on and any(
            value in ("a", "b") for value in labels(ws.store, choose_on, iteration - 1).values()
        )
        choice = (
            _exported(ws, f"{stage}-{CHOICE}", choose_on, iteration - 1)
            if choose_on and can_choose
            else None
        )
        config = _config(ws, _exported(ws, stage, pool, iteration - 1), choice)
        if not (workdir / "DONE").exists():
            loop.run(config, workdir)
        model = checkpoint.fingerprint(load(workdir).params)
        seen = labels(ws.store, pool, iteration - 1).items()
        rows = [
            {"pair_id": pair_id, "model": model, "value": value}
            for pair_id, value in seen
            if value in ("a", "b")
        ]
        ws.store.append("training", stage, "all", rows, iteration=iteration)
    return workdir


def _exported(ws: Workspace, name: str, pool: str, iteration: int) -> pathlib.Path:
    path = ws.folder / "data" / f"{name}.parquet"
    if not write_pairs.export(ws.store, path, pools=[pool], iteration=iteration).get("written"):
        raise ValueError(
            f"{name}: the {pool} pool has no labeled pair after iteration {iteration}; label more of it first"
        )
    return path


def _config(ws: Workspace, data: pathlib.Path, choice: pathlib.Path | None) -> Config:
    """The training config of the workspace with its data filled in."""
    config = ws.config.train.copy_and_resolve_references()
    with config.unlocked():
        config.data.source, config.data.cache = str(data), str(ws.folder / "cache")
        if choice:
            config.evals = {CHOICE: held_out(config, source=str(choice))}
            config.checkpoint.keep.best = f"{CHOICE}/accuracy"
    return config


def load(workdir: pathlib.Path) -> scorer.Scorer:
    """The model of a run, at the checkpoint that its choice set liked best, if it had one and the step is kept."""
    key = f"{CHOICE}/accuracy"
    measured = {
        row["step"]: row[key] for row in metrics.read_metrics(workdir) if row.get(key) is not None
    }
    kept = {int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()}
    steps = sorted(kept & measured.keys(), key=lambda step: (measured[step], step))
    return scorer.load(workdir, step=steps[-1] if steps else None)


def score(
    ws: Workspace,
    workdir: pathlib.Path,
    chair: str,
    iteration: int,
    pair_ids: Sequence[str],
    stage: str,
) -> None:
    """Rewards of both responses of every pair into the ledger; what cannot be scored becomes a finding with its reason."""
    todo = [
        (unit, ids)
        for unit, ids in units(list(pair_ids))
        if not ws.store.has("scores", stage, unit)
    ]
    if not todo:
        return
    model = load(workdir)
    name = checkpoint.fingerprint(model.params)
    own = (
        ws.store.query("select pair_id from training where model = ?", [name])
        .column("pair_id")
        .to_pylist()
    )
    for unit, ids in tqdm(
        todo,
        stage,
        unit_scale=len(todo[0][1]),
        unit="pair",
        disable=not sys.stderr.isatty(),
        leave=False,
    ):
        rows, bad = score_pairs.score_pairs(
            model, ws.store.texts(ids), chair=chair, name=name, trained_on=set(own)
        )
        found = [
            {
                "pair_id": b["pair_id"],
                "finding": "unscorable",
                "action": "flag",
                "evidence": _evidence(b),
            }
            for b in bad
        ]
        ws.store.append("findings", stage, unit, found, iteration=iteration)
        ws.store.append("scores", stage, unit, rows, iteration=iteration)


def _evidence(bad: dict[str, Any]) -> str:
    return f'{{"reason": "{bad["reason"]}"}}'
