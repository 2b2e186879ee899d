"""Scores that others published for a benchmark's examples, as evaluations to compare with.

A file of them becomes an output folder like those of `rewardjax.evaluate`: the examples are those
of an evaluation of ours, matched by id, so that every test on the page is over common ones. Where
the file holds the texts that were scored, they are compared too.
"""

import collections
import dataclasses
import json
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax import config as config_lib
from rewardjax import evaluators, fingerprint
from rewardjax.data import sources
from rewardjax.data.groups import BadRecord, Group
from rewardjax.evaluators import selection, stored_rewards
from rewardjax.evaluators.benchmarks import HasPublished, Published
from rewardjax.evaluators.stored_rewards import Scores

# What the record of an evaluation says, and nobody knows of somebody else's.
UNKNOWN = "not known"
# Records by which a file is recognized; a bad one is no reason to pass over it.
PEEKED = 20


class Matched(NamedTuple):
    """A model's published rewards on items of an evaluation.

    rewards: by the index of the item. compared: items whose texts the file holds. other_texts:
    those among them that are other texts here, which have no reward. unknown: ids that the
    evaluation does not have.
    """

    rewards: dict[int, np.ndarray]
    compared: int
    other_texts: int
    unknown: int


def folders(
    first: str | pathlib.Path, others: Sequence[str | pathlib.Path], under: pathlib.Path
) -> list[pathlib.Path]:
    """The output folders of `others`, made below `under` for those that are files of scores.

    first: the output folder whose examples the scores are for. Says on standard error what was
    matched. Raises ValueError for a file of which nothing can be matched.
    """
    given = [pathlib.Path(other) for other in others]
    files = [path for path in given if path.is_file()]
    paths = [path for path in given if path not in files]
    # A model may have one file per benchmark, or per half of one. By the folder's name, since
    # some files write ORG/NAME and others ORG_NAME.
    matched: dict[str, dict[str, list[Matched]]] = {}
    for file in files:
        for model, name, of_file in _matches(file, pathlib.Path(first)):
            folder_name = re.sub(r"[^\w.-]+", "_", model)
            matched.setdefault(folder_name, {}).setdefault(name, []).append(of_file)
    for folder_name, by_benchmark in matched.items():
        folder = under / "published" / folder_name
        _write(folder, folder_name, by_benchmark, pathlib.Path(first))
        paths.append(folder)
    return paths


def _matches(file: pathlib.Path, first: pathlib.Path) -> Iterator[tuple[str, str, Matched]]:
    """(model, benchmark of the evaluation, what was matched) of a file."""
    evaluated = json.loads((first / "results.json").read_text(encoding="utf-8"))["results"]
    readers = {}
    for name, result in evaluated.items():
        module = evaluators.get(result["name"])
        if isinstance(module, HasPublished):
            readers[name] = module
    records = list(_records(file))
    for name, module in readers.items():
        if not any(_read(module, record) for record in records[:PEEKED]):
            continue
        scores = stored_rewards.read(first / "scores" / f"{name}.parquet")
        by_model: dict[str, list[Published]] = {}
        for record in records:
            row = _read(module, record)
            if row is not None:
                by_model.setdefault(row.model or _named_after(file), []).append(row)
        for model, rows in by_model.items():
            of_model = match(rows, scores)
            _refuse_nothing(file, model, of_model)
            print(f"{file}: {model} on {name}: {_said([of_model], scores)}", file=sys.stderr)
            yield model, name, of_model
        return
    raise ValueError(
        f"{file} holds no scores of a benchmark that was evaluated in {first} "
        f"({', '.join(evaluated)}); scores of {', '.join(readers) or 'none of them'} can be read"
    )


def _named_after(file: pathlib.Path) -> str:
    """The model of a file that does not name it: scores.parquet lies in a folder of its name."""
    if file.stem in ("scores", "outputs", "results"):
        return file.resolve().parent.name
    return file.stem


def _read(module: HasPublished, record: dict[str, Any]) -> Published | None:
    try:
        return module.published(record)
    except BadRecord:
        return None


def match(rows: Sequence[Published], scores: Scores) -> Matched:
    """Published rows of one model on the items of an evaluation."""
    index_of = {item.id: i for i, item in enumerate(scores.items)}
    times: collections.Counter[str] = collections.Counter()
    rewards: dict[int, np.ndarray] = {}
    compared = other_texts = unknown = 0
    for row in rows:
        times[row.id] += 1
        name = row.id
        # An id that comes again has a number in an evaluation too.
        if times[row.id] > 1:
            name = f"{row.id}#{times[row.id]}"
        i = index_of.get(name)
        if i is None or len(row.rewards) != len(scores.rewards[i]):
            unknown += 1
            continue
        if row.group is not None:
            compared += 1
            if not _same_texts(row.group, scores, i):
                other_texts += 1
                continue
        rewards[i] = np.array(row.rewards, np.float32)
    return Matched(rewards, compared, other_texts, unknown)


