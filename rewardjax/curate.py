"""Curate preference pairs: people, judges and reward models in one loop, every opinion in a ledger.

    python -m rewardjax.curate run FOLDER --config configs/curation/world.py [--plan | --show]
        both stages; the same command resumes; what they would cost, or every setting of them
    python -m rewardjax.curate answers FOLDER FILE... [--person 3=ana] [--commit] [--close]
        what people sent back, shown and then stored for the step that waits for it
    python -m rewardjax.curate status FOLDER
        pools, votes, scores, decisions, people
    python -m rewardjax.curate explain FOLDER PAIR_ID
        every vote, score and rule about a pair
    python -m rewardjax.curate review FOLDER [--restore PAIR_ID... --reason TEXT]
        what cleaning holds back or flags, with evidence, and letting pairs in again
    python -m rewardjax.curate import FOLDER --source FILE --name NAME --entry wild
        records of any known format into the ledger
    python -m rewardjax.curate export FOLDER --output OUT.parquet [--pools gold silver]
        chosen and rejected, with provenance
    python -m rewardjax.curate erase FOLDER PAIR_ID... [--ids FILE]
        the text of pairs out of the workspace; votes and decisions stay
    python -m rewardjax.curate audit FOLDER
        whether the shards are sound, and the decisions follow from the ledger
    python -m rewardjax.curate judges check FOLDER --config configs/curation/world.py
        what each judge's servers are worth, on ten pairs whose answer is known
    python -m rewardjax.curate batch write FOLDER --config configs/curation/world.py
        the judges' next requests as batch files
    python -m rewardjax.curate batch read FOLDER RESULTS.jsonl
        their answers into the ledger of calls

FOLDER is a workspace (curation/workspace.py). Exit code 2: a mistake in the command or the config,
in one line; 3: the run waits for people, money or a server, and says for what.
"""

import argparse
import contextlib
import json
import os
import pathlib
import sys
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from rewardjax import config as config_lib
from rewardjax.command import errors, job, terminal
from rewardjax.command.exit_codes import ExitCode
from rewardjax.command.running import Running
from rewardjax.curation import defaults as curation_defaults
from rewardjax.curation import erase as erase_lib
from rewardjax.curation import people, settings
from rewardjax.curation.annotation import acceptance, meanings, progress
from rewardjax.curation.annotation.desk import Desk, has_desk, open_desk
from rewardjax.curation.cleaning import review
from rewardjax.curation.intake.intake import conflicts, take_in
from rewardjax.curation.judges import lost
from rewardjax.curation.ledger import decisions, gates
from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.rows import ENTRIES
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.ledger.write_pairs import LABELS, PERSONAL, export
from rewardjax.curation.overview import evidence, explain, soundness
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.workspace import Paused, Workspace, open_workspace
from rewardjax.data import spelling
from rewardjax.data.sources import open_source
from rewardjax.io import files
from rewardjax.reporting import text_table


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        job.refuse("rewardjax.curate")
        for path in (args.folder, getattr(args, "output", args.folder)):
            files.refuse_address(path)
        # Whatever a verb prints may hold a text of the data, a reply or a name.
        with contextlib.redirect_stdout(terminal.Visible(sys.stdout)):
            code = args.verb(args)
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        # `| head` has seen enough. What is still in the buffer must go somewhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        code = errors.exit_code(error)
        if code == ExitCode.BUG:
            error = _damage_behind(error, args.folder)
            code = errors.exit_code(error)
        # A bug's traceback is Python's own to print.
        if code == ExitCode.BUG:
            raise
        errors.tell(f"rewardjax.curate {args.command}", error)
        return code


def _damage_behind(error: Exception, folder: pathlib.Path) -> Exception:
    """What is damaged in a workspace, where that is why a library fails; else the error itself."""
    failures = (duckdb.Error, pa.ArrowException, OSError)
    if not isinstance(error, failures) or not (folder / "store" / "store.json").exists():
        return error
    # Whatever DuckDB or Arrow says of a file, its hash tells whether it is what was written.
    refused = errors.Complaints()
    refused.add(soundness.damaged_shards(Store(folder / "store")))
    try:
        refused.refuse()
    except errors.Refusal as refusal:
        return refusal
    return error


