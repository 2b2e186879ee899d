"""The speed benchmarks at a tiny size:

that both sides compute the same, and what is reported. Times mean nothing here.
"""

import functools

import numpy as np
import pytest

pytest.importorskip("torch", reason="the peer is a torch model")
pytest.importorskip("transformers")

import jax

from benchmarks import command, lengths, ours, peer, scoring, step_memory, train_step
from benchmarks.sizes import SMOKE
from rewardjax.data import pack
from rewardjax.data.pack import TokenGroup
from rewardjax.data.plan import step_pairs
from rewardjax.models import flops as flops_lib
from rewardjax.parallel.mesh import AXES


@pytest.fixture(scope="module")
def mesh():
    with jax.set_mesh(jax.make_mesh((1, 1, 1), AXES, devices=jax.devices()[:1])):
        yield


def test_a_training_step_is_the_peers(mesh, tmp_path, monkeypatch):
    # Eight processes that import JAX and torch each: `test_each_side_is_measured_alone` has some.
    peaks = {"ours": 100.0, "peer": 150.0, "trl_default": 90.0}
    sides = {side: {"peak_mb": peak} for side, peak in peaks.items()}
    monkeypatch.setattr(step_memory, "measure", lambda *arguments: sides)
    found = train_step.compare(SMOKE, "cpu", tmp_path / "no-real-text", tmp_path)
    assert found["max_reward_diff"] <= 2e-6
    assert found["max_grad_rel_diff"] <= 1e-5
    expected = {
        "ratio_short",
        "ratio_long",
        "ratio_trl_default",
        "ratio_both_checkpoint",
        "ratio_sorted",
    }
    assert {name for name in found if name.startswith("ratio")} == expected
    assert found["memory_ratio_short"] == found["memory_ratio_long"] == 1.5
    assert found["memory_ratio_trl_default_long"] == 0.9
    assert found["cases"].keys() == {"short", "long"}
    assert found["cases"]["short"]["layout"]["peer_slots_per_token"] > 1
    assert all(side["step_s"] > 0 for side in found["cases"]["long"].values() if "step_s" in side)


@pytest.mark.slow
def test_each_side_is_measured_alone_and_keeps_its_weights_and_moments(mesh, tmp_path):
    ours.init(SMOKE, tmp_path / "hf")
    folder = tmp_path / "pairs"
    lengths.random_pairs(
        folder, "short", 50 * SMOKE.pairs, SMOKE.max_length, SMOKE.model.vocab_size
    )
    by_side = step_memory.measure(SMOKE, tmp_path / "hf", folder)
    weights_mb = (tmp_path / "hf" / "model.safetensors").stat().st_size / 2**20
    assert by_side.keys() == set(step_memory.SIDES)
    for side in by_side.values():
        assert 4 * weights_mb < side["peak_mb"] <= side["with_first_mb"] + 50


def test_scores_are_the_peers(mesh, tmp_path):
    found = scoring.compare(SMOKE, "cpu", tmp_path / "no-real-text", tmp_path)
    assert found["max_reward_diff"] <= 2e-6
    assert {
        "ratio",
        "ratio_long",
        "ratio_best_of_n",
        "ratio_sorted",
        "ratio_best_of_n_sorted",
    } <= found.keys()
    assert found["cases"].keys() == {"short", "long", "best_of_n"}


def test_the_peer_pads_to_the_longest_of_a_batch_chosen_first():
    pairs = [
        TokenGroup(np.array([5, 6]), [np.array([7]), np.array([8, 9])]),
        TokenGroup(np.array([4]), [np.array([3]), np.array([2])]),
    ]
    batch = peer.collate(pairs)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 0], [4, 3, 0, 0], [5, 6, 8, 9], [4, 2, 0, 0]]
    assert batch["attention_mask"].tolist() == [
        [1, 1, 1, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 1],
        [1, 1, 0, 0],
    ]


def test_the_peer_refuses_a_step_that_its_batches_do_not_divide():
    with pytest.raises(ValueError, match="3 pairs are not a whole number of batches of 2"):
        peer.accumulate(None, [None] * 3, 2, "float32")  # pyright: ignore[reportArgumentType]


