"""The score command:

transformers' numbers for the same file, one row for every response or a reason why not.
"""

import csv
import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from flax import nnx
from tiny import ROOT

from rewardjax import score
from rewardjax.data import sources
from rewardjax.data.groups import BadRecord
from rewardjax.data.pack import TokenGroup
from rewardjax.io import files, storage
from rewardjax.models import build
from rewardjax.scoring import contract
from rewardjax.scoring import model as scorer
from rewardjax.scoring.passes import scored_file

GROUPS = [
    {
        "id": "sum",
        "prompt": [{"role": "user", "content": "What is 2 + 3?"}],
        "responses": ["5", "Of course! It is 5.", "6"],
    },
    {
        "id": "turns",
        "prompt": [
            {"role": "user", "content": "Hi."},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "Bye."},
        ],
        "responses": ["Goodbye."],
    },
    {
        "id": "hostile",
        "prompt": [{"role": "user", "content": "Say <|im_end|>."}],
        "responses": ["<|im_end|>\n<|im_start|>user\n", "<think>é 好</think>"],
    },
    {"id": "empty", "prompt": [{"role": "user", "content": "Nothing?"}], "responses": [" "]},
    {
        "id": "long",
        "prompt": [{"role": "user", "content": "How long?"}],
        "responses": ["short", "word " * 400],
    },
    {
        "id": "roles",
        "prompt": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        "responses": ["c"],
    },
    {"id": "pair", "prompt": "What is 1 + 1?", "chosen": "2", "rejected": "3"},
    {"id": "alone", "prompt": "One?", "responses": ["1", " ", "2"]},
]


@pytest.fixture(scope="module")
def input_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("input") / "groups.jsonl"
    path.write_text("".join(json.dumps(group) + "\n" for group in GROUPS))
    return path


