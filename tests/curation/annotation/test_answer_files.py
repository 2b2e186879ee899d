"""Files as people and tools send them: what is an answer is stored, and everything else is said.

Each shape is written here with the ids of a real queue.
"""

import csv
import io
import json

import pytest
from answering import DESCRIBED, counts

PEOPLE = ("--person", "1=ann", "--person", "2=bob", "--commit")


def rows_of(board, choice="left"):
    return [{"task": id, "choice": choice, "seconds": 20.0} for id in board.ids]


def table(rows, delimiter=",", **options):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, **options)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def assert_all(board, choice="left"):
    assert board.choices() == dict.fromkeys(board.ids, choice)


# ------------------------------------------------------------------ JSON lines and arrays


@pytest.mark.parametrize(
    "written",
    [
        lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
        lambda rows: "\r\n".join(map(json.dumps, rows)),
        lambda rows: "\r".join(map(json.dumps, rows)),
        lambda rows: "\n\n".join(map(json.dumps, rows)),
        lambda rows: ("\ufeff" + "\n".join(map(json.dumps, rows))).encode(),
        lambda rows: ("\ufeff" + "\n".join(map(json.dumps, rows))).encode("utf-16-le"),
        lambda rows: "\n".join(map(json.dumps, reversed(rows))),
        lambda rows: json.dumps(rows),
        lambda rows: json.dumps(rows, indent=2),
        lambda rows: "\n".join(json.dumps(row, indent=1) for row in rows),
        lambda rows: json.dumps({"answers": rows}),
        lambda rows: json.dumps({"data": rows}),
        # pandas: orient="columns", "index" and "split"
        lambda rows: json.dumps({n: {str(i): r[n] for i, r in enumerate(rows)} for n in rows[0]}),
        lambda rows: json.dumps({str(i): row for i, row in enumerate(rows)}),
        lambda rows: json.dumps({"columns": list(rows[0]), "data": [[*r.values()] for r in rows]}),
        lambda rows: json.dumps({row["task"]: row["choice"] for row in rows}),
        lambda rows: json.dumps({row["task"]: {"choice": row["choice"]} for row in rows}),
    ],
)
def test_json_in_any_arrangement_is_read(board, written):
    code, said, _ = board.take("back", written(rows_of(board)))
    assert code == 0 and counts(said) == (16, 0, 0)
    assert_all(board)


@pytest.mark.parametrize("name", ["answer", "label", "preference", "Choice", "winner"])
def test_the_choice_may_have_another_name(board, name):
    rows = [{"Task ID ": row["task"], name: "left"} for row in rows_of(board)]
    assert board.take("back", rows)[0] == 0
    assert_all(board)


def test_the_task_file_with_a_choice_filled_in_is_read(board):
    rows = [row | {"choice": "right"} for row in board.shown()]
    assert board.take("back", rows)[0] == 0
    assert_all(board, "right")


def test_some_of_the_answers_leave_the_others_missing(board):
    code, said, _ = board.take("back", rows_of(board)[:8])
    assert code == 0 and counts(said) == (8, 0, 8)
    code, said, _ = board.take("rest", rows_of(board)[8:])
    assert code == 0 and counts(said) == (8, 0, 0)
    assert_all(board)


def test_one_bad_line_costs_itself_and_is_named_by_its_number(board):
    lines = [json.dumps(row) for row in rows_of(board)]
    # A line separator within a text does not count as a line.
    lines[3] = json.dumps(rows_of(board)[3] | {"note": "a\u2028b"}, ensure_ascii=False)
    lines[9] = lines[9].replace("}", ",}")
    code, said, _ = board.take("back", "\n".join(lines))
    assert code == 0 and counts(said) == (15, 1, 1)
    assert "back, line 10: not JSON" in said and board.ids[9] in said


def test_one_bad_record_of_an_array_costs_itself(board):
    lines = [json.dumps(row) for row in rows_of(board)]
    lines[9] = lines[9].replace("}", ",}")
    code, said, _ = board.take("back", "[\n" + ",\n".join(lines) + "\n]")
    assert code == 0 and counts(said) == (15, 1, 1) and "back, line 11: not JSON" in said
    # A download that ended early.
    code, said, _ = board.take("cut", json.dumps(rows_of(board), indent=1)[:-200])
    assert code == 0 and "cut, line" in said and "nothing new" in said


