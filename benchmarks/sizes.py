"""What the speed benchmarks measure, by platform:

a model, how it is computed, and the rows and batches it reads.
"""

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

from rewardjax.models import variants
from rewardjax.models.config import DecoderConfig


@dataclasses.dataclass(frozen=True)
class Size:
    """One measurement.

    `rows` is per device; `peer_batch` is the peer's padded batch in pairs, `default_batch` that of
    its defaults.
    """

    model: DecoderConfig
    dtype: str
    remat: str  # ours; the peer has checkpointing on or off
    pairs: int  # of an optimizer step
    max_length: int
    row_length: int
    rows: int
    peer_batch: int
    default_batch: int  # TRL: per_device_train_batch_size = 8
    steps: int  # measured, after one to warm up
    best_of: int  # responses of a prompt, where the best of many is picked
    prompts: int  # of such groups
    best_of_length: int  # tokens of one of its conversations

    @property
    def pairs_per_row(self) -> int:
        return self.row_length // 128


_QWEN3 = variants.get("qwen3-0.6b")
_SMALL = dataclasses.replace(
    _QWEN3,
    vocab_size=8192,
    width=256,
    mlp_width=768,
    layers=4,
    heads=8,
    kv_heads=4,
    head_dim=32,
    max_positions=4096,
)


SIZES = {
    "cpu": {
        "small": Size(
            _SMALL,
            dtype="float32",
            remat="attn_out",  # on a CPU as fast as "none": what is not saved need not be read back
            pairs=16,
            max_length=1024,
            row_length=2048,
            rows=1,
            peer_batch=16,
            default_batch=8,
            steps=5,
            best_of=32,
            prompts=8,
            best_of_length=4096,
        )
    },
    # What fits a GPU of 80 GB: without checkpointing the peer keeps 2.4 MB of each padded token.
    "gpu": {
        "qwen3-0.6b": Size(
            _QWEN3,
            dtype="bfloat16",
            remat="gate_up",
            pairs=64,
            max_length=2048,
            row_length=8192,
            rows=2,
            peer_batch=4,
            default_batch=8,
            steps=4,
            best_of=32,
            prompts=8,
            best_of_length=8192,
        )
    },
}
SMOKE = Size(
    variants.get("tiny-qwen3"),
    dtype="float32",
    remat="none",
    pairs=4,
    max_length=512,  # long enough for some of the long prompts
    row_length=1024,
    rows=1,
    peer_batch=4,
    default_batch=2,
    steps=1,
    best_of=4,
    prompts=2,
    best_of_length=4096,
)


def pin() -> None:
    """Keeps this process on one core.

    Call it before JAX or torch start their threads: they start as many as there are cores to run
    on.
    """
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def cost(work: Callable[[], Any], platform: str) -> float:
    """CPU seconds of this process, or on a GPU wall seconds, that `work` takes;

    it returns when all is done.
    """
    clock = time.process_time if platform == "cpu" else time.perf_counter
    start = clock()
    work()
    return clock() - start
