"""Reward every response of a data set.

    python -m rewardjax.score --model DIR --input FILE --output OUT.parquet [--workers N] [--texts]
    python -m rewardjax.score best-of-n --model DIR --input FILE --output BEST.jsonl
    python -m rewardjax.score merge OUT.parquet
    python -m rewardjax.score verify OUT.parquet

DIR is an exported Hugging Face folder or the workdir of a run; FILE any format of
`data/formats.py`, or groups `{"id", "prompt": [messages], "responses": [text, ...]}`. OUT
(`.parquet`, `.jsonl` or `.csv`) gets a row `id, row, response_index, reward` for each response,
where `row` is the record's place in the data (an id may occur twice), and with `--texts` its prompt
and response too; where the data have labels, it is said how often the rewards agree with them. What
cannot be scored is listed with its reason in `OUT.quarantine.jsonl`, the score contract goes to
`OUT.contract.json`, and what was scored by what, with checksums, to `OUT.record.json`. A command
that was killed goes on where it was; the same command on other hosts that share the folder of OUT
takes part in the work. `merge` puts the parts of a finished pass together without a model, and
`verify` says whether OUT is what was written. `best-of-n` scores in the same way, into
`BEST.jsonl.scores.parquet`, and writes the best response of each group.
"""

import contextlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from rewardjax.command import errors
from rewardjax.data import formats, sources, spelling
from rewardjax.io import storage
from rewardjax.parallel.mesh import make_mesh
from rewardjax.scoring import agreement, best_responses, units
from rewardjax.scoring import model as scorer
from rewardjax.scoring.passes import merge, parts
from rewardjax.scoring.passes.scored_file import (
    MAX_DROPPED,
    refuse_misread,
    refuse_output,
    score_file,
)


def refuse_overwriting(source: sources.Source, output: str | pathlib.Path) -> None:
    """Raise ValueError where the scores would take the place of the data, or be read as data."""
    for file in getattr(source, "files", ()):
        if storage.is_same(file, output):
            raise ValueError(f"--output {output} is a file of --input; name another one")


def refuse_share(max_dropped: float) -> None:
    """Raise ValueError for what is no share, such as a percentage."""
    if not 0 <= max_dropped <= 1:
        raise ValueError(f"--max_dropped {max_dropped:g}: a share from 0 to 1, as in 0.2 for 20%")


def _input_readings(source: sources.Source, columns: Any, labels: Any) -> Sequence[formats.Reading]:
    """How each file is read. Raises ValueError where there is nothing to read."""
    if not len(source):
        raise ValueError(f"--input: {source.name} has no records")
    return formats.readings(source, columns, labels)


@errors.one_line("rewardjax.score")
def main() -> None:
    """Run the command."""
    if sys.argv[1:2] in (["merge"], ["verify"]):
        _of_output(sys.argv[1], sys.argv[2:])
    elif sys.argv[1:2] == ["best-of-n"]:
        _best_of_n(sys.argv[2:])
    else:
        _score(sys.argv[1:])


def _score(arguments: Sequence[str]) -> None:
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.score",
        description="Reward every response of a data set.",
        epilog="also: best-of-n (the best response of each group), merge OUT, verify OUT",
    )
    _add_flags(parser)
    parser.add_argument(
        "--texts", action="store_true", help="give each row its prompt and response too"
    )
    args = parser.parse_args(arguments)
    source = _checked(args, args.output)
    account, model = _run(args, arguments, source, args.output, args.texts)
    told = {"output": args.output, "contract": model.contract.fingerprint}
    if account.agreement is not None:
        told |= agreement.figures(agreement.Agreement(**account.agreement))
    print(json.dumps(account.counts | told))
    _refuse_lost(args, account)


def _best_of_n(arguments: Sequence[str]) -> None:
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.score best-of-n",
        description="Reward every response, and write the best one of each group with its prompt. "
        "Where the data say which responses are right: how often the best of K is. The scores of "
        "all responses go to OUT.scores.parquet.",
    )
    _add_flags(parser)
    args = parser.parse_args(arguments)
    output = storage.path_of(args.output)
    scores = output.with_name(output.name + ".scores.parquet")
    source = _checked(args, args.output, scores)
    account, model = _run(args, arguments, source, scores)
    _refuse_lost(args, account)
    readings = formats.readings(source, args.columns, args.labels)
    best = best_responses.write_best(source, readings, scores, output)
    for sentence in best_responses.sentences(best):
        print(sentence, file=sys.stderr)
    told = {"output": args.output, "scores": str(scores), "contract": model.contract.fingerprint}
    print(json.dumps(best._asdict() | told))


