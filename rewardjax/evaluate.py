"""Where does a reward model stand? All benchmarks on one model.

    python -m rewardjax.evaluate --config=configs/eval/all.py --config.model=DIR

    python -m rewardjax.evaluate --model DIR --data pairs.jsonl

DIR is a Hugging Face folder of a reward model or the workdir of a run. The output folder
(config.output, by default runs/eval/NAME) gets results.json, results.md, report.html, and the score
of every response under scores/ (evaluators/__init__.py says what is in them). Scores are kept: the
same command again, after a kill or with another benchmark added, computes only what is not there;
at the same time on hosts that share the output folder, each takes part in the work. A benchmark
whose files are missing is listed with how to get it. With --plan the command only says what it
would read, file by file, and loads no model; with --show it prints every setting, with a sentence
on it and where its value came from. For a first look, --only NAME,NAME/CATEGORY takes some
benchmarks or categories, --limit N some examples of each. Several evaluations, or several training
runs, side by side:

    python -m rewardjax.evaluate compare runs/eval/A runs/eval/B
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from absl import app, flags, logging
from jax.experimental import multihost_utils
from ml_collections import config_flags
from tqdm import tqdm

from rewardjax import config as config_lib
from rewardjax import defaults, evaluators, fingerprint
from rewardjax.command import dialect, errors, terminal
from rewardjax.data import accounting
from rewardjax.evaluators import (
    baselines,
    finder,
    output_folder,
    own_pairs,
    selection,
    stored_rewards,
    truncation,
    uncertainty,
)
from rewardjax.evaluators.audits import overlap
from rewardjax.evaluators.audits import run as audit
from rewardjax.evaluators.page import report, results_files, table
from rewardjax.evaluators.page.evaluation import Evaluation, read
from rewardjax.evaluators.records import Examples, Result
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.io import files
from rewardjax.models.checkpoints import tree_fingerprint
from rewardjax.parallel import distributed, in_common
from rewardjax.parallel.mesh import make_mesh
from rewardjax.reporting import run_record, settings
from rewardjax.scoring import contract
from rewardjax.scoring import model as scorer
from rewardjax.sweeps import runs

PLAN = flags.DEFINE_bool("plan", False, "Say what would be read, and stop before the model.")
ONLY = flags.DEFINE_list("only", [], "Benchmarks, or categories of them: NAME,NAME/CATEGORY.")
LIMIT = flags.DEFINE_integer("limit", 0, "Examples of each benchmark, spread over its categories.")

# Between two lines about progress where no bar can be drawn.
SECONDS_BETWEEN_LINES = 20.0

# Raise it when the same model and files would give other scores.
FORMAT = 1


def run(config: config_lib.Config) -> dict[str, Any]:
    """Evaluate as `config` says; returns the record that is also written to results.json.

    On several hosts the output folder must be on storage that all of them share. Raises
    errors.Refusal with all that is wrong in the config, and ValueError where no benchmark could be
    read.
    """
    refuse_mistakes(config)
    model_name = output_folder.model_name(config.model)
    started = time.monotonic()

    # Before the model, which takes minutes to load.
    examples, missing = load_all(config.benchmarks, config.only, config.limit)
    parts = selection.parts(examples)
    output = pathlib.Path(config.output or output_folder.ROOT / model_name)
    if parts and not config.output:
        # Beside the whole evaluation, whose scores and report are those of all examples.
        output = output.with_name(f"{output.name}-part")
    if not examples:
        reasons = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise ValueError(f"no benchmark has files: {reasons}")
    if jax.process_index() == 0:
        for name, of in examples.items():
            print("\n".join(finder.describe(name, of, evaluators.get(of.name))), file=sys.stderr)
    fingerprints = {f"the benchmark {name}": of.fingerprint for name, of in examples.items()}
    in_common.refuse(
        errors.Complaints(),
        in_common.fields_of(config),
        {"config.output": output},
        lambda: fingerprints,
    )
    training = [
        overlap.open_training(name, **kwargs) for name, kwargs in config.overlap.to_dict().items()
    ]

    model = scorer.load(config.model, mesh=make_mesh(**config.mesh), **config.scorer)
    meta = describe(model, config)
    output_folder.refuse_other_model(output, config.model, meta["weights"])
    if parts:
        output_folder.refuse_part_of_whole(output)
    run_record.write(output, config, model.mesh)

    def scored(name: str, of: Examples, benchmark: str) -> Scores:
        limit = truncation.limit(
            config.over_long,
            config.max_length,
            model.contract.max_length,
            evaluators.get(benchmark),
        )
        return score(model, name, of, output, {**meta, **limit._asdict()})

    scores = {name: scored(name, of, of.name) for name, of in examples.items()}
    results = {name: summarize(of, scores[name]) for name, of in examples.items()}
    intervals = {
        name: uncertainty.of_result(evaluators.get(result.name), result, scores[name])
        for name, result in results.items()
    }
    record = {
        "model": config.name or model_name,
        **meta,
        # By which `compare` folds the seeds of one way of training.
        "trained": runs.seed_and_setting(config.model, config.scorer.step),
        "benchmarks": {name: evaluators.get(of.name).TITLE for name, of in examples.items()},
        "results": {name: result.to_record() for name, result in results.items()},
        "intervals": intervals,
        "interval_methods": uncertainty.METHODS,
        "left_out": {name: of.left_out for name, of in examples.items() if of.left_out},
        "files": {name: of.files for name, of in examples.items()},
        "set_aside": {name: of.set_aside for name, of in examples.items() if of.set_aside},
        "selected": parts,
        "over_long_by_benchmark": {name: truncation.words(of.meta) for name, of in scores.items()},
        "missing": missing,
        "bias": audit.bias_of(examples, scores),
        "counterfactual": audit.counterfactual_of(examples, scored, **config.counterfactual),
        "seconds": round(time.monotonic() - started, 1),
    }
    # What follows needs no model, and every process has the same rewards.
    if jax.process_index() == 0:
        if training:
            record["overlap"] = audit.overlap_of(examples, training, output / "overlap.jsonl")
        record["mistakes"] = audit.mistakes_of(examples, scores, output / "mistakes.jsonl")
        config_lib.write_json(output / "results.json", record)
        results_files.write(Evaluation(record["model"], record, results, scores), output)
        others = baselines.folders(output, config.against, output)
        report.write([output, *others], output / "report.html")
    return record


def refuse_mistakes(config: config_lib.Config) -> None:
    """Raise errors.Refusal with all that is wrong with a config, before any file is read."""
    complaints = errors.Complaints()
    complaints.add(config_lib.other_fields(config, defaults.evaluation()))
    # Fields that nothing reads would be unexpected arguments of what is asked below.
    complaints.refuse()
    complaints.add(_wrong_values(config))
    if not config.model:
        complaints.add(
            [
                "config.model is empty: give a Hugging Face folder or the workdir of a run with "
                "--config.model=DIR"
            ]
        )
    else:
        complaints.of(scorer.refuse_missing, config.model, config.scorer.step)
        output = config.output or output_folder.ROOT / output_folder.model_name(config.model)
        if reason := files.unwritable(output):
            complaints.add([f"config.output: {reason}"])
    complaints.of(make_mesh, **config.mesh)
    for kwargs in config.benchmarks.values():
        complaints.of(evaluators.refuse_other_arguments, **kwargs)
    complaints.of(truncation.check, config.over_long)
    complaints.of(selection.benchmarks, list(config.benchmarks), config.only)
    for name, kwargs in config.overlap.to_dict().items():
        complaints.of(overlap.open_training, name, **kwargs)
    for path in config.against:
        # A file holds scores that somebody published: they are matched when there are examples.
        if not pathlib.Path(path).is_file():
            complaints.of(read, path)
    complaints.refuse()


def _wrong_values(config: config_lib.Config) -> Iterator[str]:
    if config.max_length < 0:
        yield f"config.max_length = {config.max_length} must be at least 0; 0 is the contract's"
    if config.scorer.dtype not in (None, *contract.TOLERANCE):
        yield (
            f"config.scorer.dtype = {config.scorer.dtype!r}: choose one of "
            f"{', '.join(contract.TOLERANCE)}"
        )
    if config.scorer.tokens_per_device < 1:
        yield (
            f"config.scorer.tokens_per_device = {config.scorer.tokens_per_device} must be at "
            "least 1"
        )
    unknown = set(config.counterfactual.benchmarks) - set(config.benchmarks)
    if unknown:
        yield (
            f"config.counterfactual.benchmarks: {', '.join(sorted(unknown))} not among "
            f"config.benchmarks: {', '.join(config.benchmarks)}"
        )


def load_all(
    benchmarks: config_lib.Config, only: Sequence[str] = (), limit: int = 0
) -> tuple[dict[str, Examples], dict[str, str]]:
    """The examples of every benchmark whose files are there, and what is missing of the others.

    only, limit: as for `selection`. Files that are there but wrong are an error, and so is a
    benchmark that does not exist.
    """
    examples: dict[str, Examples] = {}
    missing: dict[str, str] = {}
    selected = selection.benchmarks(list(benchmarks), only)
    # In the order of the paper's table, whatever the config's.
    names = sorted(selected, key=lambda name: evaluators.position(benchmarks[name]["benchmark"]))
    for name in names:
        kwargs = benchmarks[name].to_dict()
        try:
            whole = evaluators.load(**kwargs)
            examples[name] = selection.select(whole, selected[name], limit)
        # ImportError: the hub's client is an extra that need not be installed.
        except (FileNotFoundError, ImportError) as error:
            how = evaluators.get(kwargs["benchmark"]).SOURCE
            missing[name] = f"{error}. Get it from {how}, and set benchmarks.{name}.path"
    return examples, missing


def plan(config: config_lib.Config) -> str:
    """What an evaluation would read, with the published counts beside it, for a reader."""
    truncation.check(config.over_long)
    examples, missing = load_all(config.benchmarks, config.only, config.limit)
    lines: list[str] = []
    for name, of in examples.items():
        lines += finder.describe(name, of, evaluators.get(of.name))
    lines += [f"{name}: missing. {why}" for name, why in missing.items()]
    return "\n".join(lines)


def summarize(examples: Examples, scores: Scores) -> Result:
    """The benchmark's numbers, with notes on examples that repeat or are not read as written."""
    result = evaluators.get(examples.name).summarize(examples.items, scores.rewards)
    # The report looks its rule up by name, and a module of your own may call itself anything.
    result = dataclasses.replace(result, name=examples.name)
    max_length = scores.meta.get("max_length")
    remedy = f"the others are too long: raise --config.max_length ({max_length})"
    result = selection.without_a_headline_of_few(result, remedy)
    result = selection.marked(selection.marked_unread(result, examples), examples)
    notes = [*result.notes, *_remarks(scores)]
    of_lengths = truncation.note(scores)
    if of_lengths is not None:
        notes.append(of_lengths)
    if examples.repeated:
        notes.append(
            f"{examples.repeated:,} of {len(examples.items):,} examples repeat an earlier one, "
            "responses and label included, and count again"
        )
    return dataclasses.replace(result, notes=notes)


