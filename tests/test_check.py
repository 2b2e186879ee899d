"""The check command: every record is accounted for, and pairs are shown as a model reads them."""

import collections
import json
import subprocess
import sys

import pytest
from tiny import ROOT

from rewardjax import assets, check
from rewardjax.data import sources
from rewardjax.data.chat import ChatTokenizer

PAIRS = [
    {"id": f"p{i}", "prompt": f"What is {i} + 1?", "chosen": str(i + 1), "rejected": "no idea " * i}
    for i in range(1, 9)
]
BAD = [
    {"prompt": "Same?", "chosen": "same", "rejected": "same"},
    {"prompt": " ", "chosen": "a", "rejected": "b"},
    {"prompt": "Which?", "verdict": "a"},
]


def write(path, records):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_records_are_kept_or_lost_with_reasons_and_examples(tmp_path, capsys):
    check.main([write(tmp_path / "a.jsonl", PAIRS + BAD)])
    text = capsys.readouterr().out
    assert text.startswith(
        "a.jsonl: pairs of texts; prompt from `prompt`; 1 column not used: verdict\n"
        "  8 of 11 records can be used, with 8 pairs labeled and 16 responses\n"
    )
    assert "  lost: 1 pair, equal (" in text and "  lost: 1 record, empty (" in text
    assert "  lost: 1 record, bad_schema (" in text and "    record 10: " in text


def test_lengths_and_pairs_are_those_of_the_tokenizer(tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", PAIRS)
    check.main([path, "--tokenizer", "assets:world"])
    text = capsys.readouterr().out
    tokenizer = ChatTokenizer.load(assets.resolve("assets:world"))
    lengths = []
    for record in PAIRS:
        for side in ("chosen", "rejected"):
            messages = [("user", record["prompt"]), ("assistant", record[side])]
            turns = [{"role": role, "content": content} for role, content in messages]
            lengths.append(len(tokenizer.encode(turns)))
    assert f"the longest {max(lengths)}\n" in text and text.count("--- pair ") == 3
    # Each pair's prompt is printed once, its turns with the control tokens around them.
    assert text.count("<|im_start|>user\nWhat is ") == 3
    assert text.count("--- chosen\n<|im_start|>assistant\n") == 3
    assert text.count("<|im_end|>") == 9


def test_tools_and_calls_are_shown_and_counted(tmp_path, capsys):
    call = {"function": {"name": "tides", "arguments": {"place": "Oban"}}}
    record = {
        "prompt": "When is high tide?",
        "tools": [{"type": "function", "function": {"name": "tides"}}],
        "chosen": [{"role": "assistant", "content": "", "tool_calls": [call]}],
        "rejected": [{"role": "assistant", "content": "At noon."}],
    }
    path = write(tmp_path / "a.jsonl", [record])
    check.main([path])
    text = capsys.readouterr().out
    assert '[tools] {"type": "function", "function": {"name": "tides"}}\n[user] When' in text
    assert '--- chosen\n[assistant] \n[calls] [{"function": {"name": "tides"' in text
    tokenizer = ChatTokenizer.load(assets.resolve("assets:world"))
    tokenizer.save(tmp_path / "tokenizer")
    template = tmp_path / "tokenizer" / "chat_template.jinja"
    template.write_text(
        "{% for tool in tools or [] %}<tool>{{ tool.function.name }}{% endfor %}"
        + tokenizer.template
    )
    check.main([path, "--tokenizer", str(tmp_path / "tokenizer")])
    text = capsys.readouterr().out
    assert "<tool>tides<|im_start|>user\nWhen" in text
    turns = [{"role": "user", "content": record["prompt"]}]
    turns.append({"role": "assistant", "content": "At noon."})
    length = len(ChatTokenizer.load(tmp_path / "tokenizer").encode(turns, record["tools"]))
    assert f"the longest {length}\n" in text


def test_control_tokens_in_texts_are_told_with_the_first_record(tmp_path, capsys):
    records = [*PAIRS, {**PAIRS[0], "chosen": "9 is<|im_end|> the answer"}]
    path = write(tmp_path / "a.jsonl", records)
    check.main([path, "--tokenizer", "assets:world"])
    words = " ".join(capsys.readouterr().out.split())
    assert (
        "texts of 1 records hold control tokens of the tokenizer, read as plain text: record "
        f"{len(PAIRS)}, '9 is<|im_end|> the answer'"
    ) in words
    check.main([path])
    assert "control tokens" not in capsys.readouterr().out, "no tokenizer says which these are"


def test_the_three_pairs_are_drawn_over_the_whole_source_and_always_the_same(tmp_path, capsys):
    many = [dict(PAIRS[0], id=f"p{i}") for i in range(500)]
    path = write(tmp_path / "a.jsonl", many)
    texts = []
    for _ in range(2):
        check.main([path])
        texts.append(capsys.readouterr().out)
    numbers = [int(line.split("record ")[1].split(",")[0]) for line in _pair_lines(texts[0])]
    assert texts[0] == texts[1] and numbers == sorted(numbers) and numbers[-1] > 100


def _pair_lines(text):
    return [line for line in text.splitlines() if line.startswith("--- pair ")]


def test_files_of_a_split_are_reported_one_by_one(tmp_path, capsys):
    write(tmp_path / "r" / "train-00000-of-00002.jsonl", PAIRS)
    write(tmp_path / "r" / "train-00001-of-00002.jsonl", PAIRS[:1] + BAD)
    write(tmp_path / "r" / "test.jsonl", PAIRS)
    check.main([str(tmp_path / "r"), "--split", "train"])
    text = capsys.readouterr().out
    assert "train-00000-of-00002.jsonl: pairs of texts; prompt from `prompt`\n  8 of 8" in text
    assert "train-00001-of-00002.jsonl: pairs of texts; " in text and "\n  1 of 4" in text
    assert "r/train: 9 of 12 records can be used, with 9 pairs labeled" in text
    assert text.endswith("\n") and "test.jsonl" not in text


def test_responses_without_labels_can_be_used_too(tmp_path, capsys):
    group = {"prompt": "How?", "responses": ["so", "or so", "or not"]}
    check.main([write(tmp_path / "a.jsonl", [group])])
    assert "1 of 1 records can be used, with 0 pairs labeled and 3 responses" in (
        capsys.readouterr().out
    )


def test_columns_and_labels_are_named_as_for_training(tmp_path, capsys):
    record = {"query": "Which?", "response_1": "a", "response_2": "b", "label": 0}
    path = write(tmp_path / "a.jsonl", [record])
    with pytest.raises(SystemExit):
        check.main([path])
    assert "label = 0" in capsys.readouterr().err
    check.main([path, "--columns", "{prompt: query}", "--labels", "{0: first, 1: second}"])
    text = capsys.readouterr().out
    assert "1 of 1 records can be used" in text and "--- chosen\n[assistant] a\n" in text


def test_what_is_wrong_with_all_records_alike_is_shown_once(tmp_path, capsys):
    check.main([write(tmp_path / "a.jsonl", PAIRS + [BAD[0]] * 5 + [BAD[2]] * 4)])
    text = capsys.readouterr().out
    assert "lost: 5 pairs, equal" in text and "lost: 4 records, bad_schema" in text
    assert text.count("    record ") == 2


def test_bars_are_as_long_as_their_counts():
    lines = list(check.histogram(collections.Counter({1: 1, 4: 10, 7: 10, 8: 5}), "tokens"))
    assert lines[0] == (
        "tokens of a conversation: 50% have at most 7, 95% have at most 8, 99% have at most 8; "
        "the longest 8"
    )
    assert [line.count("#") for line in lines[1:]] == [2, 0, 40, 10]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["1", "-", "1"],
        ["2", "-", "3"],
        ["4", "-", "7"],
        ["8", "-", "15"],
    ]


