"""Preference pairs as a TFDS data set in ArrayRecord files, written and read without TensorFlow.

python -m rewardjax.tools.build_tfds --input pairs.jsonl --output data/tfds
"""

import collections
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rewardjax.command import errors
from rewardjax.data import formats, groups, sources, spelling

FIELDS = ("role", "content", "reasoning_content")


class PreferencePairs(tfds.core.GeneratorBasedBuilder):
    """One example per labeled pair, in the source's order.

    Prompt, chosen and rejected are lists of messages; target, margin and tie are the label's.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    # TFDS shuffles by default; in the source's order, a row can be found again by its number.
    DISABLE_SHUFFLING = True

    def __init__(
        self,
        *,
        source: Any = None,
        split: str = "train",
        columns: Any = None,
        labels: Any = None,
        **kwargs,
    ):
        """source: of records (data/sources/); None can only read. split: the one to write.

        columns, labels: what the source's columns and verdicts mean, as for training.
        """
        self.source, self.split, self.meaning = source, split, (columns, labels)
        # Rows that cannot be used, by reason: the command prints them.
        self.dropped: collections.Counter[str] = collections.Counter()
        # ArrayRecord, since TFRecord cannot be read without TensorFlow.
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        messages = tfds.features.Sequence({field: tfds.features.Text() for field in FIELDS})
        return tfds.core.DatasetInfo(
            builder=self,
            description="Preference pairs: two responses to a prompt, and which one is better.",
            disable_shuffling=self.DISABLE_SHUFFLING,
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "source": tfds.features.Text(),
                    "prompt": messages,
                    "chosen": messages,
                    "rejected": messages,
                    "target": tfds.features.Scalar(np.float32),
                    "margin": tfds.features.Scalar(np.float32),
                    "tie": tfds.features.Scalar(np.bool_),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        if self.source is None:
            raise ValueError("PreferencePairs(source=...) is missing: there is nothing to write")
        return {self.split: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        for _, _, outcome in formats.groups_of(self.source, *self.meaning):
            for example in self._examples(outcome):
                yield number, example
                number += 1

    def _examples(self, outcome: groups.Group | groups.BadRecord) -> Iterator[dict[str, Any]]:
        try:
            if isinstance(outcome, groups.BadRecord):
                raise outcome
            group, bad = groups.check(outcome)
        except groups.BadRecord as row:
            # As in training, a bad record is left out and counted.
            self.dropped[row.reason] += 1
            return
        self.dropped.update(row.reason for row in bad)
        for number, pair in enumerate(group.pairs):
            id = group.id
            # Ids stay unique where a record has several pairs.
            if len(group.pairs) > 1:
                id = f"{group.id}#{number}"
            yield {
                "id": id,
                "source": group.source,
                "prompt": _rows(group.prompt, f"{group.id}.prompt"),
                "chosen": _rows(group.responses[pair.chosen], f"{group.id}.chosen"),
                "rejected": _rows(group.responses[pair.rejected], f"{group.id}.rejected"),
                "target": pair.target,
                "margin": pair.margin,
                "tie": pair.tie,
            }


def _rows(messages: list[groups.Message], where: str) -> list[dict[str, str]]:
    """Messages with exactly FIELDS. Raises ValueError for one with other fields.

    An error and not a row that is left out: tool calls that disappear would change what a response
    says.
    """
    rows = []
    for message in messages:
        unknown = set(message) - set(FIELDS)
        if unknown:
            raise ValueError(
                f"{where}: the message has {', '.join(sorted(unknown))}; "
                f"this data set holds only {', '.join(FIELDS)}"
            )
        rows.append({field: message.get(field, "") for field in FIELDS})
    return rows


def build(
    source: Any, output: str, split: str = "train", columns: Any = None, labels: Any = None
) -> PreferencePairs:
    """Write OUTPUT/preference_pairs/VERSION; the arguments are those of PreferencePairs.

    Raises FileExistsError if it is there already: TFDS would silently keep the old data.
    """
    meaning = {"columns": columns, "labels": labels}
    builder = PreferencePairs(source=source, split=split, data_dir=output, **meaning)
    if (pathlib.Path(builder.data_dir) / "dataset_info.json").exists():
        raise FileExistsError(f"{builder.data_dir} exists; delete it or choose another output")
    builder.download_and_prepare()
    return builder


@errors.one_line("rewardjax.tools.build_tfds")
def main() -> None:
    """Run the command."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.tools.build_tfds",
        description="Write preference pairs as a TFDS data set in ArrayRecord files.",
    )
    parser.add_argument("--input", required=True, help="any source of data/sources/")
    spelling.add_flags(parser)
    parser.add_argument(
        "--output",
        required=True,
        help="TFDS data_dir; the data set goes to OUTPUT/preference_pairs/1.0.0",
    )
    parser.add_argument("--output_split", default="train", help="name of the split to write")
    args = parser.parse_args()
    source = sources.open_source(args.input, split=args.split, spelling=spelling.FLAGS)
    for reading in formats.readings(source, args.columns, args.labels):
        print(reading.sentence(), file=sys.stderr)
    builder = build(source, args.output, args.output_split, args.columns, args.labels)
    pairs = builder.info.splits[args.output_split].num_examples
    print(
        f"{builder.data_dir}: {pairs} pairs of {len(source)} records; "
        f"dropped {dict(builder.dropped)}"
    )


if __name__ == "__main__":
    main()