@pytest.mark.parametrize(
    "content, reason",
    [
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("[]", "no record is in it"),
        ("task,choice\n", "no record is in it"),
        ("<html>Log in</html>", "HTML"),
        (b"PK\x03\x04....", "save it as CSV UTF-8"),
        (b"PAR1....", "Parquet"),
        (b"\x1f\x8b....", "compressed"),
        (b'{"task": "caf\xe9", "choice": "left"}', "not UTF-8"),
        ("left\nright\n", "neither JSON lines, JSON nor CSV"),
        ('{"note": "hello", "task": ""}', "no field `task`"),
        ('{"task": "e7fdb29ca155eb57", "choice": "left"}', "is in no queue of this workspace"),
        ('{"task": 1.23e15, "choice": "left"}', "took for a number"),
        ("task,choice\n1.23E+15,left\n", "took for a number"),
    ],
)
def test_a_file_without_an_answer_changes_nothing_and_is_one_line(board, content, reason):
    for flags in ((), ("--commit",), ("--commit", "--close")):
        code, _, said = board.take("back", content, flags)
        assert code == 2 and said.count("\n") == 1 and reason in said, said
    assert board.stored() == {}
    assert board.take("right", rows_of(board))[0] == 0
    assert_all(board)


def test_an_unreadable_file_does_not_cost_the_others(board):
    bad, good = board.file("bad", b"PK\x03\x04"), board.file("good", rows_of(board))
    code, said, _ = board.give(bad, good)
    assert code == 0 and counts(said) == (16, 1, 0) and "spreadsheet" in said
    assert board.give(board.folder / "nowhere.jsonl")[0] == 2


# ------------------------------------------------------------------ tables


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff", "sep=\n"])
def test_tables_are_read_with_any_delimiter(board, delimiter, start):
    start = start.replace("sep=", f"sep={delimiter}")
    content = start + table(rows_of(board), delimiter)
    assert board.take("back.csv", content)[0] == 0
    assert_all(board)


def test_a_table_with_the_texts_in_it_is_read(board):
    rows = []
    for shown in board.shown():
        cells = {name: json.dumps(value) for name, value in shown.items() if name != "task"}
        rows.append({"task": shown["task"]} | cells | {"choice": "left", "annotator": ""})
    assert board.take("back.csv", table(rows))[0] == 0
    assert_all(board)


def test_texts_that_a_spreadsheet_changed_in_blanks_only_are_the_same(board):
    rows = []
    for record in board.shown("label_studio"):
        shown = record["data"]
        spoiled = {name: shown[name].replace("\n", "\r\n") + " " for name in ("prompt", "left")}
        rows.append({"task": shown["task"], "choice": "left"} | spoiled)
    code, said, _ = board.take("back.csv", table(rows))
    assert code == 0 and counts(said) == (16, 0, 0)


def test_bad_rows_of_a_table_are_named_by_their_lines(board):
    lines = table([row | {"note": "two\nlines"} for row in rows_of(board)]).split("\r\n")
    lines[3] = lines[3].replace('"two', "left,left,two")
    lines[5] = lines[5].replace(",20.0", ',"20.0')
    code, said, _ = board.take("back.csv", "\r\n".join(lines))
    assert code == 0 and counts(said)[0] >= 13
    # Each row has two lines, after the header: the third begins at line 6.
    assert "back.csv, line 6: 5 cells under 4 names" in said or "line 6" in said
    assert "line 10: not a row of CSV" in said


def test_empty_rows_and_cells_are_no_answers(board):
    rows = rows_of(board)
    for row in rows[10:]:
        row["choice"] = ""
    code, said, _ = board.take("back.csv", table(rows) + ",,\n,,\n")
    assert code == 0 and counts(said) == (10, 6, 6)
    assert "back.csv, lines 12-17: no answer: its choice is empty" in said


# ------------------------------------------------------------------ Label Studio


def region(side):
    return {"from_name": "pw", "to_name": "left", "type": "pairwise", "value": {"selected": side}}


def verdict(word):
    value = {"choices": [word]}
    return {"from_name": "verdict", "to_name": "prompt", "type": "choices", "value": value}


