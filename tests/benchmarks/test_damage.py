"""Damaged checkpoints and caches, and a full disk: nothing wrong is used and nothing is lost."""

from benchmarks import damage


def test_a_flip_over_bytes_and_over_files_hits_small_files_too(tmp_path):
    (tmp_path / "small").write_bytes(b"a")
    (tmp_path / "large").write_bytes(bytes(10_000))
    names = [one.name.split()[1] for one in damage.flips(tmp_path, 20, seed=0)]
    assert "small" in names and "large" in names
    for one in damage.flips(tmp_path, 1, seed=0):
        before = [path.read_bytes() for path in damage.files_below(tmp_path)]
        one.apply(tmp_path)
        after = [path.read_bytes() for path in damage.files_below(tmp_path)]
        flipped = 0
        for old, new in zip(before, after, strict=True):
            flipped += sum((a ^ b).bit_count() for a, b in zip(old, new, strict=True))
        assert flipped == 1


def test_nothing_wrong_is_used_and_nothing_is_lost():
    result = damage.main(["--smoke"])
    faults = ("wrong_loads", "undetected", "lost_last_verified", "not_saved", "failures")
    assert not any(result[fault] for fault in faults)
    assert all(result["cases"].values())
