"""Reward every response of a data set.

    python -m rewardjax.score --model DIR --input FILE --output OUT.parquet

DIR is an exported Hugging Face folder or the workdir of a run; FILE any format of `data/formats.py`, or groups
`{"id", "prompt": [messages], "responses": [text, ...]}`. OUT (`.parquet` or `.jsonl`) gets a row `id, response_index, reward` for each
response; what cannot be scored is listed with its reason in `OUT.quarantine.jsonl`, and the score contract goes to `OUT.contract.json`.
"""
import argparse
import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import logging
from flax import nnx
from tqdm import tqdm

from rewardjax import assets, checkpoint, contract, scoring
from rewardjax import config as config_lib
from rewardjax.data import formats, sources
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRow, Group, Message, check
from rewardjax.data.pack import TokenGroup
from rewardjax.data.tokenize import tokenize_group
from rewardjax.mesh import Layout, make_mesh
from rewardjax.models import hf, reward, variants
from rewardjax.models.config import Compute

SHORTEST_ROW = 512
WINDOW = 2048  # records read, scored and written at a time


@dataclasses.dataclass(frozen=True)
class Scorer:
    """A model ready to score, with the tokenizer and the contract that its scores depend on."""

    graph: nnx.GraphDef
    params: Any
    score_rows: scoring.ScoreRows
    tokenizer: ChatTokenizer
    contract: contract.ScoreContract
    mesh: jax.sharding.Mesh
    tokens_per_device: int


def load(folder: str | pathlib.Path, *, dtype: str | None = None, mesh: jax.sharding.Mesh | None = None, step: int | None = None,
         tokens_per_device: int = 16_384) -> Scorer:
    """The model of a Hugging Face folder or of a run's workdir (its newest checkpoint, or `step`), checked against its score contract.

    `dtype` of the trunk's arithmetic: the contract's, unless given. Raises ContractMismatch where tokenizer or golden scores differ.
    """
    folder = pathlib.Path(folder)
    is_run = (folder / "checkpoints").is_dir()
    tokenizer = ChatTokenizer.load(folder / "tokenizer" if is_run else folder)
    mesh = mesh or make_mesh()
    with jax.set_mesh(mesh):
        model, saved = _from_run(folder, dtype, step) if is_run else _from_hugging_face(folder, dtype, tokenizer)
        graph, params = nnx.split(model, nnx.Param)
    contract.check_tokenizer(saved, tokenizer)
    scorer = Scorer(graph, params, scoring.make_score_rows(graph), tokenizer, saved, mesh, tokens_per_device)
    if saved.golden:
        contract.check_golden(saved, functools.partial(conversations, scorer), dtype or saved.compute_dtype)
    return scorer


def _from_run(workdir: pathlib.Path, dtype: str | None, step: int | None) -> tuple[reward.RewardModel, contract.ScoreContract]:
    """The model of a training run's checkpoint, and the contract saved with it."""
    model_config = config_lib.read_run_config(workdir)["model"]
    if model_config.get("folder"):
        decoder = hf.read_config(assets.resolve(model_config["folder"]))
    else:
        decoder = variants.get(model_config["variant"], **(model_config.get("changes") or {}))
    with checkpoint.open_manager(workdir / "checkpoints") as manager:
        step = step if step is not None else manager.latest_step()
        if step is None:
            raise FileNotFoundError(f"{workdir / 'checkpoints'} has no finished checkpoint")
        saved = contract.from_record(checkpoint.read_meta(manager, step)["contract"])
        graph, abstract = nnx.split(reward.abstract(decoder, _compute(dtype, saved), Layout()), nnx.Param)
        _, trees, _ = checkpoint.restore(manager, {"params": abstract}, step)
    return nnx.merge(graph, trees["params"]), saved


def _from_hugging_face(folder: pathlib.Path, dtype: str | None, tokenizer: ChatTokenizer) -> tuple[reward.RewardModel, contract.ScoreContract]:
    """The model of a Hugging Face folder, and its contract; a folder of another maker's gets one without golden scores."""
    saved = contract.load(folder)
    if saved is None:
        logging.warning("%s has no %s: its scores cannot be checked against those of the model's maker", folder, contract.FILE)
        saved = contract.make(tokenizer, max_length=hf.read_config(folder).max_positions, over_long="drop", compute_dtype=dtype or "bfloat16")
    return hf.load(folder, _compute(dtype, saved), Layout()), saved


def _compute(dtype: str | None, saved: contract.ScoreContract) -> Compute:
    return Compute(dtype=dtype or saved.compute_dtype, remat="none")