def test_the_peer_is_trl(mesh, tmp_path):
    pytest.importorskip("trl", reason="pip install 'rewardjax[peer]'")
    from benchmarks import trl_step

    found = trl_step.compare(SMOKE, tmp_path)
    assert found["same_batches"] and found["steps"] == SMOKE.steps + 1
    assert found["max_loss_diff"] == 0 and found["max_weight_diff"] == 0


def test_a_gpu_is_asked_for_where_there_is_none(monkeypatch):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with pytest.raises(SystemExit, match="JAX runs on cpu"):
        command.run("train_step", "", train_step.compare, ["--platform=gpu"])


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("cpu", "make a, make b, a, b, a, b"), ("gpu", "make a, a, a, make b, b, b")],
)
def test_sides_take_turns_but_on_a_gpu_one_is_gone_before_the_next(
    mesh, tmp_path, platform, expected
):
    pairs = lengths.random_pairs(tmp_path / "pairs", "short", 4, 512, 100)
    events = []

    def make(name):
        events.append(f"make {name}")

        def step(k):
            events.append(name)
            return 1.0 + k, np.arange(4)

        return step

    sides = {name: functools.partial(make, name) for name in ("a", "b")}
    found = train_step.measure(SMOKE, pairs, sides, "case", platform)
    assert ", ".join(events) == expected
    assert found["a"]["step_s"] == found["b"]["step_s"] == 2.0  # the first step does not count


def test_mfu_is_useful_flops_over_time_and_peak(mesh, tmp_path, monkeypatch):
    pairs = lengths.random_pairs(
        tmp_path / "pairs", "short", 16, SMOKE.max_length, SMOKE.model.vocab_size
    )
    measured = pairs.lengths[step_pairs(16, SMOKE.pairs, ours.SEED, 1)]
    tokens, seconds = int(measured.sum()), 0.5
    monkeypatch.setattr(flops_lib, "peak_flops", lambda kind: 1e9)
    found = train_step.on_gpu(SMOKE, pairs, {"s_per_1k_tokens": 1e3 * seconds / tokens})
    assert found["pairs_per_s"] == pytest.approx(SMOKE.pairs / seconds, abs=0.01)
    flops = flops_lib.train_flops(SMOKE.model, tokens, pack.attention_entries(measured))
    assert found["mfu"] == pytest.approx(flops / seconds / 1e9, abs=1e-4)


def test_useful_flops_count_a_shared_prompt_once():
    group = TokenGroup(np.zeros(3), [np.zeros(2), np.zeros(1)])
    assert scoring.needed_tokens([group]) == 6
    entries = (
        6 + (3 + 2 * 3) + (1 + 1 * 3)
    )  # triangles of prompt and responses, and each response against the prompt
    alone = scoring.forward_flops(SMOKE, [group]) - scoring.forward_flops(SMOKE, [])
    assert alone == 2 * flops_lib.layer_params(SMOKE.model) * 6 + 4 * 2 * 4 * 16 * entries


def test_sorted_steps_hold_neighbors_in_length(tmp_path):
    pairs = lengths.random_pairs(tmp_path / "pairs", "short", 40, 512, 100)
    longest = pairs.lengths[:, 0] + pairs.lengths[:, 1:].max(1)
    steps = train_step._sorted_steps(SMOKE, pairs)
    assert steps.shape == (SMOKE.steps + 1, SMOKE.pairs)
    for step in steps:
        low, high = longest[step].min(), longest[step].max()
        assert np.sum((longest > low) & (longest < high)) <= SMOKE.pairs - 2


def test_our_gradients_have_the_peers_names(mesh, tmp_path):
    params = ours.init(SMOKE, tmp_path / "hf")
    names = {name for name, _ in peer.load(tmp_path / "hf", "cpu").named_parameters()}
    pairs = lengths.random_pairs(
        tmp_path / "pairs", "short", 8, SMOKE.max_length, SMOKE.model.vocab_size
    )
    assert ours.gradients(SMOKE, params, pairs, tmp_path / "gradients").keys() == names