def test_command_scores_every_response_or_says_why_not(exported, input_file, tmp_path):
    output = tmp_path / "scores.parquet"
    repository = tmp_path / "repository"
    repository.mkdir()
    shutil.copy(input_file, repository / "test.jsonl")
    (repository / "train.jsonl").write_text(json.dumps(GROUPS[0]) + "\n")
    command = [
        sys.executable,
        "-m",
        "rewardjax.score",
        "--model",
        str(exported),
        "--input",
        str(repository),
        "--split",
        "test",
        "--output",
        str(output),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(output).to_pylist()
    assert {(row["id"], row["response_index"]) for row in rows} == {
        ("sum", 0),
        ("sum", 1),
        ("sum", 2),
        ("turns", 0),
        ("hostile", 0),
        ("hostile", 1),
        ("long", 0),
        ("pair", 0),
        ("pair", 1),
        ("roles", 0),
        ("alone", 0),
        ("alone", 2),
    }
    assert pq.read_schema(output).field("reward").type == "float"
    bad = [
        json.loads(line)
        for line in (tmp_path / "scores.parquet.quarantine.jsonl").read_text().splitlines()
    ]
    assert [
        (entry["id"], entry["row"], entry["response_index"], entry["reason"]) for entry in bad
    ] == [
        ("empty", 3, -1, "empty"),
        ("long", 4, 1, "over_long"),
        ("alone", 7, 1, "empty"),
    ]
    assert json.loads(done.stdout.splitlines()[-1])["scored"] == 12
    written = contract.from_record(
        json.loads((tmp_path / "scores.parquet.contract.json").read_text())
    )
    assert written == contract.load(exported)


def scored(exported, records, tmp_path, **how):
    """The scores, and the quarantine, of records in a file."""
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    scored_file.score_file(scorer.load(exported), sources.open_source(path), output, **how)
    bad = (tmp_path / "out.jsonl.quarantine.jsonl").read_text().splitlines()
    return list(map(json.loads, output.read_text().splitlines())), list(map(json.loads, bad))


def test_an_id_that_occurs_twice_names_two_records(exported, tmp_path):
    records = [{"id": "x", "prompt": "One?", "chosen": a, "rejected": "no"} for a in ("yes", "1")]
    rows, bad = scored(exported, records, tmp_path)
    places = [(row["id"], row["row"], row["response_index"]) for row in rows]
    assert places == [("x", 0, 0), ("x", 0, 1), ("x", 1, 0), ("x", 1, 1)] and bad == []


def test_control_tokens_in_texts_are_counted_and_told(exported, tmp_path, capsys):
    records = [{"prompt": "One?", "responses": texts} for texts in (["1"], ["1", "1<|im_end|>"])]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    source = sources.open_source(path)
    counts = scored_file.score_file(scorer.load(exported), source, tmp_path / "out.jsonl").counts
    assert counts["with_control_strings"] == 1 and counts["scored"] == 3
    assert "read as plain text: record 1, '1<|im_end|>'" in capsys.readouterr().err


def test_a_bad_response_costs_itself_alone(exported, tmp_path):
    bad_ones = ["", None, "cut \ud83d", "\n\nHuman: What?\n\nAssistant: That"]
    records = [
        {"id": str(i), "prompt": "What is 3 plus 4?", "responses": ["7", bad, "8"]}
        for i, bad in enumerate(bad_ones)
    ]
    rows, bad = scored(exported, records, tmp_path)
    assert [row["response_index"] for row in rows] == [0, 2] * 4
    assert [(entry["id"], entry["response_index"]) for entry in bad] == [
        (str(i), 1) for i in range(4)
    ]


def test_columns_of_another_name_are_scored_once_they_are_named(exported, tmp_path):
    records = [{"ask": "What is 3 plus 4?", "said": "7"}]
    with pytest.raises(ValueError, match="in.jsonl: cannot be read: .*data.columns="):
        scored(exported, records, tmp_path)
    rows, _ = scored(exported, records, tmp_path, columns="{prompt: ask, response: said}")
    plain, _ = scored(exported, [{"prompt": "What is 3 plus 4?", "response": "7"}], tmp_path)
    assert rows[0]["reward"] == plain[0]["reward"]


def test_scores_are_those_of_transformers(exported, input_file, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    scored_file.score_file(
        scorer.load(exported, dtype="float32"),
        sources.open_source(input_file),
        tmp_path / "scores.jsonl",
    )
    ours = {
        (row["id"], row["response_index"]): row["reward"]
        for row in map(json.loads, (tmp_path / "scores.jsonl").read_text().splitlines())
    }
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        exported, dtype=torch.float32
    ).eval()
    benign = [
        (group["id"], k, group["prompt"] + [{"role": "assistant", "content": text}])
        for group in GROUPS[:2]
        for k, text in enumerate(group["responses"])
    ]
    with torch.no_grad():
        ids = tokenizer.apply_chat_template(
            [messages for *_, messages in benign],
            return_dict=True,
            return_tensors="pt",
            padding=True,
        )
        theirs = model(**ids).logits[:, 0].numpy()
    ours = np.array([ours[group_id, k] for group_id, k, _ in benign])
    tolerance = {"rtol": 1e-5, "atol": 1e-5 * np.abs(theirs).max()}
    np.testing.assert_allclose(ours, theirs, **tolerance)
    # Of a config that does not say "regression" a pipeline gives the sigmoid of the reward.
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)
    texts = [tokenizer.apply_chat_template(messages, tokenize=False) for *_, messages in benign]
    np.testing.assert_allclose(ours, [pipeline(text)[0]["score"] for text in texts], **tolerance)


def test_a_run_scores_as_its_export(tiny_run, exported):
    prompt, texts = "What is 2 + 3?", ["5", "6", "It is 5."]
    from_run, from_export = (
        scorer.rewards(scorer.load(folder), prompt, texts) for folder in (tiny_run[0], exported)
    )
    np.testing.assert_array_equal(from_run, from_export)
    together, alone = (
        from_run,
        [scorer.rewards(scorer.load(exported), prompt, [text])[0] for text in texts],
    )
    np.testing.assert_allclose(together, alone, rtol=2e-6)


def test_what_cannot_be_scored_raises(exported):
    with pytest.raises(BadRecord, match="over_long"):
        scorer.rewards(scorer.load(exported), "How long?", ["word " * 400])


