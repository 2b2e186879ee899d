"""One bad row costs itself: whatever it is, the rows beside it are read and it is counted."""

import gzip
import json
import pickle

import pytest
from tiny_chat import make_tokenizer

from benchmarks import bad_row_cases
from rewardjax.data import formats, groups
from rewardjax.data.groups import BadRecord, Group, costing_one_record
from rewardjax.data.prepare import prepare
from rewardjax.data.sources import json_files, open_source
from rewardjax.data.sources.broken import Broken
from rewardjax.evaluators.benchmarks import pairs

CHAT = make_tokenizer()
GOOD = bad_row_cases.GOOD
ROWS = bad_row_cases.rows()
# As the issue on real files decided, and what cannot be told from good.
USED = {
    *("control_string", "extra_nested", "key_empty", "key_nul", "right_to_left", "terminal_codes"),
    *("two_systems", "content_parts", "margin_below_zero", "margin_under_float32", "no_spaces"),
    *("id_repeated", "id_true", "id_path", "id_long", "id_new_line", "over_long", "many_turns"),
    *("over_long_prompt", "calls_text", "calls_number", "calls_null", "calls_empty_object"),
    *("calls_huge", "reasoning_number", "reasoning_object", "all_private_use", "id_huge"),
}


def prepared(path, cache, **options):
    return prepare(source=str(path), tokenizer=CHAT, cache=cache, max_length=10**7, **options)


