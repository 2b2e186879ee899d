"""Training that starts from the checkpoint of another run."""

import json
import pathlib
import shutil

import jax
import pytest
from flax import nnx
from tiny import tiny_config

from rewardjax import assets
from rewardjax.defaults import WORLD
from rewardjax.models import build
from rewardjax.models.checkpoints import checkpoints, tree_fingerprint
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout, make_mesh
from rewardjax.training import loop


def start_from(folder, cache, **overrides):
    """A config with another schedule, whose model and tokenizer are those of `folder`."""
    config = tiny_config(cache)
    config.tokenizer.folder = None
    config.model.update(folder=str(folder), variant=None)
    config.model.changes.update(vocab_size=None, width=None, mlp_width=None)
    config.update(steps=2, **overrides)
    config.schedule.peak = 3e-3
    return config


def fingerprints(workdir) -> dict:
    """Of the newest checkpoint: equal if and only if every bit is."""
    with checkpoints.reading(pathlib.Path(workdir) / "checkpoints") as saved:
        return saved.newest_meta()["fingerprints"]


def test_the_parameters_at_step_0_are_those_of_the_newest_checkpoint(tiny_run):
    with jax.set_mesh(make_mesh()):
        model = build.build_model(Compute("float32"), Layout(), 0, folder=str(tiny_run[0]))
        params = nnx.state(model, nnx.Param)
        assert tree_fingerprint.of_tree(params) == fingerprints(tiny_run[0])["params"]


def test_a_run_from_a_run_is_one_from_its_export_with_a_fresh_optimizer(
    tiny_run, exported, tmp_path
):
    workdir, _, cache = tiny_run
    before = fingerprints(workdir)
    for name, folder in {"run": workdir, "export": exported}.items():
        loop.run(start_from(folder, cache), tmp_path / name)
    # An export has no optimizer state, so that any of the run's would make a difference.
    assert fingerprints(tmp_path / "run") == fingerprints(tmp_path / "export")
    assert fingerprints(workdir) == before
    # A run of a run can be started from too, and has the decoder of the first.
    decoder = build.decoder_config(folder=str(tmp_path / "run"))
    assert decoder == build.decoder_config(folder=str(exported))


def _nothing(folder):
    folder.mkdir()


def _not_yet_saved(folder):
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copytree(assets.resolve(WORLD), folder / "tokenizer")
    model = {"variant": "tiny-qwen3", "changes": {"vocab_size": 1024}}
    (folder / "config.json").write_text(json.dumps({"model": model}))


def _of_another_maker(folder):
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3"}))


@pytest.mark.parametrize(
    "make, message",
    [
        (_nothing, "the workdir of a run has checkpoints, and this folder has no file"),
        (_not_yet_saved, "checkpoints has no finished checkpoint"),
        (_of_another_maker, "is not the config of a run"),
    ],
)
def test_a_folder_that_holds_no_weights_is_one_sentence(make, message, tmp_path):
    make(tmp_path / "start")
    config = start_from(tmp_path / "start", tmp_path / "cache")
    [sentence] = loop.mistakes(config, tmp_path / "run").sentences()
    assert message in sentence


def test_a_run_cannot_start_from_itself(tiny_run):
    workdir, _, cache = tiny_run
    sentences = loop.mistakes(start_from(workdir, cache), workdir).sentences()
    assert sentences == [
        f"model.folder: {workdir} is this run's own --workdir; name another --workdir"
    ]
