"""Render a training job for a cluster, and submit it.

    python -m launch --backend jobset --topology v5p:2x2x4 --config configs/tiny.py \
        --workdir gs://bucket/run --dry_run

Arguments of the form --config.KEY=VALUE override fields of the config. Config, overrides and every
field of the job are checked here, before anything is queued.
"""

import argparse
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence

from launch import jobset
from launch.accelerators import Slice
from launch.spec import NAME_LIMIT, JobSpec
from rewardjax import config as config_lib
from rewardjax.aot.topology import CHIPS
from rewardjax.parallel.mesh import mesh_sizes, refuse_split_slices

BACKENDS = {"jobset": jobset.render}
DRAFT_IMAGE = "rewardjax:draft"  # stands in a dry run; nothing of that name is ever pushed


def build_spec(argv: Sequence[str]) -> tuple[JobSpec, argparse.Namespace]:
    """The job that `argv` describes, and the parsed arguments.

    Exits with a usage message on anything unknown.
    """
    parser = argparse.ArgumentParser(
        prog="python -m launch", description="Render a training job for a cluster, and submit it."
    )
    parser.add_argument("--backend", choices=sorted(BACKENDS), default="jobset")
    parser.add_argument(
        "--topology",
        required=True,
        metavar="TPU:SHAPE",
        help="for instance v5e:4x4, v5p:2x2x4, v6e:8x8",
    )
    parser.add_argument("--slices", type=int, default=1)
    parser.add_argument("--config", required=True, metavar="FILE[:ARG]")
    parser.add_argument("--workdir", required=True, metavar="gs://BUCKET/FOLDER")
    parser.add_argument("--name", help="default: from the config's file name")
    parser.add_argument("--image", help="container image with a tag or a digest (needed to submit)")
    parser.add_argument("--queue", help="Kueue local queue")
    parser.add_argument(
        "--restarts",
        type=int,
        default=10,
        help="how many in a row without a new checkpoint; default: 10",
    )
    parser.add_argument(
        "--grace",
        type=int,
        default=120,
        metavar="SECONDS",
        help="from SIGTERM to SIGKILL: a save that is under way can end in it, none is started",
    )
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        help="where the manifest is written; default: runs/launch/NAME.yaml",
    )
    parser.add_argument("--dry_run", action="store_true", help="print the manifest, submit nothing")
    args, rest = parser.parse_known_args(argv)
    # argparse knows no open set of flags, so the overrides are what it did not recognize.
    overrides = [word.removeprefix("--config.") for word in rest]
    if unknown := [word for word in rest if not re.match(r"--config\.[\w.]+=", word)]:
        parser.error(
            f"unknown arguments: {shlex.join(unknown)} (overrides are written --config.KEY=VALUE)"
        )
    # A manifest can be looked at before an image is built.
    if not (args.image or args.dry_run):
        parser.error("submitting needs --image")
    try:
        config = config_lib.load(args.config, overrides)
        spec = JobSpec(
            name=args.name or default_name(args.config),
            tpu=Slice.parse(args.topology),
            slices=args.slices,
            image=args.image or DRAFT_IMAGE,
            config=args.config,
            workdir=args.workdir,
            queue=args.queue,
            restarts=args.restarts,
            grace_seconds=args.grace,
            overrides=dict(item.split("=", 1) for item in overrides),
            env=dict(item.partition("=")[::2] for item in args.env),
        )
        refuse_other_mesh(config, spec)
    except (ValueError, TypeError, FileNotFoundError) as error:
        parser.error(str(error))
    return spec, args


def refuse_other_mesh(config: config_lib.Config, spec: JobSpec) -> None:
    """Raise ValueError where the config's mesh is not over the devices of the job's slices.

    The trainer is not told how many slices there are: its devices know, and would refuse this.
    """
    if "mesh" not in config:
        return
    devices = spec.slices * spec.tpu.chips
    # A chip may show up as several devices. A v4 is one, though libtpu describes it as two.
    if spec.tpu.accelerator in CHIPS:
        devices *= CHIPS[spec.tpu.accelerator].devices
    refuse_split_slices(mesh_sizes(devices, **config.mesh), spec.slices)


def default_name(config: str) -> str:
    """`"configs/hh.py:tiny"` -> `"hh"`."""
    stem = pathlib.Path(config.partition(":")[0]).stem.lower()
    name = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")
    return name[:NAME_LIMIT].rstrip("-")


def main(argv: Sequence[str]) -> int:
    """Print the manifest, or write and submit it; returns the exit code."""
    spec, args = build_spec(argv)
    try:
        text = BACKENDS[args.backend](spec)
    except ValueError as error:
        print(f"python -m launch: {error}", file=sys.stderr)
        return 2
    if args.dry_run:
        print(text, end="")
        return 0
    output = args.output or pathlib.Path("runs") / "launch" / f"{spec.name}.yaml"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
    command = ["kubectl", "create", "-f", str(output)]
    print(shlex.join(command), file=sys.stderr)
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