def test_every_bad_row_costs_itself_and_is_counted(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(bad_row_cases.beside_good_ones(list(ROWS.values())))
    records = prepared(path, tmp_path / "cache").manifest["records"]
    assert records["in"] == len(open_source(path)) == len(ROWS) * (GOOD + 1)
    assert records["kept"] >= len(ROWS) * GOOD
    assert sum(records.values()) == 2 * records["in"]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Each bad row's outcome as a group."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_bytes(bad_row_cases.beside_good_ones(list(ROWS.values())))
    read = list(formats.groups_of(open_source(path)))
    places = range(GOOD // 2, len(read), GOOD + 1)
    found = {}
    for name, place in zip(ROWS, places, strict=True):
        outcome = read[place][2]
        if isinstance(outcome, Group):
            try:
                outcome, bad = groups.check(outcome)
                outcome = next(iter(bad), outcome)
            except BadRecord as error:
                outcome = error
        found[name] = outcome
    return found


@pytest.mark.parametrize("name", sorted(ROWS.keys() - USED))
def test_a_row_that_cannot_be_used_has_its_reason(name, outcomes):
    outcome = outcomes[name]
    if isinstance(outcome, Group):
        assert not outcome.pairs, "it would be trained on"
    else:
        assert outcome.reason in groups.REASONS and outcome.detail
        assert (outcome.reason == "bad_line") == name.startswith("line_")


def test_a_broken_line_says_where_it_is_and_how_to_mend_it(outcomes):
    assert "rows.jsonl:" in outcomes["line_torn"].detail
    assert "iconv -f WINDOWS-1252" in outcomes["line_latin_1"].detail
    assert "jq -c" in outcomes["line_two_objects"].detail
    assert "two fields called 'chosen'" in outcomes["line_of_a_name_twice"].detail


def test_a_broken_row_goes_to_worker_processes(tmp_path):
    row = pickle.loads(pickle.dumps(Broken("a.jsonl:3: torn")))
    assert isinstance(row, Broken) and row.detail == "a.jsonl:3: torn"


def test_whoever_keeps_no_account_is_stopped_at_a_broken_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(bad_row_cases.beside_good_ones([ROWS["line_torn"]]))
    with pytest.raises(ValueError, match=r"rows\.jsonl:5: bad JSON"):
        list(open_source(path))


FILES = {
    "torn.jsonl": (9, "bad_line"),
    "zeros_behind.jsonl": (10, "bad_line"),
    "array_with_a_number.json": (9, "bad_line"),
    "short_row.csv": (9, "bad_line"),
    "latin_1.csv": (9, "bad_line"),
    "not_utf8.parquet": (9, "bad_line"),
    "nulls.parquet": (9, "bad_schema"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_one_bad_row_is_read(name, tmp_path):
    path = bad_row_cases.write(tmp_path, name, bad_row_cases.files()[name])
    manifest = prepared(path, tmp_path / "cache").manifest
    rows, reason = FILES[name]
    assert manifest["records"]["in"] == rows == len(open_source(path))
    assert manifest["records"]["kept"] == rows - 1
    assert {name: entry["records"] for name, entry in manifest["dropped"].items()} == {reason: 1}


# Sorted: the processes of a test run must collect the same tests in the same order.
@pytest.mark.parametrize("name", sorted(bad_row_cases.files().keys() - FILES.keys()))
def test_a_file_that_is_no_data_is_refused_in_a_sentence(name, tmp_path):
    path = bad_row_cases.write(tmp_path, name, bad_row_cases.files()[name])
    try:
        prepared(path, tmp_path / "cache")
    except ValueError as error:
        assert name.partition(".")[0] in str(error) and "\n" not in str(error)
    else:
        assert name in ("no_gzip.jsonl.gz", "dates.parquet"), "these hold good rows alone"


def test_more_than_a_fifth_of_broken_lines_stop_the_command(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(bad_row_cases.beside_good_ones([b"{"]) + b"{\n" * 3)
    with pytest.raises(ValueError, match=r"33% of 12 records are unusable \(4 bad_line\).*:5: bad"):
        prepared(path, tmp_path / "cache")


def test_a_file_of_which_most_lines_are_broken_is_of_another_kind(tmp_path):
    """Whatever share may be lost: what is left would be read by chance."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"key: value\n" * 10 + json.dumps(bad_row_cases.good(1)).encode())
    with pytest.raises(formats.Unreadable, match=r"rows\.jsonl:1: .*begins with 'key: value"):
        prepared(path, tmp_path / "cache", max_dropped=1.0)


def test_a_benchmark_lists_a_broken_line_as_left_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(bad_row_cases.beside_good_ones([b"{"]))
    examples = pairs.load(path)
    assert len(examples.items) == GOOD
    assert [entry["reason"] for entry in examples.left_out] == ["bad_line"]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_line_that_no_memory_could_hold_costs_itself(name, tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "LONGEST", 1000)
    # Of exactly one and of several pieces, with an end and without one.
    huge = [b'{"x": "' + b"a" * 994, b'{"x": "' + b"a" * 5000, b"b" * 2002]
    data = bad_row_cases.beside_good_ones(huge).removesuffix(b"\n") + b"\n" + b"c" * 3000
    path = tmp_path / name
    path.write_bytes(data)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(data))
    source = open_source(path)
    broken = [row.detail for row in source.rows() if isinstance(row, Broken)]
    assert len(broken) == 4 and len(source) == 3 * (GOOD + 1) + 1
    assert all("a line of more than" in detail for detail in broken)


def test_a_record_of_an_array_that_no_memory_could_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "LONGEST", 1000)
    monkeypatch.setattr(json_files, "CHUNK", 100)
    path = tmp_path / "rows.json"
    path.write_bytes(b'[{"x": "' + b"a" * 5000)
    with pytest.raises(ValueError, match=r"rows.json:1: a record of more than"):
        list(open_source(path).rows())


def test_a_file_that_changes_while_it_is_read_is_no_data_set(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(bad_row_cases.beside_good_ones([b"{}"]))
    source = open_source(path)
    rows = source.rows()
    next(rows)
    with open(path, "ab") as file:
        file.write(json.dumps(bad_row_cases.good(9)).encode() + b"\n")
    with pytest.raises(ValueError, match="changed while it was read"):
        list(rows)


# ------------------------------------------------------------------ what nobody foresaw


def test_whatever_a_value_raises_costs_one_record():
    for error in (KeyError("x"), ZeroDivisionError(), RecursionError(), StopIteration()):
        with pytest.raises(BadRecord, match=type(error).__name__), costing_one_record("here"):
            raise error
    with pytest.raises(NameError), costing_one_record("a bug of ours keeps its traceback"):
        raise NameError
    with pytest.raises(BadRecord, match="over_long"), costing_one_record("a reason stays as it is"):
        raise BadRecord("over_long", "too long")


def test_stop_iteration_does_not_end_the_data(tmp_path, monkeypatch):
    """It ended a data set of 1,001 records at the 500th, with exit code 0."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(bad_row_cases.beside_good_ones([json.dumps(bad_row_cases.good(77)).encode()]))
    real = CHAT.encode

    def stops(messages, tools=None):
        if "77" in messages[0]["content"]:
            raise StopIteration
        return real(messages, tools)

    monkeypatch.setattr(CHAT, "encode", stops)
    records = prepared(path, tmp_path / "cache").manifest["records"]
    assert (records["in"], records["kept"], records["dropped"]) == (9, 8, 1)


def test_a_tokenizer_that_fails_on_a_text_costs_its_record(monkeypatch):
    panic = type("PanicException", (BaseException,), {})
    chat = make_tokenizer()

    def fails(*_, **__):
        raise panic("called Result::unwrap() on an Err value")

    monkeypatch.setattr("tokenizers.Tokenizer.encode_batch_fast", fails, raising=False)
    messages = [{"role": "user", "content": "a text that was not encoded before"}]
    with pytest.raises(BadRecord, match="the tokenizer fails on"):
        chat.encode(messages)


def test_a_template_that_divides_by_zero_costs_its_record():
    chat = make_tokenizer(
        "{% for m in messages %}{% if 'zero' in m.content %}{{ 1 / 0 }}{% endif %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    )
    with pytest.raises(BadRecord, match="the chat template fails: division by zero"):
        chat.encode([{"role": "user", "content": "zero"}])


BLANK = [
    "",
    " \n",
    "\u200b",
    "\ufeff\u200d",
    "\u2060 \t",
    "\u3164",
    "\u2800\u115f",
    "\ufe0f \u034f",
]


@pytest.mark.parametrize("text", BLANK)
def test_what_shows_nothing_is_empty(text):
    group = Group(
        "a",
        [{"role": "user", "content": "a?"}],
        [[{"role": "assistant", "content": text}]],
        [],
    )
    assert groups.response_faults(group)[0].reason == "empty"


def test_a_table_says_which_row_is_broken(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(bad_row_cases.files()["not_utf8.parquet"])
    broken = [row for row in open_source(path).rows() if isinstance(row, Broken)]
    assert len(broken) == 1 and "a.parquet, row 8: 'utf-8' codec" in broken[0].detail
