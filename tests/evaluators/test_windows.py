"""Windows that several evaluations share: each is scored once, whoever is killed."""

import json
import os
import threading
import time

import numpy as np
import pytest

from rewardjax.command import owner
from rewardjax.evaluators import windows
from rewardjax.scoring.passes import parts, work


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(work, "LOOKS_EVERY", 0.01)


def numbers(window):
    return np.arange(3.0) + window


def test_two_evaluations_share_the_windows_and_have_all_rewards(tmp_path):
    scored, results = [], {}

    def score(window):
        scored.append(window)
        time.sleep(0.02)
        return numbers(window)

    def evaluate(name):
        results[name] = dict(windows.scored(tmp_path / "parts", 12, score))

    threads = [threading.Thread(target=evaluate, args=[name]) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(scored) == list(range(12))
    for name in "ab":
        assert sorted(results[name]) == list(range(12))
        for window, rewards in results[name].items():
            np.testing.assert_array_equal(rewards, numbers(window))


def test_a_window_that_another_is_at_comes_last(tmp_path):
    parts_folder, order = tmp_path / "parts", []
    parts_folder.mkdir()
    claim = parts.claimed(parts_folder, 0)
    assert claim.__enter__()

    def score(window):
        if window == 2:
            claim.__exit__(None, None, None)
        return numbers(window)

    for window, _ in windows.scored(parts_folder, 3, score):
        order.append(window)
    assert order == [1, 2, 0]


def test_the_window_of_a_killed_evaluation_is_scored_anew(tmp_path):
    gone = owner.this_process()._replace(process=2**22 + os.getpid())
    (tmp_path / "00000.claim").write_text(json.dumps(gone._asdict()))
    (tmp_path / "00000-dead.npy").write_bytes(b"half a file")
    assert [window for window, _ in windows.scored(tmp_path, 1, numbers)] == [0]


def test_of_two_attempts_the_committed_one_counts(tmp_path):
    def beaten(window):
        other = parts.attempt(tmp_path, window, rewards=".npy")
        np.save(other.files["rewards"], numbers(window) + 100)
        parts.commit(tmp_path, other, {})
        return numbers(window)

    ((_, rewards),) = windows.scored(tmp_path, 1, beaten)
    np.testing.assert_array_equal(rewards, numbers(0) + 100)
