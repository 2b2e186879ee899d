"""Parts of a pass: one commit per unit, and claims that end with their worker."""

import json
import subprocess
import sys
import time

import pytest

from rewardjax.command import owner
from rewardjax.io import files, storage
from rewardjax.scoring import contract
from rewardjax.scoring.passes import merge, parts, plan

ACCOUNT = {
    "counts": {"records": 2, "scored": 2, "quarantined": 0},
    "reasons": {},
    "first": "",
    "control_example": "",
    "unprinted": {},
    "late_columns": {},
}


@pytest.fixture
def place(anywhere):
    """A folder on a disk, and an address in a bucket: passes live in either."""
    return storage.path_of(anywhere)


def make_plan(**changes):
    fields = {"input": "in", "records": 4, "data": "d", "model": "m", "contract": "c"}
    return plan.Plan(**fields | {"settings": "s", "unit": 2} | changes)


def begin(folder, this=None):
    """A pass of two units unless another plan is given, with its contract."""
    plan.join(folder, this or make_plan())
    (folder / contract.FILE).write_text("{}")


def attempted(folder, unit, text):
    one = parts.attempt(folder, unit, scores=".jsonl", quarantine=".quarantine.jsonl")
    one.files["scores"].write_text(text)
    one.files["quarantine"].write_text("")
    return one


def test_of_two_attempts_at_a_unit_the_first_counts(place):
    folder = place / "parts"
    begin(folder, make_plan(records=2))
    first, second = attempted(folder, 0, "1\n2\n"), attempted(folder, 0, "3\n4\n")
    assert parts.commit(folder, first, ACCOUNT)
    assert not parts.commit(folder, second, ACCOUNT)
    assert parts.committed(folder) == {0}
    merge.merge(folder, place / "out.jsonl")
    assert (place / "out.jsonl").read_text() == "1\n2\n"
    assert not folder.exists()
    assert merge.verify(place / "out.jsonl")["account"]["counts"]["records"] == 2
    assert merge.contract_path(place / "out.jsonl").read_text() == "{}"


def test_parts_come_in_the_order_of_the_input(place):
    folder = place / "parts"
    begin(folder)
    for unit in (1, 0):
        parts.commit(folder, attempted(folder, unit, f"{unit}a\n{unit}b\n"), ACCOUNT)
    merge.merge(folder, place / "out.jsonl")
    assert (place / "out.jsonl").read_text().split() == ["0a", "0b", "1a", "1b"]


def test_another_pass_in_the_same_place_is_refused_by_what_differs(place):
    plan.join(place / "parts", make_plan())
    plan.join(place / "parts", make_plan())
    with pytest.raises(ValueError, match="differs in data, model .it scores in."):
        plan.join(place / "parts", make_plan(data="e", model="n"))