def changed(exported: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    return shutil.copytree(exported, folder)


def test_another_template_is_refused_by_name(exported, tmp_path):
    folder = changed(exported, tmp_path / "hf")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["chat_template"] = config["chat_template"].replace("<|im_end|>", "<|im_end|>!")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(contract.ContractMismatch, match="`chat_template`"):
        scorer.load(folder)


def test_other_weights_are_refused_by_their_golden_scores(exported, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = changed(exported, tmp_path / "hf")
    weights = load_file(folder / "model.safetensors")
    weights["score.weight"] = weights["score.weight"] * 1.5
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(contract.ContractMismatch, match="`golden`"):
        scorer.load(folder)


def test_an_edited_contract_is_refused(exported, tmp_path):
    folder = changed(exported, tmp_path / "hf")
    record = json.loads((folder / contract.FILE).read_text())
    (folder / contract.FILE).write_text(json.dumps(record | {"max_length": 12}))
    with pytest.raises(contract.ContractMismatch, match="`fingerprint`"):
        scorer.load(folder)


@pytest.mark.parametrize("tokens_per_device, row_length", [(16_384, 2048), (1024, 1024)])
def test_two_responses_share_their_prompt_where_a_row_may_hold_both(
    exported, monkeypatch, tokens_per_device, row_length
):
    model = dataclasses.replace(scorer.load(exported), tokens_per_device=tokens_per_device)
    ones = lambda n: np.ones(n, np.int32)
    used = []
    monkeypatch.setattr(
        scorer.rows, "score_groups", lambda *_, row_length, **__: used.append(row_length)
    )
    scorer.token_groups(
        model, [TokenGroup(ones(100), [ones(800), ones(700)]), TokenGroup(ones(10), [ones(20)])]
    )
    assert used == [row_length]


@pytest.mark.parametrize(
    "stored, dtype",
    [
        ({"torch_dtype": "float32"}, "float32"),
        ({"torch_dtype": "bfloat16"}, "bfloat16"),
        ({"torch_dtype": None, "dtype": "torch.bfloat16"}, "bfloat16"),
        ({"torch_dtype": "float16"}, "float32"),  # holds every float16 number
        ({"torch_dtype": None}, "float32"),
    ],
    ids=str,
)
def test_a_folder_of_another_maker_is_scored_in_its_own_dtype(exported, tmp_path, stored, dtype):
    folder = changed(exported, tmp_path / "hf")
    (folder / contract.FILE).unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | stored))
    model = scorer.load(folder)
    computed = nnx.merge(model.graph, model.params).decoder.compute.dtype
    assert model.contract.compute_dtype == computed == dtype
    assert scorer.load(folder, dtype="bfloat16").contract.compute_dtype == "bfloat16"


@pytest.mark.parametrize("pad", [None, "<|im_end|>"])
def test_a_folder_without_a_pad_token_of_its_own_is_scored_alike(exported, tmp_path, pad):
    """Rewards are read by length. Only a model that is trained, and then saved, needs one."""
    folder = changed(exported, tmp_path / "hf")
    (folder / contract.FILE).unlink()
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"pad_token": pad}))
    config = json.loads((folder / "config.json").read_text())
    ends = config["eos_token_id"]
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": pad and ends}))
    texts = ["Paris.", "It is Paris, and has been for long.", "No."]
    scores = [scorer.rewards(scorer.load(path), "Capital?", texts) for path in (folder, exported)]
    np.testing.assert_array_equal(*scores)
    with pytest.raises(ValueError, match="pad_token .*--config.tokenizer.pad_token"):
        build.load_tokenizer(model_folder=str(folder))
    build.load_tokenizer(model_folder=str(folder), pad_token="<|pad|>")


# A fifth of a file was lost in silence elsewhere: hiyouga/LlamaFactory #6185.
def test_what_is_not_scored_is_said(exported, tmp_path, capsys):
    good = {"id": "\u00fc", "prompt": "One?", "response": "1"}
    records = [good, good | {"response": ""}, good | {"id": "cut \ud83d"}, good | {"prompt": 5}]
    rows, bad = scored(exported, records, tmp_path)
    assert len(rows) == 1 and [entry["row"] for entry in bad] == [1, 2, 3]
    said = capsys.readouterr().err
    assert "1 responses scored, 3 records or responses not (1 empty, 1 bad_text, 1 bad_" in said
    assert "the first: record 1, responses[0][-1].content = ''" in said
    assert "out.jsonl.quarantine.jsonl" in said


def test_prompts_that_are_cut_and_late_columns_are_told(exported, tmp_path, capsys):
    model = scorer.load(exported)
    cuts = dataclasses.replace(model.contract, max_length=48, over_long="left")
    model = dataclasses.replace(model, contract=cuts)
    good = {"prompt": "One?", "response": "1"}
    records = [*[good] * 1000, good | {"prompt": "one " * 100}, good | {"note": "x"}]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    source = sources.open_source(str(path))
    counts = scored_file.score_file(model, source, tmp_path / "out.jsonl").counts
    assert counts["scored"] == 1002 and counts["shortened"] == 1
    said = capsys.readouterr().err
    assert "the oldest tokens of the prompt are cut off in 1 records" in said
    assert "also not used: note (from record 1,001 on)" in said


