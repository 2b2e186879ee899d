"""What became of every record of a file: the sentence about it, and when its losses are too many.

Records whose two responses are equal, or that are too long, are apart from unusable ones: they say
something of the data or of `max_length`, the others that the file was not understood.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from rewardjax.data.layouts import verdicts
from rewardjax.data.spelling import CONFIG, Spelling

APART = ("equal", "equal_after_truncation", "over_long")
WORDS = {"over_long": "over-long", "equal_after_truncation": "equal after truncation"}
EARLY = 10_000  # records of a file after which its losses are judged for the first time
WARNED = 0.01  # share of a file's records


@dataclasses.dataclass
class FileAccount:
    """Records of one file by what became of them; goes into the manifest and the run's record.

    read_as: `formats.Reading.sentence`. records = kept + outside_part + without_pairs + dropped.
    detail: the first record of each reason, in words. control_records: how many hold the text of a
    control token, which is read as text; control_example: the first of them, in words. unprinted:
    how many have a field that the chat template does not print. shortened: how many lost the oldest
    tokens of their prompt. late_columns: columns that are not used and first occur behind the
    records that decided how the file is read, with the first record of each.
    """

    file: str
    read_as: str
    columns_not_used: list[str]
    records: int = 0
    kept: int = 0
    outside_part: int = 0
    without_pairs: int = 0
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    detail: dict[str, str] = dataclasses.field(default_factory=dict)
    # Not there in manifests of earlier versions.
    control_records: int = 0
    control_example: str = ""
    unprinted: dict[str, int] = dataclasses.field(default_factory=dict)
    shortened: int = 0
    late_columns: dict[str, int] = dataclasses.field(default_factory=dict)

    def drop(self, reason: str, detail: str) -> None:
        """Book a record of which nothing is left."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        self.detail.setdefault(reason, detail)

    def add(self, later: "FileAccount") -> None:
        """Add the account of records of the same file that come behind these."""
        self.records += later.records
        self.kept += later.kept
        self.outside_part += later.outside_part
        self.without_pairs += later.without_pairs
        self.control_records += later.control_records
        self.shortened += later.shortened
        self.control_example = self.control_example or later.control_example
        for counts, more in ((self.dropped, later.dropped), (self.unprinted, later.unprinted)):
            for name, count in more.items():
                counts[name] = counts.get(name, 0) + count
        # Of these the first is told.
        for reason, detail in later.detail.items():
            self.detail.setdefault(reason, detail)
        for name, number in later.late_columns.items():
            self.late_columns.setdefault(name, number)

    def sentence(self) -> str:
        """What the file was read as, and how many of its records are kept and lost to what."""
        counts = f"{self.kept:,} of {self.records:,} records kept"
        lost = [f"{count:,} {WORDS.get(name, name)}" for name, count in self.dropped.items()]
        if lost:
            counts += ", dropped: " + ", ".join(lost)
        if self.outside_part:
            counts += f", {self.outside_part:,} outside data.part"
        if self.without_pairs:
            counts += f", {self.without_pairs:,} without two responses that differ in their label"
        told = remarks(
            self.control_records,
            self.control_example,
            self.unprinted,
            self.late_columns,
            self.shortened,
        )
        return "; ".join([self.read_as, counts, *told])

    def warning(self) -> str | None:
        """A sentence where more than 1% of the records are unusable, equal or too long."""
        shares = self._shares()
        if max(shares.values(), default=0.0) <= WARNED:
            return None
        worst = max(shares, key=shares.__getitem__)
        lost = ", ".join(
            f"{share:.1%} {WORDS.get(name, name)}" for name, share in shares.items() if share
        )
        return f"warning: {self.file} loses {lost} of {self.records:,} records{self._why(worst)}"

    def refuse(self, max_dropped: float, spelling: Spelling = CONFIG) -> None:
        """Raise ValueError where a larger share than `max_dropped` is unusable."""
        share = self._shares().get("unusable", 0.0)
        if share <= max_dropped:
            return
        counts = ", ".join(
            f"{count:,} {name}" for name, count in self.dropped.items() if name not in APART
        )
        limit = spelling.of(f"data.max_dropped={max_dropped}")
        raise ValueError(
            f"{self.file}: {share:.0%} of {self.records:,} records are unusable "
            f"({counts}){self._why('unusable')}; {limit} is the share that may be lost"
        )

    def _shares(self) -> dict[str, float]:
        counts: collections.Counter[str] = collections.Counter()
        for reason, count in self.dropped.items():
            # One share for all that could not be read, however many reasons there are.
            name = "unusable"
            if reason in APART:
                name = reason
            counts[name] += count
        return {name: count / max(self.records, 1) for name, count in counts.items()}

    def _why(self, share: str) -> str:
        """The first record of the commonest reason behind a share, in words."""
        reasons = [share]
        if share == "unusable":
            reasons = [reason for reason in self.dropped if reason not in APART]
        commonest = max(reasons, key=lambda reason: self.dropped[reason])
        return f", the first: {self.detail[commonest]:.300}"


