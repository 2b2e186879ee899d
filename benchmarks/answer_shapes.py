"""The shapes in which people and tools send answers, and what has to become of each.

`answer_storm` gives them to `curate answers`. Those with a number are the files of its first trial.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from benchmarks.answer_writers import (
    LETTERS,
    WORDS,
    Content,
    Queue,
    annotated,
    argilla,
    argilla_ranking,
    booked_to,
    changed,
    choice_region,
    concatenated,
    confident,
    contradicting,
    doccano,
    doubled_column,
    drafts_and_predictions,
    edited,
    filled_in,
    in_parts,
    label_studio,
    label_studio_table,
    lines,
    minimal,
    named_twice,
    numbered,
    one,
    overruled,
    prodigy,
    region,
    renamed,
    reworded,
    row_damaged_pretty,
    sheet,
    swapped,
    table,
    ties,
    two_people,
    two_queues,
    under_a_name,
    unquoted,
    with_owner,
    with_results,
    without,
)

PEOPLE = ("--person", "1=ann", "--person", "2=bob")
EMAILS = ("--person", "p1@x.org=ann", "--person", "p2@x.org=bob")


class Shape(NamedTuple):
    """One way to send answers, and what has to become of them."""

    write: Callable[[Queue], Mapping[str, Content]]
    # How many of the sixteen are read.
    read: int = 16
    # How many places are named as not read; None: one for each answer that is not read. -1: the
    # file as a whole is named.
    named: int | None = None
    # What the screen must say.
    says: str = ""
    flags: tuple[str, ...] = ()


NOT_A_CHOICE = "--choice WORD=CHOICE"
SHAPES: dict[str, Shape] = {
    "01_good": Shape(one("a.jsonl", lambda q: lines(q.rows(seconds=20.0)))),
    "02_filled_in_place": Shape(one("a.jsonl", lambda q: lines(filled_in(q)))),
    "03_partial": Shape(one("a.jsonl", lambda q: lines(q.rows()[:8])), 8, 0, "missing: 8"),
    "04_unknown_and_duplicates": Shape(
        one("a.jsonl", lambda q: lines(two_queues(q) + q.rows()[3:4])), named=2, says="says again"
    ),
    "05_words": Shape(
        one("a.jsonl", lambda q: lines(reworded(q, WORDS | {"left": "Left", "right": "both_bad"}))),
        11,
        says=NOT_A_CHOICE,
    ),
    "07_confidence": Shape(one("a.jsonl", lambda q: lines(confident(q))), 11, says="confidence ="),
    "08_edits": Shape(
        one("a.jsonl", lambda q: lines(changed(q.rows(), 0, edits={"objectivity": "Subjective"})))
    ),
    "09_10_edits_that_are_illegal": Shape(
        one("a.jsonl", lambda q: lines(edited(q))), 13, says="is not an attribute"
    ),
    "12_bom": Shape(one("a.jsonl", lambda q: "\ufeff" + lines(q.rows()))),
    "14_csv": Shape(one("a.csv", lambda q: table(q.rows()))),
    "15_one_bad_line": Shape(
        one("a.jsonl", lambda q: without(lines(q.rows()), '"}', '",}')), 15, says="not JSON"
    ),
    "17_empty": Shape(one("a.jsonl", lambda q: ""), 0, -1, "the file is empty"),
    "18_crlf": Shape(one("a.jsonl", lambda q: lines(q.rows(), "\r\n"))),
    "19_wrong_annotator": Shape(
        one("a.jsonl", lambda q: lines(q.rows(annotator="zed"))), 0, says="--person zed=NAME"
    ),
    "20_no_choice_field": Shape(
        one("a.jsonl", lambda q: lines(renamed(q.rows(), {"choice": "answer"})))
    ),
    "30_label_studio": Shape(one("a.json", lambda q: json.dumps(label_studio(q))), flags=PEOPLE),
    "31_label_studio_min": Shape(one("a.json", lambda q: json.dumps(minimal(q))), flags=PEOPLE),
    "32_label_studio_two_people": Shape(
        one("a.json", lambda q: json.dumps(two_people(q))), flags=PEOPLE
    ),
    "35_label_studio_csv": Shape(one("a.csv", label_studio_table), flags=PEOPLE),
    "35_with_other_texts": Shape(
        one("a.csv", lambda q: table(q.rows(prompt="x", left="y", right="z"))),
        0,
        says="is not what the task showed",
    ),
    # Spreadsheets.
    "tsv": Shape(one("a.tsv", lambda q: table(q.rows(), "\t"))),
    "semicolons": Shape(one("a.csv", lambda q: "\ufeff" + table(q.rows(), ";"))),
    "excel_unicode_text": Shape(
        one("a.txt", lambda q: ("\ufeff" + table(q.rows(), "\t")).encode("utf-16-le"))
    ),
    "utf16_without_mark": Shape(
        one("a.csv", lambda q: table(q.rows()).encode("utf-16-le")), 0, -1, "zero bytes"
    ),
    "utf32": Shape(one("a.jsonl", lambda q: lines(q.rows()).encode("utf-32")), 0, -1, "zero bytes"),
    "cp1252": Shape(
        one("a.jsonl", lambda q: lines(q.rows(note="caf\u00e9")).encode("cp1252")), 0, -1, "UTF-8"
    ),
    "spreadsheet_columns": Shape(one("a.csv", lambda q: table(sheet(q)))),
    "spreadsheet_header_in_words": Shape(
        one("a.csv", lambda q: table(renamed(q.rows(), {"choice": "Which one is better?"}))),
        0,
        says="Which one is better?",
    ),
    "no_header": Shape(
        one("a.csv", lambda q: table(q.rows()).partition("\n")[2]), 0, 15, "names its columns"
    ),
    "a_title_above_the_header": Shape(
        one("a.csv", lambda q: "Answers of ann, November\n" + table(q.rows())),
        0,
        17,
        "Answers of ann",
    ),
    "two_columns_of_one_name": Shape(one("a.csv", doubled_column), 15, says="stands twice"),
    "column_names_that_differ_in_case": Shape(
        one("a.csv", lambda q: table([row | {"Choice": "left"} for row in q.rows()])),
        5,
        says="stands twice",
    ),
    "ids_as_numbers": Shape(
        one("a.jsonl", lambda q: lines(numbered(q))), 14, says="took for a number"
    ),
    "ids_with_blanks": Shape(
        one("a.csv", lambda q: table([r | {"task": f"\u00a0{r['task']} "} for r in q.rows()]))
    ),
    "ids_as_formulas": Shape(
        one("a.csv", lambda q: table([r | {"task": f'="{r["task"]}"'} for r in q.rows()])),
        0,
        says="is in no queue",
    ),
    "quotes_that_are_wrong": Shape(one("a.csv", unquoted), 14, says="cells under"),
    "empty_cells": Shape(
        one("a.csv", lambda q: table(changed(changed(q.rows(), 0, choice=""), 1, choice="n/a"))),
        14,
        says="no answer",
    ),
    "a_row_number_first": Shape(
        one("a.csv", lambda q: table([{"": i} | row for i, row in enumerate(q.rows())]))
    ),
    "only_row_numbers": Shape(
        one("a.csv", lambda q: table([{"id": i, "choice": "left"} for i in range(16)])),
        0,
        says="is in no queue",
    ),
    # JSON of many kinds.
    "array_on_one_line_damaged": Shape(
        one("a.json", lambda q: without(json.dumps(q.rows()), '"}', '",}')),
        8,
        1,
        "nothing after it in the file is read",
    ),
    "array_with_a_last_comma": Shape(one("a.json", lambda q: json.dumps(q.rows())[:-1] + ",]")),
    "pretty_export_damaged": Shape(one("a.json", row_damaged_pretty), 15, 1, "not JSON", PEOPLE),
    "two_arrays_in_one_file": Shape(one("a.json", concatenated)),
    "records_without_line_ends": Shape(
        one("a.jsonl", lambda q: "".join(map(json.dumps, q.rows())))
    ),
    "objects_with_commas": Shape(
        one("a.jsonl", lambda q: ",\n".join(map(json.dumps, q.rows()))), 16, 0
    ),
    "cut_off": Shape(
        one("a.json", lambda q: json.dumps(q.rows(), indent=1)[:-30]), 15, says="not JSON"
    ),
    "nested_arrays": Shape(
        one("a.json", lambda q: json.dumps([q.rows()[:8], q.rows()[8:]])), 0, 2, "a list"
    ),
    "arrays_of_cells": Shape(
        one("a.json", lambda q: json.dumps([[*row.values()] for row in q.rows()])), 0, says="list"
    ),
    "task_to_choice": Shape(
        one("a.json", lambda q: json.dumps({r["task"]: r["choice"] for r in q.rows()}))
    ),
    "person_to_answers": Shape(
        one("a.json", lambda q: json.dumps({"ann": {r["task"]: "left" for r in q.rows()}})),
        0,
        1,
        "task 'ann' is in no queue",
    ),
    "lists_by_column": Shape(
        one("a.json", lambda q: json.dumps({n: [r[n] for r in q.rows()] for n in q.rows()[0]})),
        0,
        1,
    ),
    "under_a_name": Shape(one("a.json", lambda q: under_a_name(q.rows()))),
    "nan_for_no_answer": Shape(
        one("a.jsonl", lambda q: lines(changed(q.rows(), 0, choice=float("nan")))),
        15,
        says="no answer",
    ),
    "a_comment_first": Shape(
        one("a.jsonl", lambda q: "# answers of ann\n" + lines(q.rows())), 0, -1, "neither JSON"
    ),
    "a_letter_around": Shape(
        one("a.txt", lambda q: "Hi, here they are:\n" + lines(q.rows())), 0, says="no field `task`"
    ),
    "html": Shape(one("a.json", lambda q: "<html>Log in</html>"), 0, -1, "HTML"),
    "gzip": Shape(one("a.jsonl.gz", lambda q: gzip.compress(lines(q.rows()).encode())), 0, -1),
    "xlsx": Shape(one("a.xlsx", lambda q: b"PK\x03\x04...."), 0, -1, "save it as CSV UTF-8"),
    # Choices in other words.
    "numbers": Shape(
        one("a.jsonl", lambda q: lines(reworded(q, dict(zip(WORDS, range(4), strict=True))))),
        0,
        says=NOT_A_CHOICE,
    ),
    "numbers_explained": Shape(
        one("a.csv", lambda q: table(reworded(q, dict(zip(WORDS, range(4), strict=True))))),
        flags=("--choice", "0=left", "--choice", "1=right")
        + ("--choice", "2=no_preference", "--choice", "3=cannot_decide"),
    ),
    "letters": Shape(
        one("a.csv", lambda q: table(reworded(q, LETTERS | {"no_preference": "Tie"}))),
        3,
        says=NOT_A_CHOICE,
    ),
    "response_a": Shape(
        one("a.jsonl", lambda q: lines(reworded(q, WORDS | {"left": "Response A"}))),
        11,
        says=NOT_A_CHOICE,
    ),
    "chosen_and_rejected": Shape(
        one(
            "a.jsonl", lambda q: lines(reworded(q, WORDS | {"left": "chosen", "right": "rejected"}))
        ),
        6,
        says=NOT_A_CHOICE,
    ),
    "localized": Shape(
        one("a.jsonl", lambda q: lines(reworded(q, WORDS | {"left": "links", "right": "rechts"}))),
        6,
        says=NOT_A_CHOICE,
    ),
    "ties": Shape(one("a.jsonl", lambda q: lines(ties(q)))),
    "none_for_a_tie": Shape(
        one("a.jsonl", lambda q: lines(reworded(q, WORDS | {"no_preference": "None"}))),
        13,
        says="'None'",
    ),
    "true_and_false": Shape(
        one("a.jsonl", lambda q: lines(reworded(q, WORDS | {"left": True, "right": False}))),
        6,
        says=NOT_A_CHOICE,
    ),
    "negations": Shape(
        one("a.jsonl", lambda q: lines(reworded(q, WORDS | {"left": "not right"}))), 11
    ),
    "choices_in_a_list": Shape(
        one("a.jsonl", lambda q: lines(reworded(q, {word: [word] for word in WORDS})))
    ),
    "several_choices": Shape(
        one("a.jsonl", lambda q: lines(reworded(q, WORDS | {"left": ["left", "right"]}))), 11
    ),
    "a_verdict_beside": Shape(
        one("a.csv", lambda q: table(overruled(q))), 15, says="say different things"
    ),
    # Label Studio.
    "label_studio_lines": Shape(one("a.jsonl", lambda q: lines(label_studio(q))), flags=PEOPLE),
    "label_studio_tsv": Shape(one("a.tsv", lambda q: label_studio_table(q, "\t")), flags=PEOPLE),
    "label_studio_unfinished": Shape(
        one("a.json", lambda q: json.dumps(drafts_and_predictions(q))), 12, flags=PEOPLE
    ),
    "label_studio_ground_truth": Shape(
        one("a.json", lambda q: json.dumps(label_studio(q, ground_truth=True))), flags=PEOPLE
    ),
    "label_studio_emails": Shape(
        one("a.json", lambda q: json.dumps(booked_to(q, lambda n: f"p{n}@x.org"))), flags=EMAILS
    ),
    "label_studio_people_as_objects": Shape(
        one("a.json", lambda q: json.dumps(booked_to(q, lambda n: {"id": n, "email": "x"}))),
        flags=PEOPLE,
    ),
    "label_studio_unknown_person": Shape(
        one("a.json", lambda q: json.dumps(label_studio(q))), 0, says="--person 1=NAME"
    ),
    "label_studio_two_sides": Shape(
        one(
            "a.json",
            lambda q: json.dumps(annotated(q, 0, result=[region("left"), region("right")])),
        ),
        15,
        says="different sides",
        flags=PEOPLE,
    ),
    "label_studio_two_verdicts": Shape(
        one(
            "a.json",
            lambda q: json.dumps(
                annotated(
                    q, 0, result=[region("left"), choice_region("verdict", "clear", "slight")]
                )
            ),
        ),
        15,
        says="several values",
        flags=PEOPLE,
    ),
    "label_studio_sides_exchanged": Shape(
        one(
            "a.json",
            lambda q: json.dumps(annotated(q, 0, result=[region("left", to_name="right")])),
        ),
        15,
        says="to_name",
        flags=PEOPLE,
    ),
    "label_studio_choices": Shape(
        one("a.json", lambda q: json.dumps(with_results(q, lambda c: [choice_region("best", c)]))),
        flags=PEOPLE,
    ),
    "label_studio_ratings": Shape(
        one(
            "a.json",
            lambda q: json.dumps(
                with_results(q, lambda c: [{"type": "rating", "value": {"rating": 4}}])
            ),
        ),
        0,
        says="rating",
        flags=PEOPLE,
    ),
    "label_studio_min_other_tag": Shape(
        one("a.json", lambda q: json.dumps(renamed(minimal(q), {"pw": "which"}))), flags=PEOPLE
    ),
    "label_studio_csv_other_tag": Shape(
        one("a.csv", lambda q: table(renamed(minimal(q, pw="left"), {"pw": "which"}))),
        6,
        says="no field `choice`",
        flags=(*PEOPLE, "--ignore-texts"),
    ),
    "label_studio_min_two_tags": Shape(
        one("a.json", lambda q: json.dumps(minimal(q, second=[{"selected": "left"}]))),
        11,
        says="different sides",
        flags=PEOPLE,
    ),
    "label_studio_min_own_choice": Shape(
        one("a.json", lambda q: json.dumps([r | {"annotation_id": 1} for r in q.rows()]))
    ),
    "label_studio_again_by_one_person": Shape(
        one(
            "a.json",
            lambda q: json.dumps(label_studio(q) + annotated(q, 0, result=[region("right")])[:1]),
        ),
        15,
        2,
        "contradicting answers",
        PEOPLE,
    ),
    # Other tools.
    "argilla": Shape(one("a.json", lambda q: json.dumps(argilla(q))), flags=PEOPLE),
    "argilla_ranking": Shape(
        one("a.json", lambda q: json.dumps(argilla_ranking(q))), 0, says="choice =", flags=PEOPLE
    ),
    "prodigy": Shape(one("a.jsonl", lambda q: lines(prodigy(q))), 0, says=NOT_A_CHOICE),
    "doccano": Shape(one("a.jsonl", lambda q: lines(doccano(q)))),
    "no_ids_of_tasks": Shape(
        one(
            "a.jsonl",
            lambda q: lines({"prompt": "?", "chosen": "x", "rejected": "y"} for _ in "ab"),
        ),
        0,
        2,
        "no field `task`",
    ),
    # Several files and people.
    "two_files": Shape(in_parts),
    "the_same_file_twice": Shape(
        lambda q: {"a.jsonl": lines(q.rows()), "b.jsonl": lines(q.rows())}, says="says again"
    ),
    "files_that_contradict": Shape(contradicting, 15, 2, "second.jsonl"),
    "two_queues": Shape(one("a.jsonl", lambda q: lines(two_queues(q))), 16, 2, "is closed"),
    "the_left_and_the_right_exchanged": Shape(
        one("a.jsonl", lambda q: lines(swapped(q))), 14, says="is not what the task showed"
    ),
    "people_in_capitals": Shape(
        one("a.jsonl", lambda q: lines(with_owner(q, str.upper))), 0, says="--person ANN=NAME"
    ),
    "people_who_differ_by_column": Shape(
        one("a.jsonl", lambda q: lines(named_twice(q))), 15, says="different people"
    ),
    "a_folder": Shape(one("folder/a.jsonl", lambda q: lines(q.rows())), 0, -1, "is a folder"),
    "terminal_escapes": Shape(
        one("a.jsonl", lambda q: lines(reworded(q, dict.fromkeys(WORDS, "\x1b[2Jleft")))),
        0,
        says="\\x1b",
    ),
}
