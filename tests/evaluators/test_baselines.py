"""Scores that others published: matched by id, texts compared, told, and tested like our own."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewardjax import config as config_lib
from rewardjax import evaluate, evaluators, fingerprint
from rewardjax.evaluators import baselines, compare, stored_rewards
from rewardjax.evaluators.page import report
from rewardjax.evaluators.page.evaluation import read
from rewardjax.evaluators.stored_rewards import Scores


def evaluation(folder, examples):
    """An output folder with random rewards on some benchmarks."""
    rng = np.random.default_rng(0)
    results, titles = {}, {}
    for name, of in examples.items():
        rewards = [rng.normal(size=len(group.responses)).astype(np.float32) for group in of.groups]
        lengths = [
            np.array([len(response[-1]["content"]) for response in group.responses])
            for group in of.groups
        ]
        prompts = [fingerprint.of_json(group.prompt) for group in of.groups]
        meta = {"benchmark": of.name, "data": of.fingerprint}
        scores = Scores(of.items, rewards, lengths, lengths, [1] * len(rewards), prompts, [], meta)
        stored_rewards.write(scores, folder / "scores" / f"{name}.parquet")
        module = evaluators.get(of.name)
        results[name], titles[name] = module.summarize(of.items, rewards).to_record(), module.TITLE
    facts = dict.fromkeys(("path", "weights", "dtype", "max_length", "over_long", "seconds"), "x")
    record = {"model": "ours", "results": results, "benchmarks": titles, **facts}
    record |= {"contract": {"fingerprint": "f"}, "missing": {}, "left_out": {}, "bias": {}}
    config_lib.write_json(folder / "results.json", record | {"counterfactual": {}})
    return folder


@pytest.fixture
def judged(tmp_path):
    """An evaluation on the miniature of JudgeBench, and its records as the files hold them."""
    examples = evaluators.load("judgebench", path="assets:benchmarks/judgebench")
    folder = evaluation(tmp_path / "ours", {"judgebench": examples})
    records = []
    for item, group in zip(examples.items, examples.groups, strict=True):
        split, pair_id = item.id.split("/")
        category = item.subset.split("/")[1]
        prefix = evaluators.get("judgebench").PREFIXES[category]
        responses = [response[0]["content"] for response in group.responses]
        records.append(
            {
                "pair_id": pair_id,
                "source": prefix,
                "question": group.prompt[0]["content"],
                "response_model": split,
                "response_A": responses[0],
                "response_B": responses[1],
                "label": item.label["label"],
            }
        )
    return folder, records


def with_scores(record, a, b, model="Org/Their RM"):
    """A line of the repository's outputs: two games of a reward model."""
    games = [([a, b], "A>B"), ([b, a], "B>A")]
    judgments = [
        {"judgment": {"judge_model": model, "scores": scores}, "decision": decision}
        for scores, decision in games
    ]
    return {**record, "judge_name": "reward_model", "judgments": judgments}


def write_lines(file, records):
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def right(record):
    """Scores by which the label is right."""
    if record["label"] == "A>B":
        return 2.0, 1.0
    return 1.0, 2.0


def test_outputs_of_judgebench_become_an_evaluation(judged, tmp_path, capsys):
    folder, records = judged
    lines = [with_scores(record, *right(record)) for record in records]
    [theirs] = baselines.folders(
        folder, [write_lines(tmp_path / "theirs.jsonl", lines)], tmp_path / "out"
    )
    assert theirs == tmp_path / "out" / "published" / "Org_Their_RM"
    evaluation = read(theirs)
    assert evaluation.results["judgebench"].headline == 1.0
    count = len(records)
    said = f"{count} of {count} examples matched by id, with the same texts"
    assert said in capsys.readouterr().err
    assert any(said in note for note in evaluation.results["judgebench"].notes)
    [row] = compare.models(
        evaluators.get("judgebench"),
        {"ours": [read(folder).scores["judgebench"]], "theirs": [evaluation.scores["judgebench"]]},
    )
    # The rule's headline is of the GPT-4o pairs alone.
    of_headline = sum(record["response_model"] == "gpt" for record in records)
    assert row["n"] == of_headline and row["second"] == 1.0


def test_only_common_examples_are_compared(judged, tmp_path, capsys):
    folder, records = judged
    lines = [with_scores(record, *right(record)) for record in records[:-1]]
    assert records[-1]["response_model"] == "gpt"
    lines.append({**lines[0], "pair_id": "unknown"})
    [theirs] = baselines.folders(folder, [write_lines(tmp_path / "f.jsonl", lines)], tmp_path)
    scores = read(theirs).scores["judgebench"]
    assert np.isnan(scores.rewards[-1]).all() and not np.isnan(scores.rewards[0]).any()
    said = capsys.readouterr().err
    assert f"{len(records) - 1} of {len(records)} examples matched" in said
    assert "1 of the file are not among them" in said
    ours = read(folder).scores["judgebench"]
    [row] = compare.models(evaluators.get("judgebench"), {"ours": [ours], "theirs": [scores]})
    gpt = sum(record["response_model"] == "gpt" for record in records)
    assert row["n"] == gpt - 1 and row["left_out"] == len(records) - (gpt - 1)


def test_other_texts_are_left_out_and_another_version_is_refused(judged, tmp_path, capsys):
    folder, records = judged
    lines = [with_scores(record, *right(record)) for record in records]
    lines[0]["question"] += " (edited)"
    lines[1]["response_B"] += "!"
    [theirs] = baselines.folders(folder, [write_lines(tmp_path / "f.jsonl", lines)], tmp_path)
    assert "2 have other texts and are left out" in capsys.readouterr().err
    rewards = read(theirs).scores["judgebench"].rewards
    assert np.isnan(rewards[0]).all() and np.isnan(rewards[1]).all()
    edited = [{**line, "question": "Another?"} for line in lines]
    with pytest.raises(ValueError, match="another version of the benchmark"):
        baselines.folders(folder, [write_lines(tmp_path / "g.jsonl", edited)], tmp_path)


