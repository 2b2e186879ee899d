"""Reading models' texts: what is read, with which mercies, and what is not."""

import json

import pytest

from rewardjax.curation.judges.answers import Unreadable, read
from rewardjax.curation.judges.attributes import Attributes
from rewardjax.curation.judges.prompts import Verdict
from rewardjax.curation.servers.requests import Answer

GOOD = {"rationale": "because", "preferred": "Candidate 1"}
DRAFT = {"rationale": "no", "preferred": "Candidate 2"}
TEXT, OTHER = json.dumps(GOOD), json.dumps(DRAFT)


@pytest.mark.parametrize(
    "text, mercies",
    [
        (TEXT, ()),
        (f"Sure!\n```json\n{json.dumps(GOOD, indent=2)}\n```\nThat is all.", ()),
        (TEXT + "\n" + json.dumps(GOOD | {"rationale": "again"}), ()),
        ("{" + TEXT, ()),
        (json.dumps(GOOD | {"rationale": "it closes </think> twice"}), ()),
        (f"<think>maybe {OTHER}</think>{TEXT}", ("thinking in the text",)),
        (f"maybe {OTHER}</think>\n{TEXT}", ("thinking in the text",)),
        (f"[THINK]maybe {OTHER}[/THINK]{TEXT}", ("thinking in the text",)),
        (f"<think>so it is {TEXT}", ("answer inside the thinking",)),
        (f"<think>so it is {TEXT}</think>", ("answer inside the thinking",)),
        (
            f"<|channel|>analysis<|message|>{OTHER}<|end|><|start|>assistant"
            f"<|channel|>final<|message|>{TEXT}<|return|>",
            ("channels in the text",),
        ),
        (
            f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final "
            f"<|constrain|>json<|message|>{TEXT}",
            ("channels in the text",),
        ),
        (f"analysisMaybe {OTHER}.assistantfinal{TEXT}", ("channels in the text",)),
        (f"<|channel|>analysis<|message|>so it is {TEXT}", ("answer inside the thinking",)),
        (json.dumps({"answer": GOOD}), ("nested object",)),
        (json.dumps([GOOD]), ()),
        (json.dumps({"output": TEXT}), ("nested object",)),
        (json.dumps(GOOD | {"score": 3}), ("extra key",)),
        (TEXT[:-1] + ', "confidence": NaN}', ("extra key",)),
        (json.dumps({"Rationale": "x", "PREFERRED": "Candidate 1"}), ("name of a key",)),
        (json.dumps(GOOD | {"preferred": "candidate 1"}), ("spelling of a value",)),
        (json.dumps(GOOD | {"preferred": "CANDIDATE_1."}), ("spelling of a value",)),
        (json.dumps({"preferred": "Candidate 1"}), ("no rationale",)),
        (TEXT[:-1] + ",}", ("trailing comma",)),
        (TEXT.replace("because", "because\nof, this"), ("raw line break",)),
        (str(GOOD), ("Python for JSON",)),
        (json.dumps(GOOD | {"rationale": ["one", "two"]}), ("list for text",)),
        (json.dumps(GOOD | {"rationale": {"why": "so"}}), ("JSON for text",)),
    ],
)
def test_an_answer_is_read_however_it_is_wrapped(text, mercies):
    reading = read(Answer(text), Verdict)
    assert reading.value.preferred == "Candidate 1"
    assert reading.mercies == mercies


@pytest.mark.parametrize(
    "text, problem",
    [
        ("Candidate 1", "no JSON object"),
        (TEXT[:-4], "no JSON object"),
        ("", "no JSON object"),
        ("{" * 5000, "no JSON object"),
        ("Je préfère la première.", "no JSON object"),
        ('{"rationale": "so"}', "preferred"),
        (json.dumps(GOOD | {"preferred": 1}), "preferred"),
        (json.dumps(GOOD | {"preferred": "Candidate 3"}), "preferred"),
        (json.dumps(GOOD | {"preferred": "Candidate 1 or Candidate 2"}), "preferred"),
        (json.dumps(GOOD | {"preferred": None}), "preferred"),
        (TEXT + OTHER, "differ"),
        (json.dumps({"first": GOOD, "then": DRAFT}), "differ"),
        (f"<think>{TEXT} or rather {OTHER}", "differ"),
        ('{"preferred": "Candidate 1", "preferred": "Candidate 2"}', "given twice"),
    ],
)
def test_what_is_no_answer_says_what_is_wrong(text, problem):
    with pytest.raises(Unreadable, match=problem):
        read(Answer(text), Verdict)


def test_an_answer_that_was_cut_off_is_none_even_if_it_reads():
    with pytest.raises(Unreadable, match="cut off"):
        read(Answer(TEXT, finish="length"), Verdict)


def test_the_mercies_of_the_reply_are_those_of_the_answer_too():
    reading = read(Answer(TEXT, mercies=("content in parts",)), Verdict)
    assert reading.mercies == ("content in parts",)


def test_attributes_are_read_with_their_taxonomies_spelt_otherwise():
    tags = {
        "task_category": "coding and debugging",
        "objectivity": "OBJECTIVE",
        "controversiality": "low",
        "desired_attributes": ["correct", "short"],
        "annotation_guideline": "Run it.",
    }
    reading = read(Answer(json.dumps(tags)), Attributes)
    assert reading.value.task_category == "Coding & Debugging"
    assert reading.value.desired_attributes == "correct, short"
    assert reading.mercies == ("list for text", "spelling of a value")
    with pytest.raises(Unreadable, match="task_category"):
        read(Answer(json.dumps(tags | {"task_category": "Poetry"})), Attributes)


def test_no_text_takes_long_to_read():
    """Quadratic reading of a hostile answer would hold up every other one."""
    for text in ("{" * 200_000, '{"a": "' * 50_000, "<think>" * 50_000, '{"a":' * 50_000):
        with pytest.raises(Unreadable):
            read(Answer(text), Verdict)
