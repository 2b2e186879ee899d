"""Two responses side by side, and a verdict in a column of its own.

What a number means differs between data sets: in HelpSteer2 a negative strength is for the first
response, SHP's 1 is for the first, and others call the second 1. Each layout here has one meaning,
and numbers in a column that no layout knows are refused until `data.labels` says what they mean.
"""

import dataclasses
import json
import re
from typing import Any

from rewardjax.data.groups import BadRecord, Message, Pair
from rewardjax.data.layouts import fields
from rewardjax.data.layouts.fields import Record
from rewardjax.data.layouts.layout import Content, Layout

TWO_RESPONSES = (
    ("response_1", "response_2"),
    ("response1", "response2"),
    ("output_1", "output_2"),
    ("answer_1", "answer_2"),
    ("answer1", "answer2"),
    ("response_a", "response_b"),
    ("answer_a", "answer_b"),
    ("conversation_a", "conversation_b"),
    ("conv_A", "conv_B"),
    ("response_0", "response_1"),
    ("answer_0", "answer_1"),
)
# A number for each of two responses, the higher the better.
SCORES = (
    ("score_1", "score_2"),
    ("score_a", "score_b"),
    ("rating_1", "rating_2"),
    ("rating_a", "rating_b"),
    ("conv_A_rating", "conv_B_rating"),  # Unified-Feedback
)
# Columns with a verdict in words, or in numbers that `data.labels` explains.
VERDICTS = ("label", "winner", "preference", "choice", "labels")
# Verdicts as P(first is better), once `word` has made one spelling of "Tie (both bad)".
WINNERS = {"first": 1.0, "second": 0.0}
WINNERS |= dict.fromkeys(("a", "model_a", "response_a", "assistant_a", "a>b", "[[a]]"), 1.0)
WINNERS |= dict.fromkeys(("b", "model_b", "response_b", "assistant_b", "b>a", "[[b]]"), 0.0)
WINNERS |= dict.fromkeys(
    (
        *("tie", "tie_bothbad", "tie_both_bad", "both_bad", "bothbad", "both", "neither"),
        # MT-Bench: the judge took back its verdict when the two were exchanged.
        "tie_inconsistent",
        *("equal", "same", "draw", "a=b", "[[c]]"),
    ),
    0.5,
)
STRENGTHS = ("preference_strength", "overall_preference")
# Whose answers the two are: a verdict may be the winner's name.
MODELS = (("model_a", "model_b"), ("model_1", "model_2"), ("model1", "model2"))
# A verdict that names a response by its number: response_1, "Model 2".
NUMBERED = re.compile(r"(?:response|model|output|answer|assistant)_?(\d)")


def two_responses(record: Record) -> tuple[str, str] | None:
    """The columns of the two responses, if the record has them."""
    return fields.first_present_pair(record, TWO_RESPONSES)