def test_pairs_with_scores_by_model_are_several_models(judged, tmp_path):
    folder, records = judged
    records = [record for record in records if record["response_model"] == "gpt"]
    pairs = [{name: record[name] for name in ("pair_id", "source", "label")} for record in records]
    scores = {
        "good": [right(record) for record in records],
        "bad": [right(record)[::-1] for record in records],
    }
    file = tmp_path / "published.json"
    file.write_text(json.dumps({"pairs": pairs, "scores": scores}))
    good, bad = map(read, baselines.folders(folder, [file], tmp_path))
    assert good.name == "good (published)" and bad.name == "bad (published)"
    assert good.results["judgebench"].headline == 1.0
    assert bad.results["judgebench"].headline == 0.0


@pytest.mark.parametrize(
    "change, told",
    [
        ({"pair_id": "other"}, "none of 1 ids is one of the examples evaluated"),
        ({"judgments": [{"judgment": {"response": "[[A]]"}}]}, "holds no scores of a benchmark"),
    ],
)
def test_a_file_without_a_match_is_refused(judged, tmp_path, change, told):
    folder, records = judged
    line = with_scores(records[0], 1.0, 2.0) | change
    with pytest.raises(ValueError, match=told):
        baselines.folders(folder, [write_lines(tmp_path / "f.jsonl", [line])], tmp_path)


def test_columns_of_rewardbench_s_results(tmp_path):
    examples = evaluators.load("rewardbench", path="assets:benchmarks/rewardbench")
    folder = evaluation(tmp_path / "ours", {"rewardbench": examples})
    count = len(examples.items)
    content = {
        "subset": [item.subset for item in examples.items],
        "id": [item.id.split("/")[1] for item in examples.items],
        "text_chosen": ["<s>..."] * count,
        "scores_chosen": [[1.0]] * count,
        "scores_rejected": [[0.0]] * count,
        "results": [1] * count,
        "model": "Org/RM",
        "model_type": "Seq. Classifier",
    }
    file = tmp_path / "RM.json"
    file.write_text(json.dumps(content))
    [theirs] = baselines.folders(folder, [file], tmp_path)
    assert read(theirs).name == "Org_RM (published)"
    assert read(theirs).results["rewardbench"].headline == 1.0
    file.write_text(json.dumps(content | {"id": [1]}))
    with pytest.raises(ValueError, match="columns of one length"):
        baselines.folders(folder, [file], tmp_path)


def test_parquet_of_themis_on_own_pairs(tmp_path):
    own = tmp_path / "own.jsonl"
    write_lines(
        own,
        [
            {"id": f"ECCO_{i}", "prompt": f"Sort {i}.", "chosen": "a", "rejected": "b"}
            for i in range(3)
        ],
    )
    examples = evaluators.load("pairs", path=str(own))
    folder = evaluation(tmp_path / "ours", {"code": examples})
    rows = [
        {"id": f"ECCO_{i}", "chosen_score": 1.0, "rejected_score": float(i), "subset": "ECCO"}
        for i in range(3)
    ]
    file = tmp_path / "Themis-RM-8B" / "scores.parquet"
    file.parent.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), file)
    [theirs] = baselines.folders(folder, [file], tmp_path)
    # 1 > 0 is right, 1 > 1 and 1 > 2 are not.
    assert read(theirs).results["code"].headline == pytest.approx(1 / 3)
    assert theirs.name == "Themis-RM-8B"


@pytest.mark.parametrize(
    "name, record, identity, rewards",
    [
        (
            "rmb",
            {
                "pair_uid": "9218",
                "category_path": "Pairwise_set/Helpfulness/Brainstorming/Idea Development",
                "chosen_reward": "0.17",
                "reject_reward": "0.16",
            },
            "pairwise/Helpfulness/Brainstorming/Idea Development/9218",
            [0.17, 0.16],
        ),
        (
            "rewardbench2",
            {"id": "ref:0", "subset": "Ties", "num_correct": 1, "scores": [[3.0], [1.0]]},
            "ref:0",
            [3.0, 1.0],
        ),
        (
            "rm_bench",
            {
                "id": "chat/1",
                "domain": "chat",
                "prompt": "p",
                "chosen": ["a", "b", "c"],
                "rejected": ["x", "y", "z"],
                "score_chosen": [1, 2, 3],
                "score_rejected": [4, 5, 6],
            },
            "chat/1",
            [1, 2, 3, 4, 5, 6],
        ),
    ],
)
def test_records_of_other_repositories(name, record, identity, rewards):
    module = evaluators.get(name)
    published = module.published(record)
    assert published.id == identity and published.rewards == rewards
    assert module.published({"prompt": "p"}) is None


def test_compare_takes_files_beside_folders(judged, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "write", lambda folders, output: None)
    folder, records = judged
    lines = [with_scores(record, *right(record)) for record in records]
    file = write_lines(tmp_path / "theirs.jsonl", lines)
    evaluate.compare([str(folder), str(file), "--output", str(tmp_path / "page" / "report.html")])
    table = capsys.readouterr().out
    assert "| benchmark | ours | Org_Their_RM (published) |" in table
    assert (tmp_path / "page" / "published" / "Org_Their_RM" / "results.json").is_file()