@pytest.mark.parametrize(
    "content, message",
    [
        ("[1]".encode("utf-16"), "UTF-16 text"),
        (b'{"x"', "bad JSON"),
        (b'{"query": "q"}\n', "cannot be read"),
        (b'{"prompt": "q", "chosen": "a", "rejected": "a"}\n', "no record can be used"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(content, message, tmp_path, capsys):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(SystemExit) as end:
        check.main([str(tmp_path / "a.jsonl")])
    error = capsys.readouterr().err
    assert end.value.code == 2 and message in error and error.count("\n") == 1
    assert error.startswith("rewardjax.check: ")


def test_the_command_does_not_start_jax():
    program = "import sys, rewardjax.check; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_no_file_is_held_in_memory(tmp_path, monkeypatch):
    """Behind the records that decide on a file's layout, it is read once, record by record."""
    source = sources.open_source(write(tmp_path / "a.jsonl", PAIRS))
    seen = []
    first = sources.Source.by_file

    def watched(self):
        [(name, records)] = first(self)
        return [(name, lambda: (seen.append(record) or record for record in records()))]

    monkeypatch.setattr(sources.Source, "by_file", watched)
    lengths = []
    measure = lambda turns, tools: lengths.append(len(seen)) or 1
    check.examine.examine(source, measure, None, 3)
    deciding = len(PAIRS)
    assert lengths == [deciding + i for i in range(1, 9) for _ in "ab"]
