"""What the attention benchmark reports, and what it is measured on."""

import json

import numpy as np

from benchmarks import attention as benchmark


def test_every_backend_of_the_platform_is_timed(capsys):
    benchmark.main(["--smoke"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    backends = found["short, 4 rows of 256"]
    assert backends.keys() == {"blocks", "dense"}
    for figures in backends.values():
        assert figures["both_ms"] > 0 and figures["forward_ms"] > 0


def test_only_keys_that_are_seen_count():
    (case,) = benchmark.SMOKE
    arrays, seen = benchmark.inputs(case)
    see_from_BT, see_to_BT = (np.asarray(array) for array in arrays[-2:])
    key = np.arange(case.row_length)
    sees_BTS = (see_from_BT[..., None] <= key) & (key <= see_to_BT[..., None])
    assert seen == sees_BTS.sum()
    causal = case.rows * case.row_length * (case.row_length + 1) / 2
    assert case.rows * case.row_length < seen < causal


def test_a_gpu_has_its_kernels_and_cudnn_and_no_dense_scores_of_long_rows():
    long, _, short = benchmark.ACCELERATOR
    assert benchmark.backends(long, "gpu").keys() == {"blocks", "pallas", "cudnn"}
    assert benchmark.backends(short, "gpu").keys() == {"blocks", "dense", "pallas", "cudnn"}
    assert benchmark.backends(short, "tpu").keys() == {"blocks", "dense", "splash"}
