"""What the comparisons with the peer have in common:

arguments, the machine made ready, one JSON line last.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import torch

from benchmarks.sizes import SIZES, SMOKE, Size, pin
from rewardjax.parallel.mesh import make_mesh

Compare = Callable[
    [Size, str, pathlib.Path, pathlib.Path], dict[str, Any]
]  # size, platform, shared data, scratch folder


def run(
    name: str, description: str, compare: Compare, argv: list[str] | None = None
) -> dict[str, Any]:
    """Measures every size of the platform that the arguments name;

    prints the result as the last line, and returns it.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--platform", choices=SIZES, default="cpu")
    parser.add_argument(
        "--smoke", action="store_true", help="a tiny size: differences count, times do not"
    )
    parser.add_argument(
        "--shared",
        type=pathlib.Path,
        default=pathlib.Path("../shared/data"),
        help="folder of real text",
    )
    args = parser.parse_args(argv)
    _prepare(args.platform, one_core=not args.smoke)
    sizes = {"smoke": SMOKE} if args.smoke else SIZES[args.platform]
    found = {}
    with jax.set_mesh(make_mesh()):
        for size_name, size in sizes.items():
            with tempfile.TemporaryDirectory() as folder:
                found[size_name] = compare(size, args.platform, args.shared, pathlib.Path(folder))
    versions = {
        package: importlib.metadata.version(package) for package in ("jax", "torch", "transformers")
    }
    machine = {
        "benchmark": name,
        "platform": args.platform,
        "device": jax.devices()[0].device_kind,
        "versions": versions,
    }
    result = machine | (next(iter(found.values())) if len(found) == 1 else found)
    print(json.dumps(result))
    return result


def _prepare(platform: str, one_core: bool) -> None:
    if platform == "gpu":
        os.environ.setdefault(
            "XLA_PYTHON_CLIENT_PREALLOCATE", "false"
        )  # two frameworks share the memory
        if jax.default_backend() != "gpu" or not torch.cuda.is_available():
            raise SystemExit(
                f"--platform=gpu: JAX runs on {jax.default_backend()}, torch sees CUDA: "
                f"{torch.cuda.is_available()}"
            )
        return
    jax.config.update("jax_platforms", "cpu")
    if one_core:
        pin()
        torch.set_num_threads(1)