def annotation(side="right", by=1, word="clear", **changes):
    regions = [region(side)]
    if word:
        regions.append(verdict(word))
    return {"completed_by": by, "result": regions, "was_cancelled": False, "lead_time": 21.3} | (
        changes
    )


def number_of(task):
    return {"ann": 1, "bob": 2}[task.annotator]


def exported(board, **changes):
    """The tasks as Label Studio exports them, each annotated by its annotator."""
    records = board.shown("label_studio")
    for i, (record, task) in enumerate(zip(records, board.tasks, strict=True), 1):
        record |= {"id": i, "annotations": [annotation(by=number_of(task), **changes)]}
        record |= {"drafts": [], "predictions": []}
    return records


def test_label_studio_json_is_booked_to_who_completed_it(board):
    code, said, _ = board.take("export.json", json.dumps(exported(board)), PEOPLE)
    assert code == 0 and counts(said) == (16, 0, 0)
    assert {(each.task, each.annotator) for each in board.stored().values()} == {
        (task.id, task.annotator) for task in board.tasks
    }
    assert_all(board, "right")
    assert {each.seconds for each in board.stored().values()} == {21.3}


def test_a_person_who_was_not_named_is_refused_with_the_flag_that_names_them(board):
    content = json.dumps(exported(board))
    code, _, said = board.take("export.json", content)
    assert code == 2 and said.count("\n") == 1 and "--person 1=NAME" in said
    code, said, _ = board.give(board.folder / "export.json", flags=("--person", "1=ann"))
    assert code == 0 and "'2' is not an annotator (ann, bob)" in said
    assert counts(said) == (len(board.of("ann")), len(board.of("bob")), len(board.of("bob")))
    code, _, said = board.give(board.folder / "export.json", flags=("--person", "1=zed"))
    assert code == 2 and "'zed' is not one of ann, bob" in said


@pytest.mark.parametrize(
    "completed_by",
    [
        lambda number: {"id": number, "email": f"p{number}@x.org", "first_name": ""},
        lambda number: {"email": f"p{number}@x.org"},
        lambda number: f"p{number}@x.org",
    ],
)
def test_a_person_may_be_an_e_mail_or_an_object(board, completed_by):
    records = exported(board)
    for record, task in zip(records, board.tasks, strict=True):
        record["annotations"][0]["completed_by"] = completed_by(number_of(task))
    flags = ("--person", "p1@x.org=ann", "--person", "p2@x.org=bob", "--commit")
    assert board.take("export.json", json.dumps(records), flags)[0] == 0
    assert_all(board, "right")


def test_two_people_about_each_task_are_two_opinions(board):
    records = exported(board)
    for record, task in zip(records, board.tasks, strict=True):
        record["annotations"].append(annotation("left", by=3 - number_of(task)))
    code, said, _ = board.take("export.json", json.dumps(records), PEOPLE)
    assert code == 0 and counts(said) == (32, 0, 0)
    stored = board.stored()
    for task in board.tasks:
        other = {"ann": "bob", "bob": "ann"}[task.annotator]
        assert stored[task.id, task.annotator].choice == "right"
        assert stored[task.id, other].choice == "left"


def test_label_studio_says_more_than_a_side(board):
    records = exported(board)
    ids = board.ids
    records[0]["annotations"][0] = annotation("left", number_of(board.tasks[0]), "no_preference")
    records[1]["annotations"][0] = annotation("left", number_of(board.tasks[1]), "slight")
    records[2]["annotations"][0]["was_cancelled"] = True
    records[3]["annotations"] = []
    records[4] |= {"annotations": [], "drafts": [{"result": [region("left")]}]}
    records[5]["annotations"][0]["result"] = []
    records[6]["annotations"][0]["result"][1]["value"] = {"choices": ["maybe"]}
    code, said, _ = board.take("export.json", json.dumps(records), PEOPLE)
    assert code == 0 and counts(said) == (11, 5, 5)
    assert board.choices()[ids[0]] == "no_preference" and board.choices()[ids[1]] == "left"
    for line in (
        "record 3: no answer: it was skipped",
        "record 4: no answer: nobody annotated it",
        "record 5: no answer: there is only a draft",
        "record 6: no answer: its choice is empty",
        "record 7: verdict = 'maybe' is not one of clear, slight",
    ):
        assert line in said


