"""Two processes give what one gives:

rows are placed, weights read, rewards computed and folders written together.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from rewardjax.models import hf, reward, variants
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout

SCRIPT = pathlib.Path(__file__).with_name("processes.py")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    with jax.set_mesh(
        jax.make_mesh((1, 1, 1), ("data", "fsdp", "tensor"), devices=jax.devices()[:1])
    ):
        hf.save(
            reward.init(variants.get("tiny-qwen3"), Compute(), Layout(), seed=0),
            folder,
            pad_token_id=1,
            eos_token_id=2,
        )
    return folder


def run_two(source, target, fsdp, tensor):
    """What each of the two processes printed."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {
        "PYTHONPATH": str(SCRIPT.parents[2])
    }
    running = [
        subprocess.Popen(
            [
                sys.executable,
                str(SCRIPT),
                address,
                str(i),
                str(fsdp),
                str(tensor),
                str(source),
                str(target),
            ],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=240) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [json.loads(printed.splitlines()[-1]) for printed, _ in outputs]


def test_two_processes_equal_each_other_and_keep_every_bit(source, tmp_path):
    split = run_two(
        source, tmp_path / "split", fsdp=4, tensor=1
    )  # weights and rows reach across the processes
    assert [result["share"] for result in split] == [[0, 2], [1, 2]]
    across = run_two(source, tmp_path / "across", fsdp=2, tensor=2)
    for result in (*split, *across):
        np.testing.assert_allclose(result["rewards"], split[0]["rewards"], rtol=1e-5, atol=1e-6)
    assert np.std(split[0]["rewards"]) > 0.01
    wanted = load_file(source / "model.safetensors")
    for name in ("split", "across"):
        files = sorted((tmp_path / name).glob("*.safetensors"))
        assert len(files) > 1
        found = {key: tensor for file in files for key, tensor in load_file(file).items()}
        assert found.keys() == wanted.keys()
        assert all(found[key].tobytes() == wanted[key].tobytes() for key in wanted)