def _remarks(scores: Scores) -> list[str]:
    """Sentences about what the model did not read as it is written in the examples."""
    meta = scores.meta
    # Scores say nothing of it where there is nothing to say.
    return accounting.remarks(
        meta.get("control_records", 0), meta.get("control_example", ""), meta.get("unprinted", {})
    )


def describe(model: scorer.Scorer, config: config_lib.Config) -> dict[str, Any]:
    """What all scores of an evaluation share: stored with each of them, with its own limits."""
    with jax.set_mesh(model.mesh):
        weights = tree_fingerprint.of_tree(model.params)
    return {
        "path": str(config.model),
        "weights": weights,
        "contract": config_lib.resolve(contract.to_record(model.contract)),
        "dtype": config.scorer.dtype or model.contract.compute_dtype,
        "max_length": config.max_length or model.contract.max_length,
        "over_long": config.over_long,
    }


def score(
    model: scorer.Scorer,
    name: str,
    examples: Examples,
    output: pathlib.Path,
    meta: dict[str, Any],
) -> Scores:
    """The scores of a benchmark, kept ones where model, files and settings are the same.

    meta: of `describe`, with the benchmark's own `max_length` and `over_long`. Scores that are not
    in the output folder are computed window by window, each by one of the evaluations that have it
    as their output.
    """
    # Not the path: a folder that was moved holds the same weights.
    settings = {field: value for field, value in meta.items() if field != "path"}
    key = fingerprint.of_json([FORMAT, examples.fingerprint, settings])
    file = output / "scores" / f"{name}.parquet"
    kept = _kept(file, key)
    if kept is not None:
        print(f"{name}: {len(kept.items):,} examples, scored before", file=sys.stderr)
        return kept
    # Named after the key, so that windows of other settings are never taken for these.
    parts = output / "scores" / f"{name}.{key}"
    try:
        with progress(name, len(examples.items)) as advance:
            scores = stored_rewards.compute(
                examples,
                model.tokenizer,
                lambda groups: scorer.finite_rewards(model, groups),
                max_length=meta["max_length"],
                over_long=meta["over_long"],
                meta={**meta, "key": key},
                parts=parts,
                advance=advance,
            )
    except FileNotFoundError:
        # Another evaluation that took part has put the windows together, and removed them.
        kept = _kept(file, key)
        if kept is None:
            raise
        return kept
    if jax.process_count() > 1:
        # All must have looked for files before one writes or removes any.
        multihost_utils.sync_global_devices(f"scored {key}")
    if jax.process_index() == 0:
        stored_rewards.write(scores, file)
        shutil.rmtree(parts, ignore_errors=True)
        print(
            f"{name}: {len(scores.items):,} examples scored, "
            f"{len(scores.unscored):,} responses without a score",
            file=sys.stderr,
        )
        for sentence in _remarks(scores):
            print(f"{name}: {sentence}", file=sys.stderr)
    return scores


