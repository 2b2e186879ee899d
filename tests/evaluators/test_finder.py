"""Which files of a clone, a hub folder or a saved data set are the benchmark's examples."""

import json

import pyarrow as pa
import pytest

from rewardjax.evaluators import finder
from rewardjax.evaluators.benchmarks import judgebench, llmbar, rewardbench, rm_bench, rmb

SOURCES = ("mmlu-pro-law", "livebench-reasoning", "livebench-math", "livecodebench")
PAIRS = [
    {
        "pair_id": f"pair{i}",
        "source": source,
        "question": f"Which of {i} and {i + 1} is odd?",
        "response_model": "gpt-4o-2024-05-13",
        "response_A": "one",
        "response_B": "the other",
        "label": ("A>B", "B>A")[i % 2],
    }
    for i, source in enumerate(SOURCES)
]
FOLLOWS = {"input": "Name a color.", "output_1": "Red.", "output_2": "A color?", "label": 1}
STYLED = {"prompt": "p", "chosen": ["a", "b", "c"], "rejected": ["x", "y", "z"], "id": 0}


def write(file, records):
    """JSON lines, or an array where the file's name ends with .json."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".json":
        file.write_text(json.dumps(records))
    else:
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def save_to_disk(folder, records):
    """The files that `datasets` writes for a Dataset of these records."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(records)
    with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as stream:
        stream.write_table(table)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": None}
    # `datasets` writes both over several lines, which are no JSON lines.
    (folder / "state.json").write_text(json.dumps(state, indent=2))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}, indent=2))


def ids(examples):
    return sorted(item.id for item in examples.items)


EXPECTED = sorted(f"gpt/pair{i}" for i in range(4))
FILE = "dataset=judgebench,response_model=gpt-4o-2024-05-13.jsonl"


def clone(folder):
    write(folder / "data" / FILE, PAIRS)
    judged = [{**pair, "judge_name": "arena_hard", "judgments": []} for pair in PAIRS]
    write(folder / "outputs" / FILE.replace(".jsonl", ",judge_name=arena_hard.jsonl"), judged)
    write(folder / "tables" / FILE, judged)
    (folder / "package.json").write_text(json.dumps({"name": "x", "files": ["a"]}, indent=2))
    return folder


def hub(folder):
    write(folder / "data" / "gpt-00000-of-00001.jsonl", PAIRS)
    (folder / "dataset_infos.json").write_text("{\n}")
    return folder


def one_file(folder):
    return write(folder / "pairs.json", PAIRS)


def dataset(folder):
    save_to_disk(folder, PAIRS)
    return folder


def dataset_dict(folder):
    save_to_disk(folder / "gpt", PAIRS)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["gpt"]}))
    return folder


@pytest.mark.parametrize("lay_out", [clone, hub, one_file, dataset, dataset_dict])
def test_every_form_of_a_benchmark_holds_the_same_examples(lay_out, tmp_path):
    examples = judgebench.load(lay_out(tmp_path / "judgebench"))
    assert ids(examples) == EXPECTED and not examples.left_out
    assert list(examples.files.values()) == [4]


def test_judgments_beside_the_examples_are_named_and_not_read(tmp_path):
    examples = judgebench.load(clone(tmp_path))
    aside = {place.split("/")[0]: reason for place, reason in examples.set_aside.items()}
    assert "outputs of models" in aside["outputs"] and "judge" in aside["tables"]
    assert list(examples.files) == [f"data/{FILE}"]
    with pytest.raises(ValueError, match="none of 1 data files.*judgments of a model"):
        judgebench.load(tmp_path / "outputs")


def test_a_file_that_is_named_may_not_be_judgments_either(tmp_path):
    [file] = (clone(tmp_path) / "tables").iterdir()
    with pytest.raises(ValueError, match="judge_name: judgments of a model"):
        judgebench.load(file)


def test_a_clone_of_llmbar_holds_five_subsets_and_others_that_are_not_of_it(tmp_path):
    folder = tmp_path / "manual" / "LLMBar"
    for place in ("Natural", "Adversarial/Neighbor", "Adversarial/GPTInst"):
        write(folder / "Dataset" / "LLMBar" / place / "dataset.json", [FOLLOWS, FOLLOWS])
    write(folder / "Dataset" / "Processed" / "FairEval" / "dataset.json", [FOLLOWS])
    examples = llmbar.load(folder)
    assert {item.subset for item in examples.items} == {
        "llmbar-natural",
        "llmbar-adver-neighbor",
        "llmbar-adver-GPTInst",
    }
    assert len(examples.items) == 6
    assert list(examples.set_aside) == ["Dataset/Processed/FairEval/dataset.json"]
    [item, _] = llmbar.load(folder / "Dataset" / "LLMBar" / "Natural").items
    assert item.subset == "llmbar-natural"