def _parser() -> argparse.ArgumentParser:
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.curate", description="Curate preference pairs."
    )
    verbs = parser.add_subparsers(dest="command", required=True)

    def verb(name: str, function, text: str, of=verbs) -> argparse.ArgumentParser:
        sub = of.add_parser(name, help=text, description=text)
        sub.add_argument("folder", type=pathlib.Path)
        sub.set_defaults(verb=function)
        return sub

    run = verb("run", _run, "run or resume both stages")
    _add_config(run)
    instead = run.add_mutually_exclusive_group()
    instead.add_argument(
        "--plan", action="store_true", help="show counts and cost of every step, and do nothing"
    )
    instead.add_argument(
        "--show",
        action="store_true",
        help="show every setting with a sentence on it and where its value came from, and do "
        "nothing",
    )
    back = verb("answers", _answers, "show what people sent back; with --commit, store it")
    back.add_argument(
        "files", nargs="*", type=pathlib.Path, help="JSON lines, JSON, CSV; Label Studio, Argilla"
    )
    back.add_argument("--commit", action="store_true", help="store what can be read")
    back.add_argument(
        "--close",
        action="store_true",
        help="end the open step with the answers it has: nothing is added to it afterwards",
    )
    back.add_argument(
        "--retract",
        action="store_true",
        help="take back the stored answers that say what the files say, given with the same flags",
    )
    back.add_argument(
        "--person",
        action="append",
        default=[],
        metavar="WHO=NAME",
        help="which annotator the files mean by a number or an e-mail; repeat",
    )
    back.add_argument(
        "--choice",
        action="append",
        default=[],
        metavar="WORD=CHOICE",
        help=f"what a word of the files means: {', '.join(people.CHOICES)}; repeat",
    )
    back.add_argument(
        "--ignore-texts",
        action="store_true",
        help="read answers although prompt, left or right in a file is not what the task showed",
    )
    verb("status", _status, "what the ledger holds")
    verb("explain", _explain, "everything about one pair").add_argument(
        "pair_id", help="or the beginning of it"
    )
    findings = verb("review", _review, "what cleaning holds back or flags, with evidence")
    findings.add_argument(
        "--restore", nargs="+", default=[], metavar="PAIR_ID", help="let these pairs in again"
    )
    findings.add_argument("--reason", default="", help="why, for whoever reads the ledger later")
    findings.add_argument(
        "--limit", type=int, default=20, help="findings to show, held pairs first; 0: all"
    )
    out = verb("export", _export, "write a Hugging Face data set of pairs")
    out.add_argument("--output", type=pathlib.Path, required=True)
    out.add_argument(
        "--pools", nargs="+", choices=pools_lib.POOLS, default=["gold", "silver", "curated"]
    )
    out.add_argument("--labels", choices=LABELS, default="current")
    out.add_argument(
        "--no-flips", action="store_true", help="leave out pairs whose label was turned"
    )
    out.add_argument("--iteration", type=int, help="as things stood after it")
    out.add_argument(
        "--personal",
        choices=PERSONAL,
        default="keep",
        help="what becomes of pairs with personal data: keep, leave out, or mask it in all texts",
    )
    into = verb("import", _import, "take records in")
    into.add_argument("--source", "--data", required=True, help="what data/sources/ opens")
    spelling.add_flags(into)
    into.add_argument("--name", required=True, help="of the source, in votes and provenance")
    into.add_argument(
        "--entry",
        choices=ENTRIES,
        required=True,
        help="unverified: people made the labels; wild: they did not; gold: your own people did, "
        "and their votes and attributes are kept",
    )
    gone = verb("erase", _erase, "take the text of pairs out of the workspace")
    gone.add_argument("pair_ids", nargs="*", metavar="PAIR_ID", help="or the beginning of it")
    gone.add_argument("--ids", type=pathlib.Path, help="a file with one id per line")
    verb("audit", _audit, "check the shards, and decide again")
    text = "the config's judges"
    judges = verbs.add_parser("judges", help=text, description=text)
    checks = judges.add_subparsers(dest="action", required=True)
    _add_config(verb("check", _judges_check, "ask each server ten known pairs", checks))
    text = "ask judges through the files of a batch API (stages/batches.py)"
    batch = verbs.add_parser("batch", help=text, description=text)
    actions = batch.add_subparsers(dest="action", required=True)
    write = verb("write", _batch_write, "run until judges are needed; write requests", actions)
    _add_config(write)
    write.add_argument(
        "--judge",
        action="append",
        default=[],
        help="write the requests of this judge, and leave the others to `run`; repeat",
    )
    write.add_argument(
        "--discount", type=float, default=1.0, help="what the batch API charges of the price"
    )
    back = verb("read", _batch_read, "take in results", actions)
    back.add_argument("results", nargs="+", type=pathlib.Path)
    lost = verb("release", _batch_release, "give up files without results", actions)
    lost.add_argument("written", nargs="+", type=pathlib.Path)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE[:ARG]")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="override a field of the config; repeat",
    )