def word(value: Any) -> str:
    """One spelling of a verdict: lower case, underscores, whole numbers without a point."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = re.sub(r"[()]", "", str(value).strip().lower())
    # Tables of texts hold 1.0 where a column of numbers had a gap.
    text = re.sub(r"^(-?\d+)\.0+$", r"\1", text)
    return re.sub(r"[\s_]+", "_", text)


def votes(record: Record) -> dict[str, Any]:
    """The verdict columns: the first of VERDICTS, else annotator_1, annotator_2, ..."""
    name = fields.first_present(record, VERDICTS)
    if name is not None:
        return {name: record[name]}
    return {name: record[name] for name in annotators(record)}


def annotators(record: Record) -> list[str]:
    """The columns of single annotators that hold a verdict: annotator_1, annotator_2, ..."""
    names = [key for key in sorted(record) if re.fullmatch(r"annotator_?\d+", key)]
    return [name for name in names if record[name] is not None]


def pair_of(target: float, margin: float = 0.0) -> Pair:
    """The pair of two responses where the first is better with probability `target`."""
    # The majority's response is the chosen one, so that every pair reads the same way.
    if target == 0.5:
        return Pair(0, 1, target=0.5, tie=True)
    if target < 0.5:
        return Pair(1, 0, target=1.0 - target, margin=margin)
    return Pair(0, 1, target=target, margin=margin)


def _by_difference(difference: float) -> Pair:
    """The first response over the second by so much, or the other way round, or a tie."""
    if difference == 0:
        return pair_of(0.5)
    return pair_of(float(difference > 0), abs(difference))


def _contents(record: Record) -> tuple[list[Message], list[list[Message]]]:
    names = two_responses(record)
    assert names, "the layout fits"
    try:
        sides = [fields.text_or_messages(record[name], name) for name in names]
    except BadRecord:
        # One of them, which costs itself alone where the other answers a prompt of its own column.
        sides = [""]
    if all(isinstance(side, list) and side[0].get("role") != "assistant" for side in sides):
        if record.get("turn") is not None:
            sides = [_until_turn(side, record["turn"]) for side in sides]
        return fields.split_messages(*sides)
    responses = fields.responses(record, names)
    return fields.apart(fields.prompt(record), responses), responses


def _until_turn(conversation: list[Message], turn: Any) -> list[Message]:
    """A conversation up to the answer that was judged: MT-Bench's verdicts are of one turn."""
    number = fields.number(turn, "turn")
    answers = [i for i, message in enumerate(conversation) if message.get("role") == "assistant"]
    if number not in range(1, len(answers) + 1):
        raise BadRecord(
            "bad_schema", f"turn = {turn!r}, and the conversation has {len(answers)} answers"
        )
    return conversation[: answers[int(number) - 1] + 1]


def _with(record: Record, pair: Pair) -> Content:
    prompt, responses = _contents(record)
    return {"prompt": prompt, "responses": responses, "pairs": [pair]}


# ------------------------------------------------------------------ verdicts in words


def is_verdict(record: Record) -> bool:
    """Whether the record has two responses and a verdict."""
    return two_responses(record) is not None and bool(votes(record))


def _read_verdict(record: Record) -> Content:
    """Of several annotators, the share of votes is the target."""
    shares = {name: _share(record, name) for name in votes(record)}
    for name in VERDICTS:
        other = None
        if name not in shares and record.get(name) is not None:
            other = known_share(record, name)
        # A second verdict in words is no repetition of the first where it names another response.
        if other is not None and other not in shares.values():
            raise _contradiction(record, name, next(iter(shares)))
    return _with(record, pair_of(sum(shares.values()) / len(shares)))


def known_share(record: Record, name: str) -> float | None:
    """P(first is better) by the verdict in a column, None where its meaning is not known."""
    verdict, names = word(record[name]), two_responses(record)
    if verdict in WINNERS:
        return WINNERS[verdict]
    # By the numbers in the columns' own names: `response_1` is the second of response_0 and
    # response_1, and the first of response_1 and response_2.
    numbered = NUMBERED.fullmatch(verdict)
    if names is not None and numbered is not None:
        bears_it = [column.endswith(numbered[1]) for column in names]
        if any(bears_it):
            return float(bears_it[0])
    models = fields.first_present_pair(record, MODELS)
    if models is not None:
        is_winner = [record[column] == record[name] for column in models]
        # A model that plays against itself names no side.
        if sum(is_winner) == 1:
            return float(is_winner[0])
    return None


def _share(record: Record, name: str) -> float:
    share = known_share(record, name)
    if share is not None:
        return share
    value = record[name]
    raise BadRecord(
        "bad_schema",
        f"{name} = {value!r:.40}: which response is that? Name the convention, as in "
        f"data.labels={{{value!s:.40}: first, OTHER: second}} (first, second or tie)",
    )


def _contradiction(record: Record, name: str, other: str) -> BadRecord:
    """What to raise for two columns that do not say the same."""
    return BadRecord(
        "bad_schema",
        f"{name} = {record[name]!r:.40} contradicts {other} = {record[other]!r:.40}: leave out the "
        f"one that does not hold, as in data.columns={{{name}: ''}}",
    )


