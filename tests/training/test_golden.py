"""The numbers of the first three steps of configs/tiny.py, as they were when somebody last looked
at them.

Every other test compares the code with itself or with a definition. This one notices a change that
all of them agree on, such as another order of the pairs or another initialization.
"""

import json
import os
import pathlib

import numpy as np

from rewardjax.training.metrics import read_metrics

FILE = pathlib.Path(__file__).with_name("golden_steps.json")
FIGURES = ("loss", "accuracy", "margin", "grad_norm", "lr")
UPDATE = "UPDATE_GOLDEN=1 python -m pytest tests/training/test_golden.py"


def test_the_first_steps_have_their_golden_numbers(tiny_run):
    # Row 0 is the evaluation before the first step.
    first_steps = read_metrics(tiny_run[0])[1:4]
    measured = [{name: row[name] for name in FIGURES} for row in first_steps]
    if os.environ.get("UPDATE_GOLDEN"):
        FILE.write_text(json.dumps(measured, indent=2) + "\n")
    golden = json.loads(FILE.read_text())
    for step, (now, before) in enumerate(zip(measured, golden, strict=True), start=1):
        for name in FIGURES:
            # Five digits: another version of JAX or another number of threads sums in another
            # order.
            assert np.isclose(now[name], before[name], rtol=2e-5, atol=1e-7), (
                f"step {step}: {name} was {before[name]:.7g} and is {now[name]:.7g}. If the change was "
                f"meant to alter what a step computes (data order, loss, model, initialization, "
                f"optimizer), say so in CHANGELOG.md and update the file: {UPDATE}"
            )