def _store(folder: pathlib.Path) -> Store:
    """The store of a workspace that exists."""
    if not (folder / "store" / "store.json").exists():
        raise FileNotFoundError(
            f"{folder} is not a workspace: it has no store/; make one with `curate import` or "
            f"`curate run`"
        )
    return Store(folder / "store")


def _warn(text: str) -> None:
    """Say something on standard error, where bars move the cursor: so no `Visible` stands there."""
    print(terminal.visible(text), file=sys.stderr)


def _run(args: argparse.Namespace) -> int:
    if args.show:
        _show(args)
        return 0
    # Not at the top: these start JAX, which takes seconds that the other verbs need not wait.
    from rewardjax.curation.planning import cost_plan
    from rewardjax.curation.stages import loop, product

    config = config_lib.load(args.config, args.set)
    loop.check(config)
    with open_workspace(args.folder, config, product.PLUGINS, bind=not args.plan) as ws:
        if args.plan:
            print(text_table.table(cost_plan.plan(ws)))
            return 0
        if not _goes_through(ws):
            return ExitCode.WAITS
        print(text_table.table(explain.status(ws.store)["Pools"]))
        for sentence in lost.lost_answers(ws.calls):
            _warn(f"warning: {sentence}")
        summary = {
            "pools": pools_lib.sizes(ws.store),
            "dollars": ws.calls.spent(),
            "ledger": ws.store.fingerprint(),
        }
        print(json.dumps(summary))
    return 0


def _show(args: argparse.Namespace) -> None:
    # Not at the top: the functions that it imports for their docstrings start JAX.
    from rewardjax.reporting import settings as shown_settings

    config = config_lib.load(args.config, args.set)
    functions = curation_defaults.section_functions()
    shown = shown_settings.of_config(config, args.config, curation_defaults.curation, functions)
    terminal.show(shown_settings.text(shown))


def _goes_through(ws: Workspace) -> bool:
    """Run the loop; whether it came to its end. Where it pauses, that is said, with a page."""
    # Not at the top, for the reason given in `_run`.
    from rewardjax.curation.stages import loop, report

    try:
        loop.run(ws)
    except Paused as error:
        _warn(f"paused: {error}")
        _warn(f"as things stand: {report.write_paused(ws, str(error))}")
        return False
    return True


def _answers(args: argparse.Namespace) -> int:
    store = _store(args.folder)
    if not has_desk(args.folder):
        raise ValueError(
            f"{args.folder}: no step waits for people; `curate run` with people.kind=files deals "
            "tasks"
        )
    if args.close and args.files and not args.commit:
        raise ValueError("--close with files needs --commit too: what they hold is stored first")
    if not args.files and (args.commit or args.retract):
        raise ValueError("--commit and --retract need the files with the answers")
    with open_desk(args.folder) as desk:
        if args.files:
            _take_answers(args, store, desk)
        if args.close:
            _close_steps(desk)
        print(text_table.table(progress.table(desk)))
        missing = {step.name: len(desk.missing(step.name)) for step in desk.steps()}
        closed = {step.name: step.is_closed for step in desk.steps()}
    print(json.dumps({"committed": args.commit, "missing": missing, "closed": closed}))
    return 0