def test_a_web_page_and_a_pointer_are_named_with_what_to_do(tmp_path):
    page = tmp_path / "rm_bench" / "total_dataset.json"
    write(page, [])
    page.write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(ValueError, match=r"total_dataset\.json: a web page .*download"):
        rm_bench.load(page.parent)
    page.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(ValueError, match="git lfs pull"):
        rm_bench.load(page)


def test_a_broken_file_stops_the_reading(tmp_path):
    write(tmp_path / FILE, PAIRS)
    (tmp_path / "more.json").write_text('{"question": "half of a rec')
    with pytest.raises(ValueError, match=r"more\.json:1: bad JSON"):
        judgebench.load(tmp_path)


def test_the_whole_of_rm_bench_is_read_once_beside_its_domains(tmp_path):
    write(tmp_path / "data" / "total_dataset.json", [{**STYLED, "domain": "chat"}])
    write(tmp_path / "data" / "chat_filtered.json", [STYLED])
    examples = rm_bench.load(tmp_path)
    assert examples.files == {"data/total_dataset.json": 1} and len(examples.items) == 1
    assert list(examples.set_aside) == ["data/chat_filtered.json"]


def test_a_copy_of_a_file_counts_once(tmp_path):
    write(tmp_path / "a.jsonl", PAIRS)
    write(tmp_path / "backup" / "a.jsonl", PAIRS)
    assert ids(judgebench.load(tmp_path)) == EXPECTED


def test_the_same_records_in_another_format_count_once(tmp_path):
    write(tmp_path / "data" / FILE, PAIRS)
    save_to_disk(tmp_path / "saved", PAIRS)
    examples = judgebench.load(tmp_path)
    assert ids(examples) == EXPECTED
    [reason] = examples.set_aside.values()
    assert reason.startswith("in another format what ")
    # A file with one more example is no copy, and nothing is lost without a word.
    more = {**PAIRS[0], "pair_id": "more", "question": "Another?"}
    write(tmp_path / "data" / FILE, [*PAIRS, more])
    assert len(judgebench.load(tmp_path).items) == 4 + 5


def test_the_hub_s_cache_is_read_at_the_revision_of_main(tmp_path):
    repository = tmp_path / "datasets--ScalerLab--JudgeBench"
    write(repository / "snapshots" / "old" / "data" / "gpt.jsonl", PAIRS[:2])
    write(repository / "snapshots" / "new" / "data" / "gpt.jsonl", PAIRS)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("new\n")
    for root in (tmp_path, repository, repository / "snapshots" / "new"):
        assert ids(judgebench.load(root)) == EXPECTED
    [reason] = judgebench.load(repository).set_aside.values()
    assert "another revision" in reason


def test_saved_splits_give_the_split_that_is_the_benchmark(tmp_path):
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "subset": "hep-go", "id": 1}
    save_to_disk(tmp_path / "raw", [row, row])
    save_to_disk(tmp_path / "filtered", [row])
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["raw", "filtered"]}))
    assert rewardbench.load(tmp_path).files == {"filtered": 1}
    assert rewardbench.load(tmp_path, split="raw").files == {"raw": 2}
    with pytest.raises(ValueError, match="split = 'tset': none of filtered, raw is named after it"):
        rewardbench.load(tmp_path, split="tset")


def test_goal_and_category_of_rmb_are_not_those_of_a_folder_above(tmp_path):
    pair = {"conversation_input": [{"role": "user", "content": "p"}], "pair_uid": "1"}
    pair |= {"chosen": {"answer": "a"}, "reject": {"answer": "b"}}
    root = tmp_path / "Harmlessness" / "of" / "my" / "rmb"
    write(root / "Pairwise_set" / "Helpfulness" / "Code" / "Debug.json", [pair])
    expected = "pairwise/Helpfulness/Code/Debug"
    for place in ("", "Pairwise_set/Helpfulness", "Pairwise_set/Helpfulness/Code"):
        [item] = rmb.load(root / place).items
        assert item.subset == expected


def test_a_folder_without_data_is_missing_and_not_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="no saved data set"):
        finder.find([tmp_path], finder.Layout([("a",)]))
