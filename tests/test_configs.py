"""Every config in the tree builds, sweeps, and traces a full training step, without a single number being computed."""

import inspect
import pathlib

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.sharding import NamedSharding
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax import evaluators
from rewardjax.defaults import evaluation, training
from rewardjax.models import reward
from rewardjax.models.build import decoder_config
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import AXES, Layout
from rewardjax.training import losses, optim
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
    "configs/tiny.py": [":family=llama", ":family=qwen2", ":loss=focal"],
}
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
    accumulate, update = make_step(graph, losses.get(**config.loss), optimizer, config.batch.pairs)
    batch = abstract_batch(config.batch, layout)
    total = jax.eval_shape(accumulate, jax.eval_shape(zeros_like, params), params, batch)
    new_params, _, metrics = jax.eval_shape(
        update, params, jax.eval_shape(optimizer.init, params), total
    )
    assert jax.tree.map(jnp.shape, new_params) == jax.tree.map(jnp.shape, params)
    assert {"loss", "accuracy", "grad_norm"} <= metrics.keys()


def abstract_batch(batch, layout):
    T, P = batch.row_length, batch.pairs_per_row
    shapes = {
        "tokens": T,
        "positions": T,
        "see_from": T,
        "see_to": T,
        "score_at": 2 * P,
        "chosen": P,
        "rejected": P,
        "weight": P,
        "margin": P,
        "target": P,
        "tie": P,
    }
    dtype = lambda name: jnp.float32 if name in ("weight", "margin", "target", "tie") else jnp.int32
    sharding = NamedSharding(jax.sharding.get_mesh(), layout.row_BT)
    return {
        name: jax.ShapeDtypeStruct((8 * batch.rows, n), dtype(name), sharding=sharding)
        for name, n in shapes.items()
    }


@pytest.mark.parametrize("case", CASES)
def test_config_builds_and_traces_a_training_step(case, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = config_lib.load(case)
    config_lib.resolve(config)
    assert set(config.keys()) == set(training().keys()), (
        "a field that train.py does not read, or lacks"
    )
    with jax.set_mesh(jax.make_mesh((2, 4, 1), AXES)):
        trace_step(config)


@pytest.mark.parametrize("path", CONFIGS)
def test_sweeps_expand_to_legal_overrides(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    module = config_lib.load_module(path)
    for name in vars(module):
        if name == "sweep" or name.startswith("sweep_"):
            trials = list(getattr(module, name)())
            assert len(trials) > 1
            for trial in trials:
                config_lib.override(config_lib.load(path), trial)
    assert pathlib.Path(path).suffix == ".py"


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