# ------------------------------------------------------------------ strengths


def _is_strength(record: Record) -> bool:
    return two_responses(record) is not None and fields.first_present(record, STRENGTHS) is not None


def _read_strength(record: Record) -> Content:
    """-3 (the first is much better) to 3 (the second is), 0 for a tie (NeMo-Aligner PR #361)."""
    name = fields.first_present(record, STRENGTHS)
    assert name, "the layout fits"
    pair = _by_difference(-fields.number(record[name], name))
    # Elsewhere a strength is a size, whose side another column names: it would be read reversed.
    for verdict in votes(record):
        if pair_of(_share(record, verdict)) != dataclasses.replace(pair, margin=0.0):
            raise _contradiction(record, verdict, name)
    return _with(record, pair)


# ------------------------------------------------------------------ a score for each


def _is_scored(record: Record) -> bool:
    has_scores = fields.first_present_pair(record, SCORES) is not None
    return has_scores and two_responses(record) is not None


def _read_scored(record: Record) -> Content:
    """The better score's response over the other's; the difference is the margin."""
    names = fields.first_present_pair(record, SCORES)
    assert names, "the layout fits"
    first, second = (fields.number(record[name], name) for name in names)
    return _with(record, _by_difference(first - second))


# ------------------------------------------------------------------ Chatbot Arena 55k

ONE_HOT = {"winner_model_a": 1.0, "winner_model_b": 0.0, "winner_tie": 0.5}


def _is_one_hot(record: Record) -> bool:
    return two_responses(record) is not None and record.get("winner_model_a") is not None


def _read_one_hot(record: Record) -> Content:
    """One of three columns is 1; prompt and responses are JSON lists, one text per turn."""
    verdicts = [name for name in ONE_HOT if fields.boolean(record.get(name) or 0, name)]
    if len(verdicts) != 1:
        raise BadRecord(
            "bad_schema", f"{', '.join(ONE_HOT)}: {len(verdicts)} of them are 1, not one"
        )
    names = two_responses(record)
    assert names, "the layout fits"
    prompts = _texts(record.get("prompt"), "prompt")
    responses = []
    for name in names:
        answers = _texts(record[name], name)
        if len(answers) != len(prompts):
            raise BadRecord(
                "bad_schema", f"{name} has {len(answers)} turns for {len(prompts)} of the prompt"
            )
        messages = []
        for question, answer in zip(prompts, answers, strict=True):
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": answer})
        responses.append(messages[1:])
    return {
        "prompt": [{"role": "user", "content": prompts[0]}],
        "responses": responses,
        "pairs": [pair_of(ONE_HOT[verdicts[0]])],
    }


def _texts(value: Any, name: str) -> list[str]:
    """The texts of a list, which may be a JSON string; a turn without an answer is empty."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = [value]
    # The text of a single turn may be JSON itself, such as a number.
    if not isinstance(value, list) or not value:
        raise BadRecord("bad_schema", f"{name} = {value!r:.60}, not a list of texts")
    texts = [text or "" for text in value]
    if not all(isinstance(text, str) for text in texts):
        raise BadRecord("bad_schema", f"{name} holds something else than texts: {value!r:.60}")
    return texts


# ------------------------------------------------------------------ data sets of their own


def _is_safe_rlhf(record: Record) -> bool:
    return record.get("better_response_id") is not None and record.get("response_0") is not None


def _read_safe_rlhf(record: Record) -> Content:
    """PKU-SafeRLHF: better_response_id is 0 or 1, the number in the response's column."""
    second = fields.boolean(record["better_response_id"], "better_response_id")
    responses = fields.responses(record, ("response_0", "response_1"))
    pairs = [pair_of(float(not second))]
    return {"prompt": fields.prompt(record), "responses": responses, "pairs": pairs}


def _is_shp(record: Record) -> bool:
    return record.get("human_ref_A") is not None and record.get("human_ref_B") is not None