def _same_texts(group: Group, scores: Scores, i: int) -> bool:
    """Whether an item was scored on these texts: stored are a prompt's hash and lengths."""
    lengths = [len(response[-1]["content"]) for response in group.responses]
    same_prompt = fingerprint.of_json(group.prompt) == scores.prompts[i]
    return same_prompt and lengths == scores.characters[i].tolist()


def _refuse_nothing(file: pathlib.Path, model: str, matched: Matched) -> None:
    if matched.rewards:
        return
    if matched.other_texts:
        raise ValueError(
            f"{file}: {model} scored other texts on all {matched.other_texts:,} items that have "
            "the same id: it is another version of the benchmark"
        )
    raise ValueError(
        f"{file}: {model}: none of {matched.unknown:,} ids is one of the examples evaluated"
    )


def _said(matched: Sequence[Matched], scores: Scores) -> str:
    """What was matched, in words."""
    count = len(set().union(*(of_file.rewards for of_file in matched)))
    words = f"{count:,} of {len(scores.items):,} examples matched by id"
    compared = sum(of_file.compared for of_file in matched)
    other = sum(of_file.other_texts for of_file in matched)
    unknown = sum(of_file.unknown for of_file in matched)
    if not compared:
        words += ", whose texts the file does not hold"
    elif other:
        words += f"; {other:,} have other texts and are left out"
    else:
        words += ", with the same texts"
    if unknown:
        words += f"; {unknown:,} of the file are not among them"
    return words


# ------------------------------------------------------------------ as an evaluation


def _write(
    folder: pathlib.Path,
    model: str,
    by_benchmark: dict[str, list[Matched]],
    first: pathlib.Path,
) -> None:
    """An output folder with the published scores of a model, as far as they are known."""
    ours = json.loads((first / "results.json").read_text(encoding="utf-8"))
    results: dict[str, Any] = {}
    for name, matched in by_benchmark.items():
        scores = stored_rewards.read(first / "scores" / f"{name}.parquet")
        theirs = _scores(matched, scores)
        stored_rewards.write(theirs, folder / "scores" / f"{name}.parquet")
        rule = ours["results"][name]["name"]
        result = evaluators.get(rule).summarize(theirs.items, theirs.rewards)
        result = selection.without_a_headline_of_few(result, "the file has no more of them")
        notes = [*result.notes, f"scores published by others: {_said(matched, scores)}"]
        results[name] = dataclasses.replace(result, name=rule, notes=notes).to_record()
    record = {
        "model": f"{model} (published)",
        "path": UNKNOWN,
        "weights": UNKNOWN,
        "contract": {"fingerprint": UNKNOWN},
        "dtype": UNKNOWN,
        "max_length": UNKNOWN,
        "over_long": UNKNOWN,
        "seconds": UNKNOWN,
        "benchmarks": {name: ours["benchmarks"][name] for name in results},
        "results": results,
        "missing": {},
        "left_out": {},
        "bias": {},
        "counterfactual": {},
    }
    config_lib.write_json(folder / "results.json", record)


def _scores(matched: Sequence[Matched], scores: Scores) -> Scores:
    """The published rewards in the place of ours, NaN where there is none."""
    rewards = [np.full(len(ours), np.nan, np.float32) for ours in scores.rewards]
    for of_file in matched:
        for i, of_item in of_file.rewards.items():
            rewards[i] = of_item
    unscored = []
    for item, of_item in zip(scores.items, rewards, strict=True):
        for k in np.flatnonzero(np.isnan(of_item)):
            why = {"reason": "not published", "detail": "no score in the files"}
            unscored.append({"id": item.id, "response": int(k), **why})
    # The same examples, but nothing of our contract.
    meta = {name: scores.meta[name] for name in ("benchmark", "data")}
    return dataclasses.replace(scores, rewards=rewards, unscored=unscored, meta=meta)


# ------------------------------------------------------------------ files of scores


def _records(file: pathlib.Path) -> Iterator[dict[str, Any]]:
    """The records of a file: rows, columns of equal length, or pairs with scores by model."""
    if file.suffix == ".json":
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            yield from _of_object(file, content)
            return
    yield from sources.open_source(file)


def _of_object(file: pathlib.Path, content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    pairs, by_model = content.get("pairs"), content.get("scores")
    if isinstance(pairs, list) and isinstance(by_model, dict):
        for model, scores in by_model.items():
            for pair, of_pair in zip(pairs, scores, strict=True):
                yield {**pair, "scores": of_pair, "model": model}
        return
    columns = {name: value for name, value in content.items() if isinstance(value, list)}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1:
        raise ValueError(
            f"{file} is an object whose lists have {sorted(lengths)} elements: rows, columns of "
            "one length, or pairs with scores by model"
        )
    # What is no column holds for every row: the model's name.
    constants = {name: value for name, value in content.items() if name not in columns}
    for row in zip(*columns.values(), strict=True):
        yield {**constants, **dict(zip(columns, row, strict=True))}