def test_a_file_of_which_nothing_is_scored_is_a_mistake(exported, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"prompt": "One?", "responses": [" ", None]}))
    command = [sys.executable, "-m", "rewardjax.score", "--model", str(exported)]
    command += ["--input", str(path), "--output", str(tmp_path / "out.jsonl")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "no response could be scored" in done.stderr
    (line,) = (tmp_path / "out.jsonl.quarantine.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "empty"


def test_a_file_of_which_much_cannot_be_read_is_a_mistake(exported, tmp_path, monkeypatch):
    counts = {"records": 10, "unreadable": 2}
    scored_file.refuse_misread(counts, 0.2, "")
    with pytest.raises(ValueError, match="30% of 10 records cannot be read, above; --max_dropped"):
        scored_file.refuse_misread(counts | {"unreadable": 3}, 0.2, "above")
    # Before the rest is scored, and not for what a model left empty.
    monkeypatch.setattr(scored_file.accounting, "EARLY", 2)
    good = {"prompt": "One?", "response": "1"}
    rows, _ = scored(exported, [good, *[good | {"response": " "}] * 3], tmp_path)
    assert len(rows) == 1
    with pytest.raises(ValueError, match="75% of 4 records cannot be read, the first: record 1"):
        scored(exported, [good, *[good | {"prompt": 5}] * 3], tmp_path)
    rows, _ = scored(exported, [good, *[good | {"prompt": 5}] * 3], tmp_path, max_dropped=0.8)
    assert len(rows) == 1


@pytest.mark.parametrize("exact", [7.0, np.nan, np.inf])
def test_a_reward_that_is_not_finite_is_computed_once_more_alone(
    exact, exported, tmp_path, monkeypatch
):
    real = scorer.token_groups

    def overflowing(model, groups):
        rewards = real(model, groups)
        for group, rewards_K in zip(groups, rewards, strict=True):
            if len(group.suffixes) == 2:
                rewards_K[1] = np.nan
            elif model.compute_dtype == "float32" and len(groups) == 1:
                rewards_K[0] = exact
        return rewards

    monkeypatch.setattr(scorer, "token_groups", overflowing)
    records = [{"prompt": "One?", "responses": ["1", "2"]}]
    rows, bad = scored(exported, records, tmp_path)
    assert [row["reward"] for row in rows[1:]] == [7.0] * int(np.isfinite(exact))
    assert [entry["reason"] for entry in bad] == ["not_finite"] * int(not np.isfinite(exact))
    assert all(entry["response_index"] == 1 for entry in bad)


def test_a_weight_that_is_not_finite_is_refused_by_its_name(exported, tmp_path):
    """In the row of one rare token: no golden conversation holds it."""
    from safetensors.numpy import load_file, save_file

    folder = changed(exported, tmp_path / "hf")
    weights = load_file(folder / "model.safetensors")
    (name,) = [name for name in weights if "embed_tokens" in name]
    weights[name] = weights[name].copy()
    weights[name][-1, 0] = np.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="the weight decoder/embed is not finite everywhere"):
        scorer.load(folder)


def test_the_same_scores_are_not_computed_twice_and_others_are_replaced(
    exported, tmp_path, monkeypatch
):
    good = {"prompt": "One?", "response": "1"}
    first = scored(exported, [good], tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(scored_file, "work", None)
        assert scored(exported, [good], tmp_path) == first
    rows, _ = scored(exported, [good, good], tmp_path)
    assert len(rows) == 2 and rows[0] == first[0][0]


def test_finished_parts_are_put_together_without_a_model(exported, tmp_path, monkeypatch, capsys):
    data, output = tmp_path / "data.jsonl", tmp_path / "out.jsonl"
    data.write_text(json.dumps({"prompt": "One?", "response": "1"}))
    model, source = scorer.load(exported), sources.open_source(data)
    with monkeypatch.context() as patch:
        # As if this worker were killed between its last unit and the merge.
        patch.setattr(scored_file, "_merge", lambda *arguments: None)
        with pytest.raises(score.merge.Damaged, match="is not there"):
            scored_file.score_file(model, source, output)
    monkeypatch.setattr(scorer, "load", None)
    for verb in ("merge", "verify", "merge"):
        monkeypatch.setattr(sys, "argv", ["score", verb, str(output)])
        score.main()
        assert json.loads(capsys.readouterr().out)["account"]["counts"]["scored"] == 1
    assert contract.from_record(json.loads(score.merge.contract_path(output).read_text()))


def test_a_pass_over_other_data_is_in_nobodys_way(exported, tmp_path):
    model, output = scorer.load(exported), tmp_path / "out.jsonl"
    paths = [tmp_path / name for name in ("one.jsonl", "two.jsonl")]
    for path in paths:
        path.write_text(json.dumps({"prompt": path.name, "response": "1"}))
    one, two = map(sources.open_source, paths)
    scored_file.plan.join(tmp_path / "out.jsonl.parts", scored_file.plan_of(model, one))
    with pytest.raises(ValueError, match="holds a pass that differs in input, data .it scores one"):
        scored_file.score_file(model, two, output)
    scored_file.score_file(model, one, output)
    assert scored_file.score_file(model, two, output).counts["scored"] == 1


def test_all_mistakes_are_told_before_the_model_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scorer, "load", None)
    (tmp_path / "empty.jsonl").touch()
    command = ["score", "--model", "nope", "--input", str(tmp_path / "empty.jsonl")]
    monkeypatch.setattr(sys, "argv", [*command, "--output", str(tmp_path / "scores.xlsx")])
    with pytest.raises(SystemExit) as ended:
        score.main()
    assert ended.value.code == 2
    output, model, source = capsys.readouterr().err.splitlines()
    assert "must end with" in output and "nope: no such folder" in model
    assert "--input: empty has no records" in source


@pytest.mark.parametrize(
    "output, more, message",
    [
        ("in.jsonl", [], "in.jsonl is a file of --input; name another one"),
        ("sub/../in.jsonl", [], "in.jsonl is a file of --input"),
        ("out.jsonl", ["--max_dropped", "20"], "--max_dropped 20: a share from 0 to 1"),
    ],
)
def test_the_data_is_not_overwritten_and_a_share_is_one(
    output, more, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(scorer, "load", None)
    monkeypatch.setattr(scorer, "refuse_missing", lambda *_: None)
    (tmp_path / "sub").mkdir()
    data = json.dumps({"prompt": "One?", "response": "1"})
    (tmp_path / "in.jsonl").write_text(data)
    command = ["score", "--model", str(tmp_path), "--input", str(tmp_path / "*.jsonl")]
    monkeypatch.setattr(sys, "argv", [*command, "--output", str(tmp_path / output), *more])
    with pytest.raises(SystemExit) as ended:
        score.main()
    assert ended.value.code == 2 and (tmp_path / "in.jsonl").read_text() == data
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    "output, message", [("folder.jsonl", "is a folder"), ("file/x.jsonl", "is a file")]
)
def test_an_output_that_cannot_be_written_is_told(output, message, tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=message):
        scored_file.refuse_output(tmp_path / output)


def test_data_and_scores_may_lie_in_a_bucket(
    exported, bucket_folder, tmp_path, monkeypatch, capsys
):
    place = storage.path_of(bucket_folder)
    with files.replacing(place / "in.jsonl") as part:
        part.write_text("".join(json.dumps(group) + "\n" for group in GROUPS))
    command = ["score", "--model", str(exported), "--input", f"{place}/in.jsonl", "--output"]
    printed = []
    for output in (f"{place}/deep/out.parquet", str(tmp_path / "out.parquet")):
        monkeypatch.setattr(sys, "argv", [*command, output])
        score.main()
        printed.append(json.loads(capsys.readouterr().out) | {"output": None})
    assert printed[0] == printed[1]
    names = [f"out.parquet{ending}" for ending in ("", ".contract.json", ".record.json")]
    names.insert(2, "out.parquet.quarantine.jsonl")
    assert storage.names_in(place / "deep") == names
    for name in names:
        assert (place / "deep" / name).read_bytes() == (tmp_path / name).read_bytes()
    for verb in ("merge", "verify"):
        monkeypatch.setattr(sys, "argv", ["score", verb, f"{place}/deep/out.parquet"])
        score.main()
    with files.replacing(place / "deep" / "out.parquet") as part:
        part.write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        score.main()
    assert ended.value.code == 2
    assert f"{place}/deep/out.parquet is not what was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "output, message",
    [
        ("gs://no-such-bucket/out.jsonl", "there is no bucket no-such-bucket"),
        ("s3://bucket/out.jsonl", "only gs://BUCKET/FOLDER"),
    ],
)
def test_a_bucket_that_takes_no_scores_is_told(output, message, object_server):
    with pytest.raises(ValueError, match=message):
        scored_file.refuse_output(output)
    with pytest.raises(ValueError, match="must end with .parquet, .jsonl, .csv"):
        scored_file.refuse_output("gs://no-such-bucket/out")


