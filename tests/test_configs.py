"""Every config in the tree builds, sweeps, and traces a full training step, without a single
number being computed.
"""

import inspect
import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from ml_collections import ConfigDict
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax import evaluators
from rewardjax.defaults import evaluation, training
from rewardjax.models import reward
from rewardjax.models.build import decoder_config
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import AXES, Layout
from rewardjax.training import losses, optim
from rewardjax.training.abstract import abstract_batch
from rewardjax.training.preflight import fields
from rewardjax.training.step import make_step, zeros_like

CONFIGS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.py"))
EVALUATION = [path for path in CONFIGS if path.startswith("configs/eval/")]
TRAINING = [path for path in CONFIGS if not path.startswith(("configs/eval/", "configs/curation/"))]
ARGUMENTS = {
    "configs/quickstart.py": [":tiny", ":labels=style:0.6,num=500"],
    "configs/gsm.py": [":tiny"],
    "configs/hh.py": [":tiny"],
    "configs/skywork_v2/release.py": [":recipe=development,model=llama3.2-3b,slice=v5p:2x4x4"],
    "configs/skywork_v2/qwen3_8b.py": [":recipe=development,slice=h200:8"],
    "configs/tiny.py": [":family=llama", ":family=qwen2", ":loss=focal", ":loss=plackett_luce"],
}
SWEEPS = [
    (path, function)
    for path in CONFIGS
    for function in re.findall(r"^def (sweep\w*)\(", (ROOT / path).read_text(), re.MULTILINE)
]
CASES = [path + arg for path in TRAINING for arg in ["", *ARGUMENTS.get(path, [])]]


def trace_step(config) -> None:
    """The step functions of `config` over abstract arrays, on a mesh of eight devices."""
    layout = Layout()
    graph, params = nnx.split(
        reward.abstract(decoder_config(**config.model), Compute(**config.compute), layout),
        nnx.Param,
    )
    optimizer = optim.make_optimizer(
        optim.make_schedule(total_steps=100, **config.schedule), params, **config.optimizer
    )
    loss = losses.get(**config.loss)
    accumulate, update = make_step(graph, loss, optimizer, config.batch.pairs)
    if config.batch.rows is None:
        # Left to the data, of which there are none here.
        config.batch.update(rows=8, row_length=1024, pairs_per_row=32)
    config.batch.rows *= 8  # a multiple of the row shards, whatever the config's own mesh
    batch = abstract_batch(config.batch, layout, loss.reads.unit)
    total = jax.eval_shape(accumulate, jax.eval_shape(zeros_like, params), params, batch)
    new_params, _, metrics = jax.eval_shape(
        update, params, jax.eval_shape(optimizer.init, params), total
    )
    assert jax.tree.map(jnp.shape, new_params) == jax.tree.map(jnp.shape, params)
    assert {"loss", "accuracy", "grad_norm"} <= metrics.keys()


def field_names(config, prefix=""):
    """Dotted names of all fields;

    what experiments name themselves, such as held-out sets, is one field.
    """
    names = set()
    for name, value in config.items():
        if isinstance(value, ConfigDict) and prefix + name not in ("evals", "benchmarks"):
            names |= field_names(value, f"{prefix}{name}.")
        else:
            names.add(prefix + name)
    return names


@pytest.mark.parametrize("case", CASES)
def test_no_config_has_a_mistake_that_training_would_refuse(case, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert not fields.check(config_lib.load(case)).sentences()


@pytest.mark.parametrize("case", CASES)
def test_config_builds_and_traces_a_training_step(case, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = config_lib.load(case)
    config_lib.resolve(config)
    assert field_names(config) == field_names(training())
    for held_out in config.evals.values():
        assert field_names(held_out) == field_names(training().data)
    with jax.set_mesh(jax.make_mesh((2, 4, 1), AXES)):
        trace_step(config)


@pytest.mark.parametrize("path, function", SWEEPS)
def test_sweeps_expand_to_legal_overrides(path, function, monkeypatch):
    monkeypatch.chdir(ROOT)
    trials = list(getattr(config_lib.load_module(path), function)())
    assert len(trials) > 1
    for trial in trials:
        config = config_lib.override(config_lib.load(path), trial)
        if path in TRAINING:
            assert not fields.check(config).sentences()


def test_the_sweeps_of_configs_are_seen():
    for name in ("sweep", "sweep_data", "sweep_loss", "sweep_rate_batch"):
        assert ("configs/quickstart.py", name) in SWEEPS
    assert ("configs/tiny.py", "sweep_lr") in SWEEPS


@pytest.mark.parametrize("path", EVALUATION)
def test_an_evaluation_config_builds_and_names_benchmarks_that_exist(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = config_lib.load(path)
    config_lib.resolve(config)
    assert set(config.keys()) == set(evaluation().keys()) and config.benchmarks
    for kwargs in config.benchmarks.values():
        inspect.signature(evaluators.load).bind(**kwargs)
        inspect.signature(evaluators.get(kwargs.benchmark).load).bind(
            **{k: v for k, v in kwargs.items() if k != "benchmark"}
        )
