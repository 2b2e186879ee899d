"""Every lost record is told: in a sentence, in a warning, or by stopping."""

import gzip

import pytest
from tiny_chat import make_tokenizer, pair_record, write_source

from rewardjax.data import accounting, sources
from rewardjax.data.accounting import FileAccount
from rewardjax.data.prepare import prepare, warnings_about

CHAT = make_tokenizer()


def prepared(source, cache, **changes):
    return prepare(source=source, tokenizer=CHAT, cache=cache, max_length=200, **changes)


def pairs_of(count):
    return [pair_record(f"question {i}", "yes", "no") for i in range(count)]


def unusable(count):
    return [pair_record(f"broken {i}", " ", "no") for i in range(count)]


def test_what_a_file_was_read_as_and_what_became_of_its_records(tmp_path, capsys):
    records = [record | {"model": "m"} for record in pairs_of(98)]
    records += [pair_record("same", "x", "x"), pair_record("long", "y" * 300, "x")]
    pairs = prepared(write_source(tmp_path / "a.jsonl", records), tmp_path / "cache")
    sentence = (
        "a.jsonl: pairs of texts; prompt from `prompt`; 1 column not used: model; "
        "98 of 100 records kept, dropped: 1 equal, 1 over-long"
    )
    assert capsys.readouterr().err.splitlines()[-1] == sentence
    # 1% each is not more than 1%.
    assert warnings_about(pairs) == []
    (file,) = pairs.manifest["files"]
    assert FileAccount(**file).sentence() == sentence and file["columns_not_used"] == ["model"]


def test_pairs_that_a_record_loses_are_told_beside_records_that_are_lost(tmp_path):
    records = [*pairs_of(5), *unusable(1), pair_record("same", "x", "x")]
    # Two pairs, one of which is too long.
    records.append({"prompt": "q", "responses": ["a", "b", "c" * 300], "correct": [1, 0, 0]})
    source = write_source(tmp_path / "a.jsonl", records)
    pairs = prepared(source, tmp_path / "cache")
    assert accounting.losses(pairs.manifest) == (
        "6 pairs of 6 records kept; pairs dropped: 1 equal, 1 over-long; records dropped: 1 empty"
    )
    sampled = prepared(source, tmp_path / "cache", pairs_per_group=1, part=(0.0, 0.999))
    assert "data.pairs_per_group" not in accounting.losses(sampled.manifest)


def test_files_are_counted_apart(tmp_path):
    write_source(tmp_path / "a.jsonl", pairs_of(30))
    write_source(tmp_path / "b.jsonl", pairs_of(30) + unusable(1))
    pairs = prepared(sources.open_source(f"{tmp_path}/*.jsonl"), tmp_path / "cache")
    assert [file["kept"] for file in pairs.manifest["files"]] == [30, 30]
    (warning,) = warnings_about(pairs)
    assert warning.startswith("warning: b.jsonl loses 3.2% unusable of 31 records, the first: resp")


def test_a_file_that_loses_too_much_stops_the_command(tmp_path):
    source = write_source(tmp_path / "a.jsonl", pairs_of(6) + unusable(2))
    for _ in range(2):  # built or from the cache
        with pytest.raises(ValueError, match=r"a.jsonl: 25% of 8 records .*data.max_dropped=0.2"):
            prepared(source, tmp_path / "cache")
    assert len(prepared(source, tmp_path / "cache", max_dropped=0.25)) == 6


def test_equal_and_long_records_do_not_stop_it(tmp_path):
    records = pairs_of(2) + [pair_record("q", "x", "x")] * 3 + [pair_record("q", "y" * 300, "x")]
    pairs = prepared(write_source(tmp_path / "a.jsonl", records), tmp_path / "cache")
    (warning,) = warnings_about(pairs)
    assert "loses 50.0% equal, 16.7% over-long of 6 records" in warning