def test_label_studio_with_choices_instead_of_a_pairwise_tag(board):
    records = exported(board)
    for record in records:
        value = {"choices": ["Left"]}
        picked = {"from_name": "better", "to_name": "prompt", "type": "choices", "value": value}
        record["annotations"][0]["result"] = [picked]
    assert board.take("export.json", json.dumps(records), PEOPLE)[0] == 0
    assert_all(board)


def minimal(board, pw):
    rows = []
    for i, (record, task) in enumerate(zip(board.shown("label_studio"), board.tasks, strict=True)):
        own = {"id": i, "annotator": number_of(task), "annotation_id": i, "lead_time": 3.0}
        rows.append(record["data"] | own | {"pw": pw, "verdict": "clear", "updated_at": "x"})
    return rows


@pytest.mark.parametrize("pw", [[{"selected": "right"}], {"selected": "right"}, "right"])
def test_label_studio_json_min_is_read(board, pw):
    code, said, _ = board.take("min.json", json.dumps(minimal(board, pw)), PEOPLE)
    assert code == 0 and counts(said) == (16, 0, 0)
    assert_all(board, "right")


@pytest.mark.parametrize("pw", ["right", '[{"selected": "right"}]'])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_label_studio_csv_is_read(board, pw, delimiter):
    rows = minimal(board, pw)
    for row in rows:
        row["attributes"] = json.dumps(row["attributes"])
    code, said, _ = board.take("export.csv", table(rows, delimiter), PEOPLE)
    assert code == 0 and counts(said) == (16, 0, 0)
    assert_all(board, "right")


# ------------------------------------------------------------------ Argilla


def argilla_1(task, fields, number):
    response = {"user_id": number, "values": {"preference": {"value": "left"}}}
    responses = [response | {"status": "submitted"}]
    return {"id": f"{task.id[:4]}-uuid", "fields": fields, "metadata": {"task": task.id}} | {
        "responses": responses
    }


def argilla_2(task, fields, number):
    responses = {"preference": [{"value": "left", "user_id": number}], "comment": []}
    return {"id": task.id, "fields": fields, "metadata": {}, "responses": responses}


def argilla_flat(task, fields, number):
    answered = {"preference.responses": ["left"], "preference.responses.users": [number]}
    status = {"preference.responses.status": ["submitted"], "comment.responses": ["why not"]}
    return {"id": task.id, "status": "completed"} | fields | answered | status


@pytest.mark.parametrize("record", [argilla_1, argilla_2, argilla_flat])
def test_argilla_records_are_read(board, record):
    shown = board.shown("label_studio")
    rows = []
    for task, each in zip(board.tasks, shown, strict=True):
        fields = {name: each["data"][name] for name in ("prompt", "left", "right")}
        rows.append(record(task, fields, str(number_of(task))))
    code, said, _ = board.take("records.json", json.dumps(rows), PEOPLE)
    assert code == 0 and counts(said) == (16, 0, 0), said
    assert_all(board)


def test_an_argilla_response_that_was_not_submitted_is_no_answer(board):
    rows = [argilla_1(task, {}, str(number_of(task))) for task in board.tasks]
    rows[2]["responses"][0]["status"] = "discarded"
    rows[3]["responses"] = []
    code, said, _ = board.take("records.json", json.dumps(rows), PEOPLE)
    assert code == 0 and counts(said) == (14, 2, 2)
    assert "record 3: no answer: its status is 'discarded'" in said


# ------------------------------------------------------------------ words, numbers, edits


def test_words_are_read_where_they_can_mean_one_thing(board):
    words = ["Left", "right ", "A", "1", "tie", "", None, "both_bad", "LEFT", "no preference"]
    words += ["equal", "skip", "Can\u2019t decide", '"left"', True, "Response right"]
    rows = [{"task": id, "choice": word} for id, word in zip(board.ids, words, strict=True)]
    code, said, _ = board.take("back", rows)
    assert code == 0 and counts(said) == (9, 7, 7)
    choice = dict(zip(map(str, words), board.ids, strict=True))
    read = board.choices()
    assert read[choice["Left"]] == read[choice["LEFT"]] == read[choice['"left"']] == "left"
    assert read[choice["right "]] == read[choice["Response right"]] == "right"
    assert read[choice["tie"]] == read[choice["equal"]] == "no_preference"
    assert read[choice["no preference"]] == "no_preference"
    assert read[choice["Can\u2019t decide"]] == "cannot_decide"
    assert "lines 6-7: no answer: its choice is empty" in said
    for number, word in ((3, "'A'"), (4, "'1'"), (8, "'both_bad'"), (12, "'skip'"), (15, "True")):
        assert f"line {number}: choice = {word} is not one of left, right" in said


