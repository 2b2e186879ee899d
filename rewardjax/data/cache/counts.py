"""Every record and every pair of a source, by what became of it.

A shard of a token cache has the counts of its records, and the cache's manifest their sum, so that
the account is the same whoever tokenized which part.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rewardjax.data import formats
from rewardjax.data.accounting import FileAccount
from rewardjax.data.groups import BadRecord
from rewardjax.data.tokenize import Outcome

EXAMPLES = 20  # dropped records the manifest shows per reason
RECORDS = ("in", "kept", "outside_part", "without_pairs")
PAIRS = ("in", "kept", "sampled_out")


class Counts:
    """Records by file, and records, pairs and tokens of all files together."""

    def __init__(self, readings: Sequence[formats.Reading]):
        self.files = [
            FileAccount(reading.file, reading.sentence(), list(reading.unused))
            for reading in readings
        ]
        self.records: collections.Counter[str] = collections.Counter()
        self.pairs: collections.Counter[str] = collections.Counter()
        self.tokens: collections.Counter[str] = collections.Counter()
        self.dropped: dict[str, dict[str, Any]] = {}
        self.neutralized = 0

    def add(self, number: int, outcome: Outcome) -> None:
        """Book what became of record `number`."""
        self.neutralized += outcome.neutralized
        self.records["in"] += 1
        file = self.files[outcome.file]
        file.records += 1
        for field in outcome.unprinted:
            file.unprinted[field] = file.unprinted.get(field, 0) + 1
        file.shortened += outcome.was_shortened
        for name in outcome.late_columns:
            file.late_columns.setdefault(name, number)
        if outcome.neutralized:
            file.control_records += 1
            file.control_example = file.control_example or outcome.control_example
        if outcome.bad_record:
            self._drop(outcome.bad_record, number, "records")
            file.drop(outcome.bad_record.reason, outcome.bad_record.detail)
        elif outcome.outside_part:
            self.records["outside_part"] += 1
            file.outside_part += 1
        elif outcome.encoded:
            self.records["kept"] += 1
            file.kept += 1
        elif not outcome.bad_pairs:
            # No label tells its responses apart: all of them right, or only one of them.
            self.records["without_pairs"] += 1
            file.without_pairs += 1
        for bad in outcome.bad_pairs:
            self._drop(bad, number, "pairs")
        # Where nothing remains of a record, its first pair's reason stands for it.
        if outcome.bad_pairs and not outcome.encoded:
            first = outcome.bad_pairs[0]
            self._entry(first.reason)["records"] += 1
            file.drop(first.reason, first.detail)
        self.pairs["in"] += len(outcome.pairs) + len(outcome.bad_pairs) + outcome.sampled_out
        self.pairs["kept"] += len(outcome.pairs)
        self.pairs["sampled_out"] += outcome.sampled_out
        for _, (shared, chosen, rejected) in outcome.pairs:
            self.tokens["shared"] += shared + chosen + rejected
            self.tokens["unshared"] += 2 * shared + chosen + rejected

    def add_report(self, report: Mapping[str, Any]) -> None:
        """Add the counts of records that come behind those counted here."""
        self.records.update({name: report["records"][name] for name in RECORDS})
        self.pairs.update({name: report["pairs"][name] for name in PAIRS})
        self.tokens.update(report["tokens"])
        self.neutralized += report["neutralized"]
        for reason, other in report["dropped"].items():
            entry = self._entry(reason)
            entry["records"] += other["records"]
            entry["pairs"] += other["pairs"]
            entry["examples"] = [*entry["examples"], *other["examples"]][:EXAMPLES]
        for place, file in report["files"].items():
            self.files[int(place)].add(FileAccount(**file))

    def report(self) -> dict[str, Any]:
        """The counts as JSON. Raises AssertionError where something is not accounted for."""
        records = {name: self.records[name] for name in RECORDS}
        pairs = {name: self.pairs[name] for name in PAIRS}
        for counts, unit in ((records, "records"), (pairs, "pairs")):
            counts["dropped"] = sum(entry[unit] for entry in self.dropped.values())
            out = sum(counts.values()) - counts["in"]
            # A promise of the manifest, checked on every build and not only in tests.
            assert counts["in"] == out, f"{unit} do not add up: {counts}"
        return {
            "records": records,
            "pairs": pairs,
            "dropped": self.dropped,
            "tokens": dict(self.tokens),
            "neutralized": self.neutralized,
        }

    def report_of_part(self) -> dict[str, Any]:
        """`report`, with the files of which there are records, by their places in the source."""
        # A part of a source of hundreds of files holds records of a few.
        return self.report() | {
            "files": {
                str(place): dataclasses.asdict(file)
                for place, file in enumerate(self.files)
                if file.records
            }
        }

    def report_of_all(self) -> dict[str, Any]:
        """`report`, with every file."""
        return self.report() | {"files": [dataclasses.asdict(file) for file in self.files]}

    def _entry(self, reason: str) -> dict[str, Any]:
        return self.dropped.setdefault(reason, {"records": 0, "pairs": 0, "examples": []})

    def _drop(self, bad: BadRecord, number: int, unit: str) -> None:
        entry = self._entry(bad.reason)
        entry[unit] += 1
        if len(entry["examples"]) < EXAMPLES:
            entry["examples"].append([number, bad.detail])


def sum_of(readings: Sequence[formats.Reading], reports: Iterable[Mapping[str, Any]]) -> Counts:
    """The counts of consecutive parts of a source, given in their order."""
    total = Counts(readings)
    for report in reports:
        total.add_report(report)
    return total
