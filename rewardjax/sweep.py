"""Expand a config's sweep into trials, look at the plan, run it, look at what it measured.

    rewardjax sweep --config configs/tiny.py --sweep lr --plan
    rewardjax sweep --config configs/tiny.py --sweep lr --run local --workdir runs/lr -j 2
    rewardjax sweep --config configs/tiny.py --sweep lr --results --workdir runs/lr

A config file offers `sweep()` or `sweep_<name>()`, which returns or yields dicts of dotted
overrides (`rewardjax.config` has the algebra). The fields of every trial, its data and its model
are checked before the first one starts. A trial's folder holds its resolved config, so a second
call skips what is done and runs what is missing or has failed. `--set` sets a field of all trials,
`--trial` takes some of them by their number. `index.html` in the workdir is written after every
trial.
"""

import pathlib
import sys
from collections.abc import Sequence

from rewardjax.command import errors, terminal
from rewardjax.reporting.text_table import table
from rewardjax.sweeps import local, outcomes, preflight, ranking, trials


@errors.one_line("rewardjax.sweep")
def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.sweep", description="Plan and run the sweep of a config file."
    )
    parser.add_argument("--config", required=True, metavar="FILE[:ARG]")
    parser.add_argument(
        "--sweep", default="", metavar="NAME", help="use sweep_NAME() instead of sweep()"
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--plan", action="store_true", help="print the trials, run nothing")
    action.add_argument(
        "--run", choices=["local"], help="run the trials as processes on this machine"
    )
    action.add_argument(
        "--results",
        action="store_true",
        help="print what the trials in --workdir measured and write its index.html, run nothing",
    )
    parser.add_argument(
        *("--workdir", "--output"),
        help="folder of the sweep; each trial has its own folder inside",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a setting of all trials; may be repeated",
    )
    parser.add_argument(
        "--trial",
        action="append",
        default=[],
        type=int,
        metavar="N",
        help="only the trial of this number in --plan; may be repeated",
    )
    parser.add_argument("-j", "--jobs", type=int, default=1, help="trials at a time")
    args = parser.parse_args(argv)
    if not args.plan and not args.workdir:
        parser.error("--run and --results need --workdir")
    if args.jobs < 1:
        parser.error("--jobs must be at least 1")
    planned = trials.plan(args.config, args.sweep, args.set)
    chosen = trials.selected(planned, args.trial)
    if args.plan:
        rows = [{"trial": trial.number, "id": trial.id} | trial.overrides for trial in chosen]
        terminal.show([table(rows)])
        return 0
    # Here, so that a plan does not wait for what draws figures.
    from rewardjax.sweeps import page

    workdir = pathlib.Path(args.workdir)
    if args.run:
        preflight.refuse_mistakes(chosen, args.config, workdir)
        # The page is of all trials, also where this call runs some of them.
        local.run_local(
            chosen,
            args.config,
            workdir,
            args.jobs,
            ended=lambda: page.try_to_write(workdir, planned, args.config),
        )
    elif not workdir.is_dir():
        raise ValueError(f"--workdir {workdir}: no such folder; --run local makes it")
    page.write(workdir, planned, args.config)
    read = outcomes.read(workdir, chosen)
    terminal.show([ranking.text(planned, read), f"page  {workdir / page.FILE}"])
    failed = [outcome for outcome in read if outcome.status == outcomes.FAILED]
    if args.run and failed:
        print(
            f"{len(failed)} of {len(read)} trials failed; the whole of what they said is in "
            f"{workdir}/<trial>/{local.LOG}",
            file=sys.stderr,
        )
    if args.run and any(outcome.status != outcomes.DONE for outcome in read):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