def _take_answers(args: argparse.Namespace, store: Store, desk: Desk) -> None:
    """Say what the files hold, and store it, or take it back, with --commit.

    Raises:
        ValueError: where nothing in the files is an answer.
    """
    names = meanings.names_of(desk, args.person, args.choice, ignores_texts=args.ignore_texts)
    if args.retract:
        outcome = acceptance.read_retraction(store, desk, args.files, names)
        shown, done, change = progress.retraction_lines(outcome), "taken back", desk.retract
    else:
        outcome = acceptance.read(store, desk, args.files, names)
        shown, done, change = progress.lines(outcome, desk), "stored", desk.take
    print("\n".join(shown))
    # A tool exports everything each time: what is stored already, or still open, is no mistake.
    mistakes = [each for each in outcome.refused if not each.is_unanswered]
    if not outcome.accepted and (mistakes or not outcome.repeated):
        why = progress.grouped(mistakes or outcome.refused)[0]
        raise ValueError(f"nothing in the files can be {done}, so nothing changes: {why}")
    if not args.commit:
        print(f"nothing is {done} yet: give --commit to have it {done}")
        return
    for step in sorted({each.step for each in outcome.accepted}):
        change(step, [each.answer for each in outcome.accepted if each.step == step])
    print(
        f"{len(outcome.accepted)} answers are {done}; until the step closes, a later file corrects"
    )


def _close_steps(desk: Desk) -> None:
    """Close the steps that are open, whatever is missing."""
    steps = [step.name for step in desk.steps() if not step.is_closed]
    if not steps:
        raise ValueError("no step is open, so there is nothing to close")
    for name in steps:
        missing = len(desk.missing(name))
        desk.close(name)
        print(f"{name} is closed; {missing} tasks without an answer are left unlabeled")


def _status(args: argparse.Namespace) -> int:
    store = _store(args.folder)
    # Not at the top, for the reason given in `_run`.
    from rewardjax.curation.overview import status

    with contextlib.closing(CallLedger(args.folder / "calls.sqlite")) as calls:
        lines = status.lines(args.folder, store, calls)
        tables = status.tables(args.folder, store, calls)
    print("\n".join(lines) + "\n")
    for heading, rows in tables.items():
        if rows:
            print(f"{heading}\n{text_table.table(rows)}\n")
    return 0


def _explain(args: argparse.Namespace) -> int:
    store = _store(args.folder)
    explained = explain.explain(store, args.pair_id)
    print(explain.as_text(explained))
    print("\n".join(evidence.lines(args.folder, store, explained)))
    shards = []
    for ledger in explain.LEDGERS:
        shards += [(ledger, row["stage"], row["unit"]) for row in explained[ledger]]
    for line in settings.of_shards(store, shards):
        print(f"setting of {line}")
    return 0


def _review(args: argparse.Namespace) -> int:
    store = _store(args.folder)
    if bool(args.restore) != bool(args.reason):
        raise ValueError("--restore and --reason go together: which pairs may come in, and why")
    if args.restore:
        outcome = review.restore(store, args.restore, args.reason)
        for fate, pair_ids in outcome.items():
            print("\n".join(f"{fate}: {pair_id}" for pair_id in pair_ids))
    else:
        print("\n".join(review.as_text(store, args.limit)))
    print(json.dumps({"open": review.counts(store)}))
    return 0


def _export(args: argparse.Namespace) -> int:
    options = {
        "pools": args.pools,
        "labels": args.labels,
        "flips": not args.no_flips,
        "iteration": args.iteration,
        "personal": args.personal,
    }
    with Running().step("export"):
        counts = export(_store(args.folder), args.output, **options)
    if args.personal == "keep" and counts.get("personal data"):
        _warn(
            f"warning: {counts['personal data']} of the written pairs hold personal data: "
            "--personal leave_out or mask"
        )
    print(json.dumps(counts))
    return 0