def test_a_word_that_the_user_explained_is_read(board):
    words = ["A", 1, 2.0] * 6
    rows = [{"task": id, "choice": word} for id, word in zip(board.ids, words, strict=False)]
    flags = ("--choice", "a=left", "--choice", "1=right", "--choice", "2=cannot_decide")
    code, said, _ = board.take("back", rows, (*flags, "--commit"))
    assert code == 0 and counts(said) == (16, 0, 0)
    read = list(map(board.choices().get, board.ids))
    assert read[:3] == ["left", "right", "cannot_decide"]
    for wrong in ("1=first", "1", "1=left --choice 1=right"):
        code, _, said = board.take("back", rows, ("--choice", *wrong.split()))
        assert code == 2 and "--choice 1" in said and said.count("\n") == 1


def test_numbers_are_read_and_words_in_their_place_are_refused(board):
    values = [0.9, 90, "high", None, "0.8", 1, 0, -1, True, "0,8", float("nan"), "", "1e400", {}]
    rows = rows_of(board)
    for row, value in zip(rows, values, strict=False):
        row["confidence"] = value
    rows[14]["seconds"] = "fast"
    rows[15]["seconds"] = "12.5"
    code, said, _ = board.take("back", rows)
    assert code == 0 and counts(said) == (8, 8, 8)
    confidence = {task: answer.confidence for (task, _), answer in board.stored().items()}
    read = [confidence.get(id, "refused") for id in board.ids]
    assert [read[i] for i in (0, 3, 4, 5, 6)] == [0.9, None, 0.8, 1.0, 0.0]
    # NaN is what pandas writes for an empty cell.
    assert [read[i] for i in (10, 11, 15)] == [None, None, None]
    assert "confidence = 'high' is not a number between 0 and 1" in said
    assert "seconds = 'fast' is not a number of seconds" in said


def test_edits_are_read_only_where_they_are_legal(board):
    edits = [
        {"objectivity": "Subjective", "annotation_guideline": "Prefer the refusal."},
        {"category": "Math"},
        {"objectivity": "subjective", "task_category": "Safety"},
        {"annotation_guideline": ""},
        {"desired_attributes": 3},
        "be nice",
        {},
        '{"controversiality": "High"}',
    ]
    rows = rows_of(board)
    for row, edited in zip(rows, edits, strict=False):
        row["edits"] = edited
    code, said, _ = board.take("back", rows)
    assert code == 0 and counts(said) == (11, 5, 5)
    assert "line 2: edits: 'category' is not an attribute" in said
    assert "line 3: edits: objectivity = 'subjective' is not one of Objective, Subjective" in said
    stored = {task: answer.edits for (task, _), answer in board.stored().items()}
    assert stored[board.ids[0]] == edits[0] and stored[board.ids[6]] is None
    assert stored[board.ids[7]] == {"controversiality": "High"}


def test_a_pair_without_attributes_takes_all_of_them_or_none(board):
    (bare,) = [task for task in board.tasks if task.pair_id == "000f"]
    row = {"task": bare.id, "choice": "left"}
    code, _, said = board.take("back", [row | {"edits": {"objectivity": "Objective"}}])
    assert code == 2 and "all attributes are needed, or none" in said
    assert board.take("back", [row | {"edits": DESCRIBED}])[0] == 0


