"""Every data set of training_sets.py is read as its row of docs/data_sets.md says."""

import json
import pathlib

import pytest
import training_sets

from rewardjax import check
from rewardjax.data import formats, groups, sources

DOCS = pathlib.Path(__file__).parents[3] / "docs" / "data_sets.md"
HEADING = "## From repositories that train reward models"
BY_NAME = pytest.mark.parametrize(
    "data_set", training_sets.SETS, ids=[data_set.name for data_set in training_sets.SETS]
)


def write(path, data_set):
    path.write_text("".join(json.dumps(record) + "\n" for record in data_set.records))
    return path


def flags(data_set):
    given = []
    if data_set.columns:
        given += ["--columns", json.dumps(data_set.columns)]
    if data_set.labels:
        given += ["--labels", json.dumps(data_set.labels)]
    return given


def contents(messages):
    return [message["content"] for message in messages]


@BY_NAME
def test_a_data_set_is_read_or_refused_as_its_row_says(tmp_path, data_set):
    source = sources.open_source(write(tmp_path / "data.jsonl", data_set))
    mapped = data_set.columns, data_set.labels
    assert (data_set.layout == "refused") == (data_set.refused is not None)
    if data_set.refused is not None:
        with pytest.raises(ValueError, match=data_set.refused):
            formats.readings(source, *mapped)
        return
    (reading,) = formats.readings(source, *mapped)
    assert reading.layouts == (data_set.layout,)
    read = [groups.check(group)[0] for _, _, group in formats.groups_of(source, *mapped)]
    assert [
        (contents(group.prompt), [response[0]["content"] for response in group.responses], pairs)
        for group, pairs in ((group, group.pairs) for group in read)
    ] == data_set.groups


@BY_NAME
def test_check_says_how_each_is_read_in_a_line(tmp_path, capsys, data_set):
    command = [str(write(tmp_path / "data.jsonl", data_set)), *flags(data_set)]
    if data_set.refused is None:
        check.main(command)
        text = " ".join(capsys.readouterr().out.split())
        assert text.startswith(f"data.jsonl: {data_set.layout}")
        return
    with pytest.raises(SystemExit) as stop:
        check.main(command)
    message = capsys.readouterr().err
    assert stop.value.code == 2 and message.count("\n") == 1 and "data.jsonl" in message


def test_the_table_of_the_documentation_is_the_list_of_the_test():
    _, heading, section = DOCS.read_text().partition(HEADING)
    assert heading
    table = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("| ")]
    assert table[0] == "| data set | source of the shape | layout | how it is read |"
    assert table[2:] == [
        f"| {data_set.name} | {data_set.source} | {data_set.layout} | {data_set.how} |"
        for data_set in training_sets.SETS
    ]


def test_at_least_sixteen_data_sets_of_at_least_ten_repositories_that_train_reward_models():
    names = {data_set.name.split(",")[0] for data_set in training_sets.SETS}
    repositories = {data_set.source.split(":")[0] for data_set in training_sets.SETS}
    assert len(names) >= 16 and len(repositories) >= 10
