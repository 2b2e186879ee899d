"""Parts of a pass: one commit per unit, and claims that end with their worker."""

import json
import os
import subprocess
import sys

import pytest

from rewardjax import files, owner
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


def test_of_two_attempts_at_a_unit_the_first_counts(tmp_path):
    folder = tmp_path / "parts"
    begin(folder, make_plan(records=2))
    first, second = attempted(folder, 0, "1\n2\n"), attempted(folder, 0, "3\n4\n")
    assert parts.commit(folder, first, ACCOUNT)
    assert not parts.commit(folder, second, ACCOUNT)
    assert parts.committed(folder) == {0}
    merge.merge(folder, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "1\n2\n"
    assert not folder.exists()
    assert merge.verify(tmp_path / "out.jsonl")["account"]["counts"]["records"] == 2
    assert merge.contract_path(tmp_path / "out.jsonl").read_text() == "{}"


def test_parts_come_in_the_order_of_the_input(tmp_path):
    folder = tmp_path / "parts"
    begin(folder)
    for unit in (1, 0):
        parts.commit(folder, attempted(folder, unit, f"{unit}a\n{unit}b\n"), ACCOUNT)
    merge.merge(folder, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text().split() == ["0a", "0b", "1a", "1b"]


def test_another_pass_in_the_same_place_is_refused_by_what_differs(tmp_path):
    plan.join(tmp_path / "parts", make_plan())
    plan.join(tmp_path / "parts", make_plan())
    with pytest.raises(ValueError, match="differs in data, model .it scores in."):
        plan.join(tmp_path / "parts", make_plan(data="e", model="n"))


def test_a_claim_ends_with_its_block_or_its_process(tmp_path):
    with parts.claimed(tmp_path, 3) as mine:
        assert mine and parts.is_claimed(tmp_path, 3)
        with parts.claimed(tmp_path, 3) as again:
            assert not again
    assert not parts.is_claimed(tmp_path, 3)
    code = (
        "import os, pathlib, sys; from rewardjax.scoring.passes import parts;"
        "claim = parts.claimed(pathlib.Path(sys.argv[1]), 3); claim.__enter__(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / "00003.claim").exists() and not parts.is_claimed(tmp_path, 3)


def test_a_claim_of_another_host_ends_when_it_is_not_renewed(tmp_path, monkeypatch):
    other = owner.this_process()._replace(host="elsewhere", machine="another")
    files.create(tmp_path / "00001.claim", json.dumps(other._asdict()))
    assert parts.is_claimed(tmp_path, 1)
    os.utime(tmp_path / "00001.claim", (0, 0))
    assert not parts.is_claimed(tmp_path, 1)


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
def test_parts_that_are_not_what_was_written_are_not_merged(tmp_path, damage, message):
    folder = tmp_path / "parts"
    begin(folder)
    for unit in range(2):
        parts.commit(folder, attempted(folder, unit, f"{unit}a\n{unit}b\n"), ACCOUNT)
    damage(folder)
    with pytest.raises(merge.Damaged, match=message):
        merge.merge(folder, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_unit_that_does_not_account_for_its_records_is_not_merged(tmp_path):
    folder = tmp_path / "parts"
    begin(folder, make_plan(records=3))
    for unit in range(2):
        parts.commit(folder, attempted(folder, unit, f"{unit}a\n{unit}b\n"), ACCOUNT)
    with pytest.raises(merge.Damaged, match="2 records, where the input has 1"):
        merge.merge(folder, tmp_path / "out.jsonl")


def test_changed_scores_are_noticed(tmp_path):
    folder, output = tmp_path / "parts", tmp_path / "out.jsonl"
    begin(folder, make_plan(records=2))
    parts.commit(folder, attempted(folder, 0, "1\n2\n"), ACCOUNT)
    merge.merge(folder, output)
    output.write_text("1\n3\n")
    with pytest.raises(merge.Damaged, match="out.jsonl is not what was written"):
        merge.verify(output)