def _read_shp(record: Record) -> Content:
    """SHP: `history` is the post, `labels` 1 where reference A is preferred (its card)."""
    first = fields.boolean(record.get("labels"), "labels")
    responses = fields.responses(record, ("human_ref_A", "human_ref_B"))
    prompt = fields.prompt({"prompt": record.get("history")})
    return {"prompt": prompt, "responses": responses, "pairs": [pair_of(float(first))]}


def _is_webgpt(record: Record) -> bool:
    return record.get("answer_0") is not None and record.get("score_0") is not None


def _read_webgpt(record: Record) -> Content:
    """WebGPT comparisons: a question with its data set, and scores of -1 to 1 that oppose."""
    question = fields.structure(record.get("question"))
    if isinstance(question, dict):
        question = question.get("full_text")
    difference = fields.number(record["score_0"], "score_0")
    difference -= fields.number(record.get("score_1"), "score_1")
    responses = fields.responses(record, ("answer_0", "answer_1"))
    prompt = fields.prompt({"question": question})
    return {"prompt": prompt, "responses": responses, "pairs": [_by_difference(difference)]}


def _is_summaries(record: Record) -> bool:
    return isinstance(record.get("summaries"), (list, tuple)) and record.get("choice") is not None


def _read_summaries(record: Record) -> Content:
    """summarize-from-feedback: `info` has the post, `choice` is the better summary's place."""
    info = record.get("info")
    if not isinstance(info, dict):
        raise BadRecord("bad_schema", f"info = {info!r:.60}, not a dict with a post or an article")
    if len(record["summaries"]) != 2:
        raise BadRecord("bad_schema", f"{len(record['summaries'])} summaries; a pair is two")
    second = fields.boolean(record["choice"], "choice")
    prompt = fields.prompt({"prompt": info.get("post") or info.get("article")})
    responses = [fields.response(text, "summaries") for text in record["summaries"]]
    return {"prompt": prompt, "responses": responses, "pairs": [pair_of(float(not second))]}


# ------------------------------------------------------------------ no verdict


def may_be_verdict(record: Record) -> str | None:
    """The first column with what could be a verdict: 0, 1, 2, or a word for one of two sides."""
    # An answer may be the letter A.
    others = (*fields.PROMPT_PARTS, *(two_responses(record) or ()), "id")
    for name, value in record.items():
        is_number = isinstance(value, (int, float)) and abs(value) <= 3
        is_word = isinstance(value, str) and word(value) in {*WINNERS, *"0123"}
        if (is_number or is_word) and name not in others:
            return name
    return None


def _is_unlabeled(record: Record) -> bool:
    """Two responses to be scored: nothing beside them could say which is better."""
    # A verdict that is null is one of a file that has verdicts.
    has_verdict = any(name in record for name in (*VERDICTS, *STRENGTHS))
    return two_responses(record) is not None and not has_verdict and not may_be_verdict(record)


def _read_unlabeled(record: Record) -> Content:
    prompt, responses = _contents(record)
    return {"prompt": prompt, "responses": responses, "pairs": []}


# ------------------------------------------------------------------ the table


def _is_arena(record: Record) -> bool:
    return is_verdict(record) and record.get("conversation_a") is not None


LAYOUTS = (
    Layout("PKU-SafeRLHF", _is_safe_rlhf, _read_safe_rlhf),
    Layout("SHP", _is_shp, _read_shp),
    Layout("WebGPT comparisons", _is_webgpt, _read_webgpt),
    Layout("summarize-from-feedback, posts without titles", _is_summaries, _read_summaries),
    Layout("HelpSteer preference strengths", _is_strength, _read_strength),
    Layout("Chatbot Arena with one-hot winners", _is_one_hot, _read_one_hot),
    Layout("Chatbot Arena conversations", _is_arena, _read_verdict),
    Layout("two responses and a verdict", is_verdict, _read_verdict),
    # A verdict beside them says more: it knows ties, and which way scores are to be read.
    Layout("two responses with a score each", _is_scored, _read_scored),
)
# Tried last of those with two responses: no label is needed to score them.
UNLABELED = Layout("two responses without a verdict", _is_unlabeled, _read_unlabeled)
