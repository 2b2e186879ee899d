"""Reward models of the product: trained by `rewardjax.training.loop`, asked through `scoring`."""

import contextlib
import io
import pathlib
import re
import shutil
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from rewardjax import config as config_lib
from rewardjax.command import errors
from rewardjax.config import Config
from rewardjax.curation.ledger import write_pairs
from rewardjax.curation.ledger.rows import PairText
from rewardjax.curation.workspace import RewardModel, Training, Workspace
from rewardjax.data.groups import BadRecord, Group
from rewardjax.data.plan import steps_for
from rewardjax.defaults import held_out
from rewardjax.models.checkpoints import tree_fingerprint
from rewardjax.models.checkpoints.checkpoints import steps_of
from rewardjax.reporting import run_record
from rewardjax.scoring import model as scorer
from rewardjax.scoring.prepare import prepare_whole
from rewardjax.training import loop, metrics, rehearsal
from rewardjax.training.preflight.resume import ResumeRefused, refuse_if_changed

# The held-out set on which the best checkpoint is chosen.
CHOICE = "choice"
# What training settings are tried on, and where that would run.
REHEARSAL = "rehearsal"


def train(ws: Workspace, training: Training) -> None:
    """Train by the config's `train` in `training.folder`; resumes at its last checkpoint."""
    name = training.stage.name
    data = _written(ws, name, training.labels)
    choice = None
    if training.choose_on:
        choice = _written(ws, f"{name}-{CHOICE}", training.choose_on)
    config = _config(ws, data, choice)
    _start_over_if_changed(training.folder, config)
    # A run that was killed after its training, but before the ledger knew of it.
    if not (training.folder / "DONE").exists():
        loop.run(config, training.folder)


def _start_over_if_changed(folder: pathlib.Path, config: Config) -> None:
    """Remove a model that the ledger does not know and that other settings had begun."""
    if not (folder / "config.json").exists():
        return
    saved, now = run_record.read_config(folder), config_lib.resolve(config)
    try:
        refuse_if_changed({"config": saved}, {"config": now}, folder)
    except ResumeRefused as error:
        # Of a model that is trained by half no opinion is in the ledger, so nothing is lost but
        # time; going on would mix two settings in one model.
        print(f"{folder.name} starts over, as its settings changed: {error}", file=sys.stderr)
        shutil.rmtree(folder)


def rehearse(ws: Workspace, pair_ids: Sequence[str], longest: Sequence[str], pairs: int) -> None:
    """Try the config's `train` on pairs as they are, before anybody is paid for a label.

    Args:
        ws: the workspace.
        pair_ids: a sample of what will be trained on.
        longest: the longest pairs of it.
        pairs: how many the first model will learn from.

    Raises:
        errors.Refusal: with what the trainer would refuse.
    """
    settings = ws.config.train
    steps = settings.steps or steps_for(max(1, pairs), settings.batch.pairs, settings.epochs)
    # That many of the longest are dropped as too long says nothing about the whole pool.
    trials = {"sample": (pair_ids, settings.data.max_dropped), "longest": (longest, 1.0)}
    complaints: list[str] = []
    remarks: list[str] = []
    for name, (ids, max_dropped) in trials.items():
        # Any label will do. With the sample, as all of the longest may be dropped.
        labels: dict[str, str] = dict.fromkeys([*pair_ids, *ids], "a")
        data = _written(ws, f"{REHEARSAL}-{name}", labels)
        config = _config(ws, data, data)
        with config.unlocked():
            config.data.max_dropped = config.evals[CHOICE].max_dropped = max_dropped
        refused, told = errors.Complaints(), io.StringIO()
        # The trainer speaks of a file that is gone a moment later, once as data and once as
        # held-out data.
        with contextlib.redirect_stderr(told):
            refused.of(rehearsal.rehearse, config, ws.folder / "models" / REHEARSAL, steps)
        data.unlink()
        complaints += [_of_pool(line, sorted(labels), settings) for line in refused.sentences()]
        warnings = [line for line in told.getvalue().splitlines() if line.startswith("warning:")]
        remarks += [_of_pool(line, sorted(labels), settings) for line in warnings]
    for remark in dict.fromkeys(remarks):
        print(remark, file=sys.stderr, flush=True)
    if complaints:
        raise errors.Refusal(
            f"train, tried on {len(pair_ids)} pairs and the {len(longest)} longest ones before "
            f"anybody is paid: {sentence}"
            for sentence in complaints
        )


