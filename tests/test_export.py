"""Export:

a folder that others load, with the same weights, bit for bit, and a contract that says what its
scores depend on.
"""

import os

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from rewardjax.command import errors
from rewardjax.export import export
from rewardjax.models import hf
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout, make_mesh
from rewardjax.scoring import contract
from rewardjax.scoring import model as scorer


def test_weights_survive_bit_for_bit(tiny_run, exported, tmp_path):
    loaded = scorer.load(tiny_run[0])
    with jax.set_mesh(make_mesh(fsdp=8, data=1)):
        model = hf.load(exported, Compute(dtype="float32"), Layout())
        _, params = nnx.split(model, nnx.Param)
        jax.tree.map(
            np.testing.assert_array_equal, jax.device_get(params), jax.device_get(loaded.params)
        )
        hf.save(
            model,
            tmp_path,
            dtype="float32",
            pad_token_id=loaded.tokenizer.pad_id,
            eos_token_id=loaded.tokenizer.eos_id,
        )
    first, second = (
        load_file(exported / "model.safetensors"),
        load_file(tmp_path / "model.safetensors"),
    )
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name].view(np.uint32), second[name].view(np.uint32))


def test_bfloat16_weights_get_golden_scores_of_their_own(tiny_run, exported, tmp_path):
    rounded = export(tiny_run[0], tmp_path / "hf", dtype="bfloat16")
    exact = contract.load(exported)
    assert rounded.weights_dtype == "bfloat16" and rounded.golden != exact.golden
    rounded_scores, exact_scores = (
        [golden.score for golden in saved.golden] for saved in (rounded, exact)
    )
    np.testing.assert_allclose(rounded_scores, exact_scores, atol=contract.TOLERANCE["bfloat16"])
    assert scorer.load(tmp_path / "hf").contract == rounded  # and loading re-checks them


def test_an_existing_folder_is_not_overwritten(tiny_run, exported):
    with pytest.raises(FileExistsError, match="exists"):
        export(tiny_run[0], exported)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_every_file_of_an_export_follows_the_umask(tiny_run, tmp_path, umask):
    """Weights too: a server under another user of the group must be able to read them."""
    before = os.umask(umask)
    try:
        export(tiny_run[0], tmp_path / "hf")
    finally:
        os.umask(before)
    files = list((tmp_path / "hf").iterdir())
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in files}
    assert set(modes.values()) == {oct(0o666 & ~umask)}, modes
    assert (tmp_path / "hf").stat().st_mode & 0o777 == 0o777 & ~umask


def test_all_that_is_wrong_is_told_before_the_model_is_loaded(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(scorer, "load", None)
    (tmp_path / "file").touch()
    with pytest.raises(errors.Refusal) as refused:
        export(tiny_run[0], tmp_path / "file" / "hf", step=5)
    folder, step = refused.value.complaints
    assert "is a file" in folder and "checkpoints of the steps" in step


@pytest.mark.parametrize(
    "folder, step, message",
    [
        ("nope", None, "nope: no such folder"),
        ("", None, "no config.json|config.json"),
        ("hf", 3, "is not the workdir of a run"),
    ],
)
def test_a_model_that_is_not_there_is_told(folder, step, message, exported, tmp_path):
    place = tmp_path / folder
    if folder == "hf":
        place = exported
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        scorer.refuse_missing(place, step)