def _kept(file: pathlib.Path, key: str) -> Scores | None:
    """The scores in `file` where they are those of `key`."""
    if not file.exists():
        return None
    kept = stored_rewards.read(file)
    if kept.meta.get("key") != key:
        return None
    return kept


@contextlib.contextmanager
def progress(name: str, total: int) -> Iterator[Callable[[int], Any]]:
    """Yields a function that is called with the number of examples that are newly done.

    It moves a bar on a terminal, and elsewhere (a log file) prints a line now and then.
    """
    if jax.process_index() > 0:
        yield lambda items: None
        return
    if sys.stderr.isatty():
        with tqdm(total=total, desc=name, unit="examples", nrows=terminal.ROWS) as bar:
            yield bar.update
        return
    done, started, last = 0, time.monotonic(), time.monotonic()
    # Before the first window, which compiles and can take minutes.
    print(f"{name}: scoring {total:,} examples", file=sys.stderr, flush=True)

    def advance(items: int) -> None:
        nonlocal done, last
        done, now = done + items, time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last, seconds = now, now - started
            line = f"{name}: {done:,} of {total:,} examples after {seconds:.0f} s"
            print(line, file=sys.stderr, flush=True)

    yield advance


def with_config(arguments: Sequence[str]) -> list[str]:
    """The command's arguments in its own words, with the config of own pairs for --data."""
    data = {"data": "config.benchmarks.pairs.path"}
    words = {"model": "config.model", "output": "config.output"}
    arguments = dialect.in_own_words(arguments, words | data)
    has_data = dialect.value_of(arguments, data["data"]) is not None
    if dialect.value_of(arguments, dialect.CONFIG) is not None:
        if has_data:
            raise ValueError("--data is for evaluations without --config, which names benchmarks")
        return arguments
    asks_for_data = not dialect.asks_for_help(arguments) and "--show" not in arguments
    if not has_data and asks_for_data:
        raise ValueError(
            "--config or --data is missing: benchmarks, as in --config configs/eval/mini.py, or "
            "pairs of your own, as in --data pairs.jsonl"
        )
    return [f"--{dialect.CONFIG}={own_pairs.__file__}", *arguments]