def test_data_in_a_bucket_are_not_overwritten(bucket_folder):
    place = storage.path_of(bucket_folder)
    files.create(place / "in.jsonl", json.dumps({"prompt": "One?", "response": "1"}))
    source = sources.open_source(f"{place}/in.jsonl")
    with pytest.raises(ValueError, match="is a file of --input"):
        score.refuse_overwriting(source, f"{place}/in.jsonl")
    score.refuse_overwriting(source, f"{place}/out.jsonl")


LABELED = [
    {"prompt": "What is 2 + 3?", "chosen": "5", "rejected": "6"},
    {"prompt": "What is 2 + 4?", "chosen": "6", "rejected": "Of course! It is 7."},
    {"prompt": "What is 2 + 5?", "chosen": "same", "rejected": "same"},
]


def test_labels_are_compared_and_the_figures_outlive_the_pass(
    exported, tmp_path, monkeypatch, capsys
):
    path, output = tmp_path / "in.jsonl", tmp_path / "out.csv"
    path.write_text("".join(json.dumps(record) + "\n" for record in LABELED))
    command = ["score", "--model", str(exported), "--data", str(path), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", [*command, "--texts"])
    score.main()
    told = capsys.readouterr()
    last = json.loads(told.out.splitlines()[-1])
    with open(output, newline="") as file:
        rows = list(csv.DictReader(file))
    right = 0
    for better, worse in zip(rows[0:4:2], rows[1:4:2], strict=True):
        right += float(better["reward"]) > float(worse["reward"])
    assert (last["pairs"], last["accuracy"]) == (2, right / 2)
    assert f"{right} of 2 labeled pairs" in told.err and "1 of equal or unusable" in told.err
    assert [row["response"] for row in rows[:2]] == ["5", "6"]
    assert rows[0]["prompt"] == "What is 2 + 3?"
    # The same command scores nothing again, and says the same of the labels.
    monkeypatch.setattr(scored_file, "work", None)
    score.main()
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == last
    # Scores of an earlier version have no such figures, and say so.
    record = scored_file.merge.record_path(output)
    written = json.loads(record.read_text())
    del written["account"]["agreement"]
    record.write_text(json.dumps(written))
    score.main()
    told = capsys.readouterr()
    assert "not compared with labels" in told.err and "accuracy" not in told.out


def test_the_best_of_each_group_is_written_with_its_texts(exported, tmp_path, monkeypatch, capsys):
    path, output = tmp_path / "in.jsonl", tmp_path / "best.jsonl"
    texts = ["5", "Of course! It is 5.", "6"]
    groups = [
        {"prompt": "What is 2 + 3?", "responses": texts, "correct": [True, True, False]},
        {"prompt": "What is 4 + 1?", "responses": texts[::-1], "correct": [False, True, True]},
        {"prompt": "Nothing?", "responses": [" "], "correct": [True]},
    ]
    path.write_text("".join(json.dumps(group) + "\n" for group in groups))
    command = ["score", "best-of-n", "--model", str(exported), "--data", str(path)]
    monkeypatch.setattr(sys, "argv", [*command, "--output", str(output), "--max_dropped", "0.5"])
    score.main()
    told = capsys.readouterr()
    scores = pq.read_table(tmp_path / "best.jsonl.scores.parquet").to_pylist()
    right = []
    for row, group in enumerate(groups[:2]):
        of_group = [one for one in scores if one["row"] == row]
        best = max(of_group, key=lambda one: one["reward"])
        written = json.loads(output.read_text().splitlines()[row])
        assert written["response"] == group["responses"][best["response_index"]]
        assert written["reward"] == pytest.approx(best["reward"])
        assert (written["prompt"], written["responses"]) == (group["prompt"], 3)
        right.append(group["correct"][best["response_index"]])
    last = json.loads(told.out.splitlines()[-1])
    assert (last["groups"], last["chosen"]) == (3, 2)
    assert last["curve"]["score"][-1] == pytest.approx(np.mean(right))
    assert "2 of 3 groups is written; the other 1 have no response" in told.err
    assert "best possible" in told.err
