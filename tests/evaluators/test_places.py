"""Every benchmark in every form that people have it in: the same examples each time.

The miniatures have the fields and the names of files of the published ones; here they lie as a
clone, a folder of the hub or its cache, what `save_to_disk` wrote, or files of other formats.
"""

import json
import pathlib
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewardjax import assets, evaluators
from rewardjax.data import sources

WITH_FILES = [name for name in evaluators.PUBLISHED if assets.exists(f"assets:benchmarks/{name}")]


def miniature(name):
    return assets.resolve(f"assets:benchmarks/{name}")


def tables(name):
    """The records of each file of a miniature, by its path below the folder."""
    root = miniature(name)
    found = {}
    for file in sorted(root.rglob("*.*")):
        if file.is_file():
            found[file.relative_to(root)] = list(sources.open_source(file))
    return found


def jsonl(file, records):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def parquet(file, records):
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(records), file)


def saved(folder, records):
    """What `datasets` writes for a Dataset."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(records)
    with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as stream:
        stream.write_table(table)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": None}
    (folder / "state.json").write_text(json.dumps(state, indent=2))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}, indent=2))


# ------------------------------------------------------------------ forms


def a_clone(name, folder):
    """With a git directory, figures, settings, tables of results, and outputs of judges."""
    shutil.copytree(miniature(name), folder / "data", ignore=shutil.ignore_patterns("README*"))
    jsonl(folder / ".git" / "objects" / "records.jsonl", [{"prompt": "p"}])
    (folder / "package.json").write_text(json.dumps({"name": "x"}, indent=2))
    (folder / "figures").mkdir()
    (folder / "figures" / "plot.csv").write_text("model,score\na,1\n")
    (folder / "eval").mkdir()
    (folder / "eval" / "leaderboard.csv").write_text("model,accuracy\na,0.5\n")
    for place, records in tables(name).items():
        judged = [{**record, "judge_name": "j", "judgments": []} for record in records]
        jsonl(folder / "outputs" / place.with_suffix(".jsonl"), judged)
        jsonl(folder / "model_predictions" / place.with_suffix(".jsonl"), records)


def files_of_the_hub(name, folder):
    """As the hub's client leaves a repository, with its card and its own hidden files."""
    shutil.copytree(miniature(name), folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Card\n")
    jsonl(folder / ".cache" / "huggingface" / "download" / "data.jsonl", [{"prompt": "p"}])
    (folder / "dataset_infos.json").write_text("{}")


def the_hub_s_cache(name, folder):
    """datasets--ORG--NAME of the hub's cache: files by their hash, and links to them."""
    snapshot = folder / "datasets--ORG--NAME" / "snapshots" / ("a" * 40)
    blobs = folder / "datasets--ORG--NAME" / "blobs"
    blobs.mkdir(parents=True)
    root = miniature(name)
    for number, file in enumerate(sorted(root.rglob("*.*"))):
        if file.is_file():
            blob = blobs / f"{number:064x}"
            shutil.copy(file, blob)
            link = snapshot / file.relative_to(root)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(blob)
    refs = folder / "datasets--ORG--NAME" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)


def json_lines(name, folder):
    for place, records in tables(name).items():
        jsonl(folder / place.with_suffix(".jsonl"), records)


def parquet_files(name, folder):
    for place, records in tables(name).items():
        parquet(folder / place.with_suffix(".parquet"), records)


def saved_data_sets(name, folder):
    """A Dataset for each file, in a folder of the file's name."""
    for place, records in tables(name).items():
        saved(folder / place.with_suffix(""), records)


def a_saved_dict(name, folder):
    """A DatasetDict whose splits are the files."""
    splits = []
    for place, records in tables(name).items():
        split = "_".join(place.with_suffix("").parts)
        splits.append(split)
        saved(folder / split, records)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": splits}))


def two_formats(name, folder):
    """The published files, and the same records saved beside them in other formats."""
    shutil.copytree(miniature(name), folder / "original")
    for place, records in tables(name).items():
        parquet(folder / "parquet" / place.with_suffix(".parquet"), records)
        saved(folder / "saved" / place.with_suffix(""), records)


FORMS = (
    a_clone,
    files_of_the_hub,
    the_hub_s_cache,
    json_lines,
    parquet_files,
    saved_data_sets,
    a_saved_dict,
    two_formats,
)


def content(examples):
    """What was read, without the order and the numbers that files give."""
    rows = []
    for item, group in zip(examples.items, examples.groups, strict=True):
        responses = [response[-1]["content"] for response in group.responses]
        rows.append(json.dumps([item.subset, item.label, group.prompt, responses], sort_keys=True))
    return sorted(rows)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", WITH_FILES)
def test_every_form_holds_the_same_examples(name, form, tmp_path):
    expected = content(evaluators.load(name, path=f"assets:benchmarks/{name}"))
    form(name, tmp_path / name)
    examples = evaluators.load(name, path=str(tmp_path / name))
    assert content(examples) == expected and not examples.left_out


@pytest.mark.parametrize("name", WITH_FILES)
def test_each_file_alone_is_a_part_of_the_benchmark(name, tmp_path):
    expected = content(evaluators.load(name, path=f"assets:benchmarks/{name}"))
    root = miniature(name)
    rows = []
    for file in sorted(root.rglob("*.*")):
        if file.is_file():
            rows += content(evaluators.load(name, path=str(file)))
    assert sorted(rows) == expected


def test_miniatures_are_all_tried():
    assert {pathlib.Path(name).name for name in WITH_FILES} >= set(evaluators.PAPER)