def test_a_long_file_is_stopped_early(tmp_path, monkeypatch):
    monkeypatch.setattr(accounting, "EARLY", 10)
    source = write_source(tmp_path / "a.jsonl", unusable(3) + pairs_of(100))
    with pytest.raises(ValueError, match="30% of 10 records are unusable"):
        prepared(source, tmp_path / "cache")


def test_nothing_left_is_one_short_line(tmp_path):
    long = [pair_record("q", "y" * 5000, "x" * 5000)] * 50
    with pytest.raises(ValueError, match="0 of 50 records kept, dropped: 50 over-long") as caught:
        prepared(write_source(tmp_path / "a.jsonl", long), tmp_path / "cache")
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_rows_of_one_response_are_to_be_grouped(tmp_path):
    source = write_source(
        tmp_path / "a.jsonl", [{"prompt": "q", "response": "a", "helpfulness": 4}]
    )
    with pytest.raises(ValueError, match="group the rows of a prompt into one record"):
        prepared(source, tmp_path / "cache")


@pytest.mark.parametrize(
    "record, advice",
    [
        # TRL's and ColossalChat's data for KTO.
        ({"prompt": "q", "completion": "a", "label": True}, "unpaired labels, as for KTO"),
        ({"prompt": "q", "response_a": "a", "response_b": "b"}, "columns={label: COLUMN}"),
    ],
)
def test_records_that_can_only_be_scored_are_told_from_pairs(tmp_path, record, advice):
    source = write_source(tmp_path / "a.jsonl", [record])
    with pytest.raises(ValueError, match=advice):
        prepared(source, tmp_path / "cache")


def test_columns_and_labels_decide_and_are_part_of_the_fingerprint(tmp_path):
    records = [{"ask": "q", "response_a": "x", "response_b": "y", "label": i % 2} for i in range(4)]
    source = write_source(tmp_path / "a.jsonl", records)
    with pytest.raises(ValueError, match="data.labels="):
        prepared(source, tmp_path / "cache", columns={"prompt": "ask"})
    first, second = (
        prepared(source, tmp_path / "cache", columns={"prompt": "ask"}, labels=labels)
        for labels in ({0: "first", 1: "second"}, "{0: second, 1: first}")
    )
    assert first.fingerprint != second.fingerprint
    assert [x.suffixes[0].tolist() for x in first.load(range(4))] == [
        x.suffixes[1].tolist() for x in second.load(range(4))
    ]


def test_real_pairs_are_accounted_for(shared_data, tmp_path):
    path = tmp_path / "hh.jsonl"
    with gzip.open(shared_data / "hh_harmless" / "test.jsonl.gz", "rt") as lines:
        path.write_text("".join(line for line, _ in zip(lines, range(50), strict=False)))
    pairs = prepare(source=str(path), tokenizer=CHAT, cache=tmp_path / "c", max_length=100_000)
    (file,) = pairs.manifest["files"]
    lost = sum(file["dropped"].values())
    assert file["kept"] + lost == 50 and lost <= 1


def test_prompts_that_were_cut_are_counted(tmp_path, capsys):
    records = pairs_of(3) + [pair_record("z" * 300, "yes", "no"), pair_record("z", "y" * 300, "n")]
    source = write_source(tmp_path / "a.jsonl", records)
    pairs = prepared(source, tmp_path / "cache", over_long="left")
    said = "dropped: 1 over-long; the oldest tokens of the prompt are cut off in 1 records"
    assert said in capsys.readouterr().err
    assert pairs.manifest["files"][0]["shortened"] == 1
    prepared(source, tmp_path / "cache")
    assert "cut off" not in capsys.readouterr().err


def test_a_column_that_comes_late_is_named(tmp_path, capsys):
    records = pairs_of(1001)
    records += [record | {"note": "x", "id": "7"} for record in pairs_of(2)]
    records += [record | {"none": None, "system": "Be brief."} for record in pairs_of(1)]
    pairs = prepared(write_source(tmp_path / "a.jsonl", records), tmp_path / "cache")
    assert "also not used: note (from record 1,001 on)" in capsys.readouterr().err
    assert pairs.manifest["files"][0]["late_columns"] == {"note": 1001}
