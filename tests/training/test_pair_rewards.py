"""The rewards that a run leaves of its held-out pairs are those that its figures are of."""

import numpy as np

from rewardjax.training import pair_rewards


def test_a_run_leaves_the_rewards_behind_its_accuracy(tiny_run):
    workdir, summary, _ = tiny_run
    names = {path.stem for path in (workdir / pair_rewards.FOLDER).iterdir()}
    assert names == {key.partition("/")[0] for key in summary if key.endswith("/accuracy")}
    for name in names:
        rewards = pair_rewards.read(workdir, name)
        assert np.nanmean(rewards.correct()) == summary[f"{name}/accuracy"]
        assert np.sum(~np.isnan(rewards.correct())) == summary[f"{name}/pairs"]


def test_ties_and_labels_that_prefer_the_rejected_response():
    origin = pair_rewards.Origin("data", "texts", True)
    rewards = pair_rewards.PairRewards(
        origin,
        np.zeros((5, 3), np.int64),
        target=np.array([1, 0, 0.5, 1, 1]),
        tie=np.array([0, 0, 0, 1, 0]),
        rewards=np.array([[2.0, 1], [2, 1], [2, 1], [2, 1], [1, 1]]),
    )
    np.testing.assert_array_equal(rewards.correct(), [1, 0, np.nan, np.nan, 0])


def test_a_name_that_no_file_takes(tmp_path):
    assert pair_rewards.file_of(tmp_path, "a/b").parent == tmp_path / pair_rewards.FOLDER
    assert pair_rewards.read(tmp_path, "a/b") is None