def rewards(scorer: Scorer, prompt: str | list[Message], responses: Sequence[str]) -> np.ndarray:
    """Rewards [K] float32 of K responses to one prompt (a user's words, or messages). Raises BadRow for what cannot be scored."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    group, _ = check(Group("", messages, [[{"role": "assistant", "content": text}] for text in responses], []))
    return token_groups(scorer, [tokenize_group(group, scorer.tokenizer, scorer.contract.max_length, scorer.contract.over_long)])[0]


def conversations(scorer: Scorer, whole: Sequence[list[Message]]) -> np.ndarray:
    """Rewards [n] of whole conversations, the last message of each being the response."""
    return scoring.score_conversations(lambda _, groups: token_groups(scorer, groups), scorer.params, scorer.tokenizer, whole)


def token_groups(scorer: Scorer, groups: Sequence[TokenGroup]) -> list[np.ndarray]:
    """Rewards of tokenised groups, in rows just long enough for the longest response: powers of two, so that few programs are compiled."""
    longest = max(len(group.prefix) + len(suffix) for group in groups for suffix in group.suffixes)
    row_length = max(SHORTEST_ROW, 1 << (longest - 1).bit_length())
    rows = scorer.mesh.shape["data"] * scorer.mesh.shape["fsdp"] * max(1, scorer.tokens_per_device // row_length)
    with jax.set_mesh(scorer.mesh):
        return scoring.score_groups(scorer.score_rows, scorer.params, groups, row_length=row_length, rows=rows,
                                    bundles_per_row=row_length // 32, pad_id=scorer.tokenizer.pad_id, layout=Layout())


# ---------------------------------------------------------------------- files


def score_source(scorer: Scorer, source: sources.Source) -> Iterator[tuple[list[dict], list[dict]]]:
    """For each window of `source`: rows `{id, response_index, reward}`, and `{id, row, response_index, reason, detail}` of what has no score.

    Every response of every record is in exactly one of the two; a record that is not a group at all has one entry, response_index -1.
    """
    limits = scorer.contract.max_length, scorer.contract.over_long
    window: list[tuple[str, int, TokenGroup]] = []  # (id, response index, tokens) with one response each, or a group of them
    for first, records in _windows(source):
        groups, where, bad = [], [], []
        for row, record in enumerate(records, start=first):
            fail = lambda error, group_id, k=-1, row=row: bad.append(
                {"id": group_id, "row": row, "response_index": k, "reason": error.reason, "detail": error.detail})
            try:
                group, _ = check(formats.to_group(record, row, source.name))
            except BadRow as error:
                fail(error, str(record.get("id", f"{source.name}:{row}")))
                continue
            try:
                groups.append(tokenize_group(group, scorer.tokenizer, *limits))
                where.append((group.id, range(len(group.responses))))
            except BadRow:  # at least one response does not fit: score the others
                for k, response in enumerate(group.responses):
                    try:
                        groups.append(tokenize_group(dataclasses.replace(group, responses=[response], pairs=[]), scorer.tokenizer, *limits))
                        where.append((group.id, [k]))
                    except BadRow as error:
                        fail(error, group.id, k)
        found = token_groups(scorer, groups) if groups else []
        rows = [{"id": group_id, "response_index": k, "reward": float(value)}
                for (group_id, indices), values in zip(where, found, strict=True) for k, value in zip(indices, values, strict=True)]
        yield rows, bad


def _windows(source: sources.Source) -> Iterator[tuple[int, list[dict]]]:
    window, first = [], 0
    for row, record in enumerate(source):
        window.append(record)
        if len(window) == WINDOW:
            yield first, window
            window, first = [], row + 1
    if window:
        yield first, window


SCHEMA = pa.schema([("id", pa.string()), ("response_index", pa.int32()), ("reward", pa.float32())])


def score_file(scorer: Scorer, source: sources.Source, output: str | pathlib.Path) -> dict[str, int]:
    """Score `source` into `output`, which appears only when it is whole; returns the counts of records, scores and quarantined entries."""
    output = pathlib.Path(output)
    if output.suffix not in (".parquet", ".jsonl"):
        raise ValueError(f"--output {output}: the name must end with .parquet or .jsonl")
    output.parent.mkdir(parents=True, exist_ok=True)
    counts = {"records": len(source), "scored": 0, "quarantined": 0}
    partial = output.with_name(output.name + ".partial")
    bad_path = output.with_name(output.name + ".quarantine.jsonl")
    with _open_writer(partial, output.suffix) as write, open(bad_path, "w") as bad_file, \
            tqdm(total=len(source), unit="record", disable=not sys.stderr.isatty()) as bar:
        done = 0
        for rows, bad in score_source(scorer, source):
            write(rows)
            bad_file.writelines(json.dumps(entry) + "\n" for entry in bad)
            counts["scored"] += len(rows)
            counts["quarantined"] += len(bad)
            bar.update(min(WINDOW, len(source) - done))
            done += WINDOW
    contract.save(scorer.contract, output.with_name(output.name + ".contract.json"))
    partial.replace(output)
    return counts


class _open_writer:
    """A context that gives a function writing rows to a Parquet or JSON-lines file."""

    def __init__(self, path: pathlib.Path, kind: str):
        self.writer = pq.ParquetWriter(path, SCHEMA) if kind == ".parquet" else open(path, "w")

    def __enter__(self):
        if isinstance(self.writer, pq.ParquetWriter):
            return lambda rows: self.writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
        # A float32 reward keeps all its bits in its shortest decimal form.
        return lambda rows: self.writer.writelines(json.dumps(row | {"reward": float(str(np.float32(row["reward"])))}) + "\n" for row in rows)

    def __exit__(self, *error):
        self.writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m rewardjax.score", description="Reward every response of a data set.")
    parser.add_argument("--model", required=True, help="Hugging Face folder of a reward model, or the workdir of a run")
    parser.add_argument("--input", required=True, help="data to score: file, glob, folder, tfds:NAME, hf://ORG/NAME")
    parser.add_argument("--output", required=True, help="where the scores go: a name ending with .parquet or .jsonl")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="arithmetic of the trunk; default: what the model was trained with")
    parser.add_argument("--step", type=int, help="which checkpoint of a run; default: the newest")
    args = parser.parse_args()
    scorer = load(args.model, dtype=args.dtype, step=args.step)
    counts = score_file(scorer, sources.open_source(args.input), args.output)
    print(json.dumps(counts | {"output": args.output, "contract": scorer.contract.fingerprint}))


if __name__ == "__main__":
    main()