def _import(args: argparse.Namespace) -> int:
    store = Store(args.folder / "store")
    source = open_source(args.source, split=args.split, spelling=spelling.FLAGS)
    meaning = {"columns": args.columns, "labels": args.labels}
    running = Running()
    # Around all of it: large files are hashed before their first row is read.
    with running.step(f"import {args.name}"):
        counts = take_in(
            store, source, entry=args.entry, name=args.name, running=running, **meaning
        )
    print(json.dumps(counts | {"contradicting": sum(1 for _ in conflicts(store))}))
    return 0


def _erase(args: argparse.Namespace) -> int:
    prefixes = list(args.pair_ids)
    if args.ids is not None:
        prefixes += args.ids.read_text().split()
    if not prefixes:
        raise ValueError("no pair is named: give ids, or --ids with a file of them")
    store = _store(args.folder)
    report = erase_lib.erase(
        args.folder, [explain.pair_named(store, prefix) for prefix in prefixes]
    )
    for name in report["models"]:
        _warn(f"warning: models/{name} has learned from it; its weights stay")
    for name in report["still_in"]:
        _warn(f"warning: {name} still has a text of it")
    if report["others"]:
        _warn(
            f"warning: {len(report['others'])} other pairs have the prompt or a response of it, "
            f"such as {report['others'][0]}; name them too to erase those"
        )
    if report["examples"]:
        print(
            f"it was shown as an example to judges of {report['examples']} other pairs, whose "
            "votes stay without the judges' words"
        )
    print(json.dumps(report))
    return 0


def _audit(args: argparse.Namespace) -> int:
    with Running().step("audit"):
        problems = _problems(_store(args.folder))
    if problems:
        print("\n".join(problems))
        return 1
    print(
        "sound: every shard is as it was written, and every decision and gate follows from the "
        "ledger"
    )
    return 0


def _problems(store: Store) -> list[str]:
    """What is not as it was written, or does not follow from the ledger."""
    problems = soundness.problems(store)
    # From a damaged ledger nothing can be decided again.
    if problems:
        return problems
    problems += gates.audit(store)
    for stage in sorted({m["stage"] for m in store.manifests("decisions")}):
        wrong = decisions.audit(store, stage)
        if wrong:
            problems.append(
                f"decisions {stage}: {len(wrong)} do not follow from the ledger, such as {wrong[0]}"
            )
    return problems


def _judges_check(args: argparse.Namespace) -> int:
    # Not at the top, for the reason given in `_run`.
    from rewardjax.curation.stages import judges_check, loop, product

    _store(args.folder)
    config = config_lib.load(args.config, args.set)
    loop.check(config)
    with open_workspace(args.folder, config, product.PLUGINS, bind=False) as ws:
        rows, sentences = judges_check.check(ws)
    print(text_table.table(rows))
    for sentence in sentences:
        _warn(sentence)
    return 0


def _batch_write(args: argparse.Namespace) -> int:
    # Not at the top, for the reason given in `_run`.
    from rewardjax.curation.stages import batches, loop, product

    config = config_lib.load(args.config, args.set)
    loop.check(config)
    # Nothing is asked, so that nothing is worth being sent to other processes.
    config.update({"engine": {"name": ""}})
    writer = batches.Writer(args.judge, args.discount)
    with open_workspace(args.folder, config, writer.plugins(product.PLUGINS)) as ws:
        is_done = _goes_through(ws)
    print(json.dumps(writer.report()))
    if is_done:
        return 0
    return ExitCode.WAITS


def _batch_read(args: argparse.Namespace) -> int:
    from rewardjax.curation.stages import batches

    _store(args.folder)
    print(json.dumps(batches.read(args.folder, args.results)))
    return 0


def _batch_release(args: argparse.Namespace) -> int:
    from rewardjax.curation.stages import batches

    _store(args.folder)
    print(json.dumps(batches.release(args.folder, args.written)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