def compare(argv: Sequence[str]) -> None:
    """`rewardjax evaluate compare`: a table to standard output, and the page."""
    folders, output = report.arguments(argv)
    # Also where one of them is something else, which is then named.
    if any(runs.is_run(folder) for folder in folders):
        print(runs.compare(folders, output))
    else:
        print(report.compare(folders, output))
    print(f"\n{output}")


def show(config: config_lib.Config) -> None:
    """Print every setting of the config."""
    file = config_flags.get_config_filename(flags.FLAGS["config"])
    functions = defaults.EVALUATION.items()
    terminal.show(settings.text(settings.of_config(config, file, defaults.evaluation, functions)))


def main(argv: list[str]) -> None:
    """Run the command."""
    logging.set_verbosity(logging.WARNING)
    config = flags.FLAGS.config
    # Shorthands of two fields that every other caller sets in the config.
    if ONLY.value:
        config.only = tuple(ONLY.value)
    if LIMIT.value:
        config.limit = LIMIT.value
    if flags.FLAGS.show:
        show(config)
        return
    if PLAN.value:
        print(plan(config))
        return
    distributed.initialize()
    record = run(config)
    if jax.process_index() == 0:
        results = {name: Result.from_record(result) for name, result in record["results"].items()}
        print(table.tables(Evaluation(record["model"], record, results, {})))
        for name, why in record["missing"].items():
            print(f"missing: {name}: {why}")
        print(json.dumps({name: result.headline for name, result in results.items()}))


if __name__ == "__main__":
    # Before absl sees it: this command takes folders, and no config.
    if sys.argv[1:2] == ["compare"]:
        with errors.one_line("rewardjax.evaluate compare"):
            compare(sys.argv[2:])
        sys.exit()
    with errors.one_line("rewardjax.evaluate"):
        # config_flags looks at what Python was started with.
        sys.argv[1:] = with_config(sys.argv[1:])
        config_flags.DEFINE_config_file(
            "config", None, "Path of a config file: configs/eval/all.py", lock_config=True
        )
        # Here, since `train` has a flag of this name, and both may be imported by one process.
        flags.DEFINE_bool("show", False, "Print every setting and stop.")
        app.run(main, flags_parser=config_lib.parse_flags)