def _add_flags(parser: errors.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        help="Hugging Face folder of a reward model, ORG/NAME of the hub, or the workdir of a run",
    )
    parser.add_argument(
        *("--input", "--data"),
        required=True,
        help="data to score: file, glob, folder, tfds:NAME, hf://ORG/NAME",
    )
    spelling.add_flags(parser)
    parser.add_argument(
        "--output",
        required=True,
        help="what is written: a name ending with .parquet, .jsonl or .csv, on a disk or "
        "gs://BUCKET",
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        help="the trunk's arithmetic; default: what the model was trained with, and for a folder "
        "without a score contract the dtype of its config.json",
    )
    parser.add_argument(
        "--max_dropped",
        type=float,
        default=MAX_DROPPED,
        help="exit with code 2 where a larger share of the records cannot be read (default 0.2)",
    )
    parser.add_argument("--step", type=int, help="which checkpoint of a run; default: the newest")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes of this machine; each holds the model (default 1)",
    )


def _checked(args: Any, *outputs: str | pathlib.Path) -> sources.Source:
    """The data to score. Raises ValueError for all that is wrong with a command at once."""
    # Before the model, which takes long: a misspelt name should not have to wait for it.
    complaints = errors.Complaints()
    for output in outputs:
        complaints.of(refuse_output, output)
    complaints.of(refuse_share, args.max_dropped)
    if args.workers < 1:
        complaints.add([f"--workers {args.workers}: at least 1"])
    complaints.of(scorer.refuse_missing, args.model, args.step)
    source = complaints.of(
        sources.open_source, args.input, split=args.split, spelling=spelling.FLAGS
    )
    readings = None
    if source is not None:
        for output in outputs:
            complaints.of(refuse_overwriting, source, output)
        readings = complaints.of(_input_readings, source, args.columns, args.labels)
    complaints.refuse()
    assert source is not None, "its refusal would have been raised"
    for reading in readings or ():
        print(reading.sentence(), file=sys.stderr)
    return source


def _run(
    args: Any,
    arguments: Sequence[str],
    source: sources.Source,
    output: str | pathlib.Path,
    texts: bool = False,
) -> tuple[units.Account, scorer.Scorer]:
    """Score `source` into `output`, with all workers of the command."""
    with _helpers(args.workers - 1, [*arguments, "--output", str(output)]):
        # Each process is a worker for itself, though a TPU slice may show it everybody's devices.
        mesh = make_mesh(devices=jax.local_devices())
        model = scorer.load(args.model, dtype=args.dtype, mesh=mesh, step=args.step)
        account = score_file(
            model,
            source,
            output,
            args.columns,
            args.labels,
            max_dropped=args.max_dropped,
            texts=texts,
        )
    return account, model


def _refuse_lost(args: Any, account: units.Account) -> None:
    """Raise ValueError where nothing was scored, or too little of the data was understood."""
    # After the files are whole: the quarantine says what to mend, the exit code is for scripts.
    if not account.counts["scored"]:
        raise ValueError(f"{args.input}: no response could be scored; the reasons are above")
    refuse_misread(account.counts, args.max_dropped, "the reasons are above")


@contextlib.contextmanager
def _helpers(count: int, arguments: Sequence[str]) -> Iterator[None]:
    """So many more processes that score with these arguments while the block runs."""
    # The last --output and --workers count. What they say is what this process says.
    command = [sys.executable, "-m", "rewardjax.score", *arguments, "--workers", "1"]
    helpers = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(count)
    ]
    try:
        yield
        for helper in helpers:
            helper.wait()
    finally:
        # Where this process has failed; whatever they had begun does not count.
        for helper in helpers:
            helper.kill()
            helper.wait()


def _of_output(verb: str, arguments: Sequence[str]) -> None:
    """`merge` or `verify`, which need no model."""
    parser = errors.ArgumentParser(
        prog=f"python -m rewardjax.score {verb}",
        description="Put the parts of a finished pass together, or check a file of scores.",
    )
    parser.add_argument("output", help="OUT.parquet, OUT.jsonl or OUT.csv")
    args = parser.parse_args(arguments)
    output = storage.path_of(args.output)
    folder = parts.folder_of(output)
    if verb == "merge" and folder.exists():
        merge.merge(folder, output)
    print(json.dumps(merge.verify(output)))


if __name__ == "__main__":
    main()