def remarks(
    control_records: int,
    control_example: str,
    unprinted: Mapping[str, int],
    late_columns: Mapping[str, int] | None = None,
    shortened: int = 0,
) -> list[str]:
    """Sentences about records that are kept and yet not read as their owner may think.

    Args: as the fields of FileAccount.
    """
    sentences = []
    # Nothing is lost, but whoever built the data may have meant a turn to end there.
    if control_records:
        sentences.append(
            f"texts of {control_records:,} records hold control tokens of the tokenizer, read as "
            f"plain text: {control_example}"
        )
    # Transformers leaves these out too, so that this is no fault of the reading; but a model that
    # never sees the tools cannot tell a call that is right.
    if unprinted:
        fields = " and ".join(
            f"`{field}` ({count:,} records)" for field, count in unprinted.items()
        )
        sentences.append(f"the chat template does not print {fields}: the model never sees them")
    if shortened:
        sentences.append(
            f"the oldest tokens of the prompt are cut off in {shortened:,} records "
            "(over_long = left)"
        )
    if late_columns:
        columns = [f"{name} (from record {row:,} on)" for name, row in late_columns.items()]
        sentences.append(f"also not used: {', '.join(columns)}")
    return sentences


def losses(manifest: Mapping[str, Any]) -> str:
    """What was kept of a source, and what was dropped for which reason, in one sentence.

    manifest: of tokenized pairs. A record of several responses may lose some of its pairs only,
    which the sentence of its file does not say.
    """
    pairs, records = manifest["pairs"], manifest["records"]
    sentence = f"{pairs['kept']:,} pairs of {records['kept']:,} records kept"
    lost: dict[str, list[str]] = {"pairs": [], "records": []}
    for reason, counts in manifest["dropped"].items():
        # A record all of whose pairs were dropped is told with them; another was never read as far
        # as its pairs.
        unit = "pairs"
        if not counts["pairs"]:
            unit = "records"
        lost[unit].append(f"{counts[unit]:,} {WORDS.get(reason, reason)}")
    for unit, reasons in lost.items():
        if reasons:
            sentence += f"; {unit} dropped: {', '.join(reasons)}"
    if pairs["sampled_out"]:
        sentence += f"; {pairs['sampled_out']:,} pairs left out by data.pairs_per_group"
    if records["outside_part"]:
        sentence += f"; {records['outside_part']:,} records outside data.part"
    if records["without_pairs"]:
        sentence += f"; {records['without_pairs']:,} records without a label that tells two apart"
    return sentence


def from_record(records: Iterable[dict[str, Any]]) -> list[FileAccount]:
    """The accounts of a manifest's `files`."""
    return [FileAccount(**record) for record in records]


def nothing_left(source: str, files: list[FileAccount]) -> str:
    """One line that says why a source has no pair to train on."""
    message = f"{source}: no usable pair; " + "; ".join(file.sentence() for file in files)
    for file in files:
        if file.without_pairs:
            return f"{message}; {_how_to_pair(file)}"
    for file in files:
        for reason, detail in file.detail.items():
            return f"{message}; the first: {reason}, {detail:.300}"
    return message


def _how_to_pair(file: FileAccount) -> str:
    """What makes pairs of records that hold none."""
    if verdicts.UNLABELED.name in file.read_as:
        return "a pair needs a verdict: name its column, as in data.columns={label: COLUMN}"
    labels = [name for name in file.columns_not_used if name in verdicts.VERDICTS]
    if labels:
        # KTO's rows: whether a response is good, of many prompts with one response each.
        return (
            f"`{labels[0]}` says of one response whether it is good (unpaired labels, as for KTO), "
            "and a reward model compares responses of one prompt: write records with `prompt`, "
            "`responses` and `correct`, or train on pairs"
        )
    # A row with one response is common: rows of one prompt then belong together.
    return (
        "group the rows of a prompt into one record with `responses` and `scores`, `ranks` or "
        "`correct`"
    )