def _of_pool(sentence: str, pair_ids: Sequence[str], settings: Config) -> str:
    """A sentence of the trainer for whoever has a curation: his fields, his pairs.

    Its fields are those of the section `train`, and a record of the rehearsal's file, in which
    `pair_ids` are in order, is a pair of the workspace.
    """

    def field(match: re.Match[str]) -> str:
        section, name = match.groups()
        fields = settings.get(section)
        if isinstance(fields, ConfigDict) and name in fields:
            return f"train.{section}.{name}"
        return match.group()

    def pair(match: re.Match[str]) -> str:
        return f"pair {pair_ids[int(match.group(1))]}"

    sentence = re.sub(r"\b(\w+)\.(\w+)", field, sentence)
    sentence = re.sub(rf"pair \d+ \(record (\d+) of {REHEARSAL}-\w+\)", pair, sentence)
    return re.sub(rf"{REHEARSAL}-\w+\.parquet loses", "training would lose", sentence)


def _written(ws: Workspace, name: str, labels: Mapping[str, str]) -> pathlib.Path:
    path = ws.folder / "data" / f"{name}.parquet"
    write_pairs.write_labels(ws.store, path, labels)
    return path


def _config(ws: Workspace, data: pathlib.Path, choice: pathlib.Path | None) -> Config:
    """The training config of the workspace with its data filled in."""
    # A copy: the workspace's config is locked, and the same for every model.
    config = ws.config.train.copy_and_resolve_references()
    with config.unlocked():
        config.data.source, config.data.cache = str(data), str(ws.folder / "cache")
        # Nobody could prepare these before the run, which has just written them.
        config.data.most_untokenized = None
        if choice:
            config.evals = {CHOICE: held_out(config, source=str(choice))}
            config.checkpoint.keep.best = f"{CHOICE}/accuracy"
    return config


def load(ws: Workspace, training: Training) -> RewardModel:
    """The trained model, at the checkpoint that its choice set liked best."""
    model = scorer.load(training.folder, step=best_step(training.folder))
    name = tree_fingerprint.of_tree(model.params)
    return RewardModel(name, model.contract.fingerprint, lambda pairs: rewards(model, pairs))


def best_step(workdir: pathlib.Path) -> int | None:
    """The kept step of the highest accuracy on the choice set; None: the newest step counts.

    Of equal steps the later one: it has seen more pairs.
    """
    key = f"{CHOICE}/accuracy"
    accuracy = {}
    for row in metrics.read_metrics(workdir):
        if row.get(key) is not None:
            accuracy[row["step"]] = row[key]
    # Not every measured step: the trainer deletes checkpoints that later ones have beaten.
    kept = set(steps_of(workdir / "checkpoints"))
    return max(kept & accuracy.keys(), key=lambda step: (accuracy[step], step), default=None)


def rewards(
    model: scorer.Scorer, pairs: Sequence[PairText]
) -> list[tuple[float, float] | BadRecord]:
    """Rewards of a and b of each pair, or why it has none.

    The same pairs in the same order give the same bits.
    """
    results: list[tuple[float, float] | BadRecord | None] = [None] * len(pairs)
    places, ready = [], []
    for place, pair in enumerate(pairs):
        responses = [pair["response_a"], pair["response_b"]]
        group = Group(pair["pair_id"], pair["prompt"], responses, [], tools=pair["tools"])
        try:
            tokens = prepare_whole(
                group, model.tokenizer, model.contract.max_length, model.contract.over_long
            )
        except BadRecord as error:
            results[place] = error
        else:
            places.append(place)
            ready.append(tokens)
    # All at once: conversations of different pairs share rows.
    if ready:
        for place, rewards in zip(places, scorer.finite_rewards(model, ready), strict=True):
            results[place] = scorer.not_finite()
            if np.isfinite(rewards).all():
                results[place] = (float(rewards[0]), float(rewards[1]))
    return results  # pyright: ignore[reportReturnType]  # every place was filled above
