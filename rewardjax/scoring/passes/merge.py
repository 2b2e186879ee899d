"""One file of scores from the parts of a pass, as a pure function of what is in its folder."""

import json
import pathlib
import shutil
from typing import Any, NamedTuple

from rewardjax import fingerprint
from rewardjax.io import files, storage
from rewardjax.scoring import contract
from rewardjax.scoring.passes import parts, records, tables
from rewardjax.scoring.passes.plan import FILE, Plan, name_of
from rewardjax.scoring.passes.records import Damaged
from rewardjax.scoring.units import Account, total

# What a commit and a record say of their files.
DIGESTS = ("scores_sha", "quarantine_sha")


class Part(NamedTuple):
    """A unit's commit."""

    unit: int
    scores: pathlib.Path
    quarantine: pathlib.Path
    account: Account


def read_parts(folder: pathlib.Path) -> list[Part]:
    """The parts of a finished pass, in the order of the input.

    Raises:
        Damaged: for a unit that is missing, or whose files are not those that it committed, or do
            not account for each of its records.
    """
    plan = Plan(**records.read(folder / FILE, Plan._fields))
    undone = set(range(plan.units)) - parts.committed(folder)
    if undone:
        raise Damaged(
            f"{folder}: {len(undone)} of {plan.units} units are not done, the first is "
            f"{name_of(min(undone))}; run the command that scores again"
        )
    found = []
    for unit in range(plan.units):
        path = parts.commit_path(folder, unit)
        record = records.read(path, ("account", "scores", "quarantine", *DIGESTS))
        scores, quarantine = folder / record["scores"], folder / record["quarantine"]
        part = Part(unit, scores, quarantine, records.account_of(record, path))
        digests = {part.scores: record["scores_sha"], part.quarantine: record["quarantine_sha"]}
        for file, digest in digests.items():
            if not file.exists() or fingerprint.of_file(file) != digest:
                raise Damaged(
                    f"{file} is not what was written; remove {path} and run the command again"
                )
        size = min(plan.unit, plan.records - unit * plan.unit)
        if part.account.counts["records"] != size:
            raise Damaged(
                f"{path}: {part.account.counts['records']} records, where the input has "
                f"{size}; it was changed while it was read"
            )
        found.append(part)
    return found


def merge(folder: pathlib.Path, output: pathlib.Path) -> Account:
    """`output`, its quarantine, contract and record from a finished pass, whose folder is removed.

    Returns the account of the whole input. Several processes may merge the same pass at the same
    time: all write the same. Parts in a bucket are copied to the temporary folder of this machine.
    """
    with storage.copied(folder) as copy:
        try:
            account = _merge_copy(copy, output)
        except Damaged as error:
            raise Damaged(str(error).replace(str(copy), str(folder))) from None
    if storage.is_address(folder):
        storage.remove(folder)
    else:
        # Another worker may be removing it too.
        shutil.rmtree(folder, ignore_errors=True)
    return account


def _merge_copy(folder: pathlib.Path, output: pathlib.Path) -> Account:
    found = read_parts(folder)
    account = total([part.account for part in found])
    quarantine = quarantine_path(output)
    with files.replacing(quarantine, many_writers=True) as path, open(path, "wb") as file:
        for part in found:
            file.write(part.quarantine.read_bytes())
    # Before the scores appear, as is the record: no scores without their contract.
    with files.replacing(contract_path(output), many_writers=True) as path:
        shutil.copyfile(folder / contract.FILE, path)
    record = records.read(folder / FILE, Plan._fields)
    with files.replacing(output, many_writers=True) as path:
        tables.join([part.scores for part in found], output.suffix, path)
        record |= {"account": account._asdict(), "scores_sha": fingerprint.of_file(path)}
        record["quarantine_sha"] = fingerprint.of_file(quarantine)
        with files.replacing(record_path(output), many_writers=True) as record_part:
            record_part.write_text(json.dumps(record, indent=1) + "\n")
    return account


def contract_path(output: pathlib.Path) -> pathlib.Path:
    """Where the score contract of a file of scores is."""
    return output.with_name(output.name + ".contract.json")


def record_path(output: pathlib.Path) -> pathlib.Path:
    """Where the record of a file of scores is."""
    return output.with_name(output.name + ".record.json")


def quarantine_path(output: pathlib.Path) -> pathlib.Path:
    """Where the responses without a score, and why, are listed."""
    return output.with_name(output.name + ".quarantine.jsonl")


def beside(output: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """The files that stand beside a file of scores."""
    return quarantine_path(output), contract_path(output), record_path(output)


def verify(output: pathlib.Path) -> dict[str, Any]:
    """The record of a file of scores that is whole.

    Raises:
        Damaged: where it, or its quarantine, is not what was written.
    """
    path = record_path(output)
    if not path.exists():
        raise Damaged(f"{path} is not there: nothing says what {output} should hold")
    record = records.read(path, (*Plan._fields, "account", *DIGESTS))
    counts = records.account_of(record, path).counts
    quarantine = quarantine_path(output)
    for file, digest in zip((output, quarantine), DIGESTS, strict=True):
        if not file.exists() or fingerprint.of_file(file) != record[digest]:
            raise Damaged(f"{file} is not what was written; score again")
    rows, scored = tables.count(output), counts["scored"]
    if rows != scored:
        raise Damaged(f"{output}: {rows} rows, where {scored} were scored")
    return record
