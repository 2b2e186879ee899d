"""Files that say what is true of pairs, and judges that answer from them."""

import json

import pytest
from judging import STANDARD

from rewardjax.curation.judges import prompts, scripted_server, truth_labels
from rewardjax.curation.judges.prompts import Example, Item
from rewardjax.curation.judges.scripted_judge import Behavior, Truth, answer, knows
from rewardjax.curation.judges.truth_labels import labels_of
from rewardjax.curation.ledger.rows import canonical
from rewardjax.data.groups import pair_id
from rewardjax.data.sources import open_source


def say(text: str) -> list[dict]:
    return [{"role": "assistant", "content": text}]


def ask(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def item_of(prompt, chosen, rejected, **more) -> tuple[Item, str]:
    """A pair, and which response of it is `chosen`."""
    a, b, chosen_is_a = canonical(chosen, rejected)
    item = Item(pair_id(prompt, a, b, more.get("tools")), prompt, (a, b), **more)
    return item, "ba"[chosen_is_a]


# Of several lengths, so that biases of length have something to lean on.
PAIRS = [
    item_of(ask(f"question {k}"), say("good " * (1 + k % 5)), say("bad " * (1 + k % 3)))
    for k in range(300)
]
TRUTH = Truth(labels={item.pair_id: value for item, value in PAIRS})


def written(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return open_source(path)


def said(behavior: Behavior, item: Item, shown: str, model: str = "m", sample: int = 0) -> str:
    body = {
        "model": model,
        "messages": prompts.judge_messages(item, shown, STANDARD),
        "seed": sample,
        "response_format": {"type": "json_schema"},
    }
    preferred = json.loads(answer(behavior, body, TRUTH, seed=0))["preferred"]
    return prompts.canonical_value(preferred, shown)


def opinions(behavior: Behavior, shown: str = "ab", **how) -> list[str]:
    return [said(behavior, item, shown, **how) for item, _ in PAIRS]


def share(flags) -> float:
    flags = list(flags)
    return sum(flags) / len(flags)


def share_right(values) -> float:
    return share(value == right for value, (_, right) in zip(values, PAIRS, strict=True))


# ------------------------------------------------------------------ files


def test_a_records_own_label_is_the_truth_whatever_its_format(tmp_path):
    prompt, good, bad = ask("q"), say("good"), say("bad")
    item, right = item_of(prompt, good, bad)
    as_messages = {"prompt": prompt, "chosen": good, "rejected": bad}
    as_turns = {
        "chosen": "\n\nHuman: q\n\nAssistant: good",
        "rejected": "\n\nHuman: q\n\nAssistant: bad",
    }
    by_verdict = {"input": "q", "output_1": "bad", "output_2": "good", "label": 2}
    for record in (as_messages, as_turns):
        assert labels_of(written(tmp_path / "a.jsonl", [record])) == {item.pair_id: right}
    # Of 1 and 2 it takes both to know which is which.
    other = {"input": "p", "output_1": "good", "output_2": "bad", "label": 1}
    assert labels_of(written(tmp_path / "b.jsonl", [by_verdict, other]))[item.pair_id] == right


def test_a_majority_counts_and_a_tie_is_a_tie(tmp_path):
    record = {"instruction": "q", "response1": "good", "response2": "bad"}
    votes = lambda *numbers: {f"annotator{k}": number for k, number in enumerate(numbers, 1)}
    records = [record | votes(1, 1, 2), record | {"instruction": "p"} | votes(1, 2, 0)]
    meaning = {"0": "tie", "1": "first", "2": "second"}
    table = labels_of(written(tmp_path / "a.jsonl", records), labels=meaning)
    first, right = item_of(ask("q"), say("good"), say("bad"))
    second, _ = item_of(ask("p"), say("good"), say("bad"))
    assert table == {first.pair_id: right, second.pair_id: "tie"}


def test_a_table_names_pairs_by_their_id(tmp_path):
    rows = [{"pair_id": item.pair_id, "value": value} for item, value in PAIRS]
    assert labels_of(written(tmp_path / "truth.jsonl", rows)) == TRUTH.labels


def test_records_with_texts_are_no_table_whatever_ids_they_carry(tmp_path):
    item, right = item_of(ask("q"), say("good"), say("bad"))
    texts = {"prompt": ask("q"), "chosen": say("good"), "rejected": say("bad")}
    source = written(tmp_path / "out.jsonl", [texts | {"pair_id": "x", "value": "tie"}])
    assert labels_of(source) == {item.pair_id: right}


@pytest.mark.parametrize("value", ["A", None, "undecided", 1])
def test_a_table_with_another_value_is_refused_with_its_record(tmp_path, value):
    rows = [{"pair_id": "x", "value": "a"}, {"pair_id": "y", "value": value}]
    with pytest.raises(
        ValueError, match="truth: record 1 has pair_id = 'y' and value = .*a, b, tie"
    ):
        labels_of(written(tmp_path / "truth.jsonl", rows))


def test_what_a_file_does_not_say_is_told(tmp_path, capsys):
    pair = {"prompt": ask("q"), "chosen": say("good"), "rejected": say("bad")}
    turned = pair | {"chosen": say("bad"), "rejected": say("good")}
    empty = pair | {"chosen": say(" ")}
    sound = pair | {"prompt": ask("p")}
    table = labels_of(written(tmp_path / "hh.jsonl", [pair, turned, empty, sound]))
    assert len(table) == 1
    assert "hh: 1 record says nothing: record 2: empty" in (told := capsys.readouterr().err)
    assert "hh: 1 pairs have contradicting labels and count as unknown" in told


def test_two_files_that_contradict_each_other_are_refused():
    agreeing = {"one.jsonl": {"x": "a"}, "two.jsonl": {"x": "a", "y": "tie"}}
    assert truth_labels.merged(agreeing) == {"x": "a", "y": "tie"}
    with pytest.raises(ValueError, match="two.jsonl says b about pair x, and --truth one.jsonl"):
        truth_labels.merged({"one.jsonl": {"x": "a"}, "two.jsonl": {"x": "b"}})


# ------------------------------------------------------------------ the pair of a request


CALL = {"type": "function", "function": {"name": "f", "arguments": '{"x": "[user]\\n"}'}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
HARD = [
    (ask("line\n\n[assistant]\nanother\n"), say("good\n"), say("\nbad")),
    (
        [{"role": "system", "content": "s"}, *ask("q"), *say("r"), *ask("{}")],
        say("[user] x"),
        say("]"),
    ),
    (ask("q"), [{**say("")[0], "tool_calls": [CALL]}], say("bad")),
]


@pytest.mark.parametrize("tools", [None, TOOLS])
@pytest.mark.parametrize(("prompt", "chosen", "rejected"), HARD)
def test_a_request_tells_which_pair_of_the_ledger_it_is_about(prompt, chosen, rejected, tools):
    item, _ = item_of(prompt, chosen, rejected, tools=tools)
    other, _ = item_of(ask("another"), say("x"), say("y"), tools=TOOLS)
    example = Example(other.pair_id, other.prompt, other.responses, "a", tools=TOOLS)
    with_example = Item(item.pair_id, item.prompt, item.responses, examples=(example,), tools=tools)
    for each in (item, with_example):
        for shown in ("ab", "ba"):
            read = prompts.read_back(prompts.judge_messages(each, shown, STANDARD))
            assert (read.pair_id, read.order) == (item.pair_id, shown)


# ------------------------------------------------------------------ judges


@pytest.mark.parametrize("shown", ["ab", "ba"])
def test_a_judge_names_the_labeled_response_as_often_as_it_is_told_to(shown):
    assert share_right(opinions(Behavior(accuracy=1.0), shown)) == 1.0
    assert share_right(opinions(Behavior(accuracy=0.0), shown)) == 0.0
    assert share_right(opinions(Behavior(accuracy=0.8), shown)) == pytest.approx(0.8, abs=0.07)


def test_a_position_bias_and_a_length_bias_have_the_stated_size():
    leaning = opinions(Behavior(accuracy=0.5, position_bias=0.6), "ab")
    assert share(value == "a" for value in leaning) == pytest.approx(0.6 + 0.4 * 0.5, abs=0.08)
    long = opinions(Behavior(accuracy=1.0, length_bias=0.5))
    wrong = [value != right for value, (_, right) in zip(long, PAIRS, strict=True)]
    # Half of the pairs whose better response is the shorter one are lost, and no others.
    shorter = []
    for item, right in PAIRS:
        a, b = (len(response[0]["content"]) for response in item.responses)
        shorter.append((a < b) == (right == "a") and a != b)
    assert share(
        one for one, is_shorter in zip(wrong, shorter, strict=True) if is_shorter
    ) == pytest.approx(0.5, abs=0.15)
    assert not any(one for one, is_shorter in zip(wrong, shorter, strict=True) if not is_shorter)


def test_the_pairs_that_a_judge_does_not_know_are_its_own_in_every_sample_and_order():
    behavior = Behavior(accuracy=1.0, unknown=0.2)
    unknown = [value == "tie" for value in opinions(behavior)]
    assert share(unknown) == pytest.approx(0.2, abs=0.07)
    for how in ({"shown": "ba"}, {"sample": 1}):
        assert [value == "tie" for value in opinions(behavior, **how)] == unknown
    assert [value == "tie" for value in opinions(behavior, model="another")] != unknown
    # Who does not look needs not know.
    assert "tie" not in opinions(Behavior(position_bias=1.0, unknown=1.0))


def test_who_does_not_know_some_pairs_says_the_same_about_the_others():
    before, after = opinions(Behavior(accuracy=0.7)), opinions(Behavior(accuracy=0.7, unknown=0.3))
    for one, other in zip(before, after, strict=True):
        assert other in (one, "tie")


def test_answers_are_repeated_and_differ_by_judge_and_sample():
    behavior = Behavior(accuracy=0.6, systematic=0.0)
    assert opinions(behavior) == opinions(behavior)
    assert opinions(behavior) != opinions(behavior, sample=1)
    assert opinions(behavior) != opinions(behavior, model="another")


def test_a_labeled_tie_and_a_pair_of_no_file_get_no_preference():
    item, _ = PAIRS[0]
    tie = Truth(labels={item.pair_id: "tie"})
    messages = prompts.judge_messages(item, "ab", STANDARD)
    body = {"model": "m", "messages": messages, "response_format": {"type": "json_schema"}}
    for truth, is_known in ((tie, True), (Truth(), False)):
        assert knows(prompts.read_back(messages), truth) is is_known
        preferred = json.loads(answer(Behavior(accuracy=1.0), body, truth, 0))["preferred"]
        assert preferred == "No preference"


# ------------------------------------------------------------------ the command


def test_the_command_reads_truth_of_several_files(tmp_path, capsys):
    written(tmp_path / "a.jsonl", [{"pair_id": "x", "value": "a"}])
    record = {"prompt": ask("q"), "chosen": say("good"), "rejected": say("bad")}
    written(tmp_path / "b.jsonl", [record])
    files = [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    flags = ["--judge", "one", "--truth", files[0], "--truth", files[1]]
    truth = scripted_server.read_truth(scripted_server.parser().parse_args(flags))
    item, right = item_of(record["prompt"], record["chosen"], record["rejected"])
    assert truth.labels == {"x": "a", item.pair_id: right}
    assert f"{files[1]}: the labels of 1 pairs are the truth" in capsys.readouterr().err


def test_a_server_that_would_know_nothing_is_refused():
    with pytest.raises(ValueError, match="--source or --truth"):
        scripted_server.read_truth(scripted_server.parser().parse_args(["--judge", "one"]))


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ("x:accuracy=1.5", "accuracy = 1.5 is not in"),
        ("x:accuracy=good", "accuracy = 'good' is not a number"),
        ("x:unknown=-1", "unknown = -1 is not in"),
        ("x:strict=true", "strict is True or False, not 'true'"),
        ("x:bias=1", "'bias' is not one of"),
    ],
)
def test_a_wrong_setting_of_a_judge_is_refused_with_its_field(judge, message):
    with pytest.raises(ValueError, match=message):
        scripted_server.parse_judge(judge)
    assert scripted_server.parse_judge("x:latency=2")[1].latency == 2