@pytest.mark.parametrize("name", ["prompt", "left", "right"])
def test_an_answer_about_another_text_is_refused(board, name):
    rows = [row | {"choice": "left"} for row in board.shown()]
    rows[4][name] = [rows[4][name][0] | {"content": "Corrected."}]
    # One column of a spreadsheet sorted without the others.
    rows[6][name], rows[7][name] = rows[7][name], rows[6][name]
    code, said, _ = board.take("back", rows)
    assert code == 0 and counts(said) == (13, 3, 3)
    assert f"back, lines 5, 7-8: {name} is not what the task showed" in said
    code, said, _ = board.take("back", rows, ("--commit", "--ignore-texts"))
    assert code == 0 and counts(said)[1:] == (0, 0)
    assert_all(board)


def test_attributes_that_were_changed_in_place_are_refused(board):
    rows = [row | {"choice": "left"} for row in board.shown() if row["attributes"]]
    rows[4]["attributes"] = rows[4]["attributes"] | {"objectivity": "Subjective"}
    code, said, _ = board.take("back", rows)
    assert code == 0 and counts(said)[:2] == (14, 1)
    assert "line 5: attributes were changed in place: put {field: value} into `edits`" in said


def test_another_name_than_the_tasks_is_refused(board):
    rows = rows_of(board)
    for row, task in zip(rows, board.tasks, strict=True):
        row["annotator"] = task.annotator
    rows[0]["annotator"] = "zed"
    rows[1]["annotator"] = {"ann": "bob", "bob": "ann"}[rows[1]["annotator"]]
    code, said, _ = board.take("back", rows)
    assert code == 0 and counts(said) == (14, 2, 2)
    assert "line 1: 'zed' is not an annotator (ann, bob)" in said and "--person zed=NAME" in said
    assert "line 2: the task is " in said


# ------------------------------------------------------------------ the same task twice


def test_unknown_tasks_and_contradictions_are_named_and_nothing_is_guessed(board):
    rows = rows_of(board)
    rows.append({"task": "0" * 16, "choice": "left"})
    rows.append(rows[2])
    rows.append({"task": rows[5]["task"], "choice": "right"})
    code, said, _ = board.take("back", rows)
    assert code == 0 and counts(said) == (15, 3, 1)
    assert "line 17: task '0000000000000000' is in no queue" in said
    assert "line 18: says again what another one says" in said
    assert "lines 6, 19" in said and "left (line 6), right (line 19): keep one" in said
    assert board.ids[5] not in board.choices()


def test_a_record_that_says_two_things_is_refused(board):
    id = board.ids[0]
    lines = [f'{{"task": "{id}", "choice": "left", "choice": "right"}}']
    lines += [json.dumps({"task": id, "choice": "left", "answer": "right"})]
    code, _, said = board.take("back", "\n".join(lines))
    assert code == 2 and "'choice' stands twice in the record" in said
    code, _, said = board.take("back", lines[1])
    assert code == 2 and "choice and answer say different things" in said


def test_two_files_are_read_as_one(board):
    rows = rows_of(board)
    first, second = board.file("ann", rows[:9]), board.file("bob.csv", table(rows[8:]))
    code, said, _ = board.give(second, first)
    assert code == 0 and counts(said) == (16, 0, 0)
    assert_all(board)


@pytest.mark.parametrize(
    "content",
    [
        '{"data": {"task": "x"}, "annotations": [{"result": ["left"]}]}',
        '{"data": {"task": "x"}, "annotations": [{"result": [{"value": "left"}]}]}',
        '{"data": {"task": "x"}, "annotations": [3]}',
        '{"fields": {}, "responses": ["left"]}',
        '{"fields": {}, "responses": {"preference": ["left"]}}',
        '{"fields": {}, "responses": [{"values": "left"}]}',
        '{"task": "x", "pw": [{"selected": "left"}], "verdict": {"choices": ["clear", "slight"]}}',
        '{"task": "x", "choice": "left", "completed_by": "\\ud800"}',
        "[" * 100_000,
        '["task", "left"]\n["task", "right"]',
        "task,choice\n\x00,left\n",
    ],
)
def test_what_no_tool_writes_is_refused_in_one_line_too(board, content):
    code, _, said = board.take("back", content.replace('"x"', json.dumps(board.ids[0])))
    assert code == 2 and said.count("\n") == 1 and "nothing changes" in said


def test_a_long_cell_is_read(board):
    rows = [row | {"note": "long " * 40_000} for row in rows_of(board)]
    assert board.take("back.csv", table(rows))[0] == 0
    assert_all(board)