def test_a_claim_ends_with_its_block_or_its_process(place):
    with parts.claimed(place, 3) as mine:
        assert mine and parts.is_claimed(place, 3)
        with parts.claimed(place, 3) as again:
            assert not again
    assert not parts.is_claimed(place, 3)
    code = (
        "import os, sys; from rewardjax.io import storage; from rewardjax.scoring.passes import parts;"
        "claim = parts.claimed(storage.path_of(sys.argv[1]), 3); claim.__enter__(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(place)], check=True)
    assert (place / "00003.claim").exists() and not parts.is_claimed(place, 3)


def test_a_claim_of_another_host_ends_when_it_is_not_renewed(place, monkeypatch):
    other = owner.this_process()._replace(host="elsewhere", machine="another")
    files.create(place / "00001.claim", json.dumps(other._asdict()))
    assert parts.is_claimed(place, 1)
    later = time.time() + parts.CLAIM_SECONDS + 60
    monkeypatch.setattr(time, "time", lambda: later)
    assert not parts.is_claimed(place, 1)


@pytest.mark.parametrize(
    "damage, message",
    [
        (
            lambda folder: (folder / "00001.json").unlink(),
            "1 of 2 units are not done, the first is 00001",
        ),
        (lambda folder: next(folder.glob("00000-????????.jsonl")).unlink(), "not what was written"),
        (
            lambda folder: next(folder.glob("00001-????????.jsonl")).write_text("x\n"),
            "not what was written; remove .*00001.json",
        ),
    ],
)
def test_parts_that_are_not_what_was_written_are_not_merged(place, damage, message):
    folder = place / "parts"
    begin(folder)
    for unit in range(2):
        parts.commit(folder, attempted(folder, unit, f"{unit}a\n{unit}b\n"), ACCOUNT)
    damage(folder)
    with pytest.raises(merge.Damaged, match=message):
        merge.merge(folder, place / "out.jsonl")
    assert not (place / "out.jsonl").exists()


def test_a_unit_that_does_not_account_for_its_records_is_not_merged(place):
    folder = place / "parts"
    begin(folder, make_plan(records=3))
    for unit in range(2):
        parts.commit(folder, attempted(folder, unit, f"{unit}a\n{unit}b\n"), ACCOUNT)
    with pytest.raises(merge.Damaged, match="2 records, where the input has 1"):
        merge.merge(folder, place / "out.jsonl")


def test_changed_scores_are_noticed(place):
    folder, output = place / "parts", place / "out.jsonl"
    begin(folder, make_plan(records=2))
    parts.commit(folder, attempted(folder, 0, "1\n2\n"), ACCOUNT)
    merge.merge(folder, output)
    output.write_text("1\n3\n")
    with pytest.raises(merge.Damaged, match="out.jsonl is not what was written"):
        merge.verify(output)


BROKEN = ["", "{", "[]", "null", "{}", "[" * 100_000, '{"account": 5, "scores": "x"}', "\0"]


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("name", ["plan.json", "00001.json"])
def test_a_damaged_file_of_a_pass_is_named(tmp_path, name, text):
    folder = tmp_path / "parts"
    begin(folder)
    for unit in range(2):
        parts.commit(folder, attempted(folder, unit, f"{unit}a\n{unit}b\n"), ACCOUNT)
    (folder / name).write_text(text)
    with pytest.raises(merge.Damaged, match=f"{name} is not what was written; remove it"):
        merge.merge(folder, tmp_path / "out.jsonl")
    if name == "plan.json":
        with pytest.raises(merge.Damaged, match=name):
            plan.join(folder, make_plan())


@pytest.mark.parametrize("text", BROKEN)
def test_a_damaged_record_of_scores_vouches_for_nothing(tmp_path, text):
    folder, output = tmp_path / "parts", tmp_path / "out.jsonl"
    begin(folder, make_plan(records=2))
    parts.commit(folder, attempted(folder, 0, "1\n2\n"), ACCOUNT)
    merge.merge(folder, output)
    record = json.loads(merge.record_path(output).read_text())
    merge.record_path(output).write_text(text)
    with pytest.raises(merge.Damaged, match="out.jsonl.record.json is not what was written"):
        merge.verify(output)
    merge.record_path(output).write_text(json.dumps(record | {"account": []}))
    with pytest.raises(merge.Damaged, match="holds no account"):
        merge.verify(output)


def test_a_damaged_claim_is_over_when_nobody_renews_it(tmp_path, monkeypatch):
    folder = tmp_path / "parts"
    begin(folder)
    (folder / "00000.claim").write_text("{")
    assert parts.is_claimed(folder, 0)
    monkeypatch.setattr(parts, "CLAIM_SECONDS", 0.0)
    assert not parts.is_claimed(folder, 0)
    with parts.claimed(folder, 0) as is_mine:
        assert is_mine


def test_a_claim_in_a_bucket_is_renewed(bucket_folder, monkeypatch):
    monkeypatch.setattr(parts, "CLAIM_SECONDS", 0.6)
    folder = storage.path_of(bucket_folder)
    with parts.claimed(folder, 1):
        first = storage.version(folder / "00001.claim")
        end = time.monotonic() + 60
        while storage.version(folder / "00001.claim") == first:
            assert time.monotonic() < end, "nobody renews the claim"
            time.sleep(0.05)


def test_damaged_parts_in_a_bucket_are_named_by_their_address(bucket_folder):
    folder = storage.path_of(bucket_folder) / "parts"
    begin(folder)
    parts.commit(folder, attempted(folder, 0, "1\n2\n"), ACCOUNT)
    with pytest.raises(merge.Damaged, match=rf"^{folder}: 1 of 2 units are not done"):
        merge.merge(folder, folder.parent / "out.jsonl")
