"""Two responses whose columns say which is the better one, with the prompt apart or inside both."""

from typing import Any

from rewardjax.data.groups import BadRecord, Message, Pair
from rewardjax.data.layouts import fields, transcripts
from rewardjax.data.layouts.fields import Record
from rewardjax.data.layouts.layout import Content, Layout
from rewardjax.data.layouts.verdicts import VERDICTS, WINNERS, word

# OpenAI's preference fine-tuning, now and in earlier versions.
OPENAI = (
    ("preferred_output", "non_preferred_output"),
    ("preferred_completion", "non_preferred_completion"),
)
# (better, worse), as trainers and data sets name them.
COLUMNS = (
    ("chosen", "rejected"),
    ("response_chosen", "response_rejected"),
    ("chosen_response", "rejected_response"),
    ("response_j", "response_k"),  # stack-exchange-paired
    *OPENAI,
    ("preferred", "dispreferred"),
    ("pos_resp", "neg_resp"),  # CValues-Comparison
    ("winning_response", "losing_response"),
    ("response", "rejected_response"),  # ms-swift, beside a query
)
# What a judge gave the better and the worse one; the difference is the margin.
SCORES = (
    ("score_chosen", "score_rejected"),
    ("rating_chosen", "rating_rejected"),
    ("chosen_rating", "rejected_rating"),
    ("chosen_score", "rejected_score"),
    ("chosen_avg_rating", "rejected_avg_rating"),
)
IN_MESSAGES = ("rejected_response", "rejected_messages")  # ms-swift


def columns(record: Record) -> tuple[str, str] | None:
    """The two columns of the better and the worse response, if the record has them."""
    names = fields.first_present_pair(record, COLUMNS)
    if names is not None:
        return names
    # A side that is null: the other one can be scored.
    for better, worse in COLUMNS:
        values = [record[name] for name in (better, worse) if name in record]
        if len(values) == 2 and any(value is not None for value in values):
            return better, worse
    return None


def is_pair(record: Record) -> bool:
    """Whether the record has a better and a worse response."""
    return columns(record) is not None


def _read_pair(record: Record) -> Content:
    """Whole conversations, or responses beside a prompt."""
    names = columns(record)
    assert names, "the layout fits"
    try:
        prompt, responses = _sides(record, names)
    except BadRecord as error:
        prompt, responses = _one_side(record, names, error)
    return {"prompt": prompt, "responses": responses, "pairs": [graded(record)]}


def _sides(record: Record, names: tuple[str, str]) -> tuple[list[Message], list[list[Message]]]:
    better, worse = (fields.text_or_messages(record[name], name) for name in names)
    if isinstance(better, str) and isinstance(worse, str):
        prompt, responses = _of_texts(record, better, worse)
    elif isinstance(better, list) and isinstance(worse, list):
        prompt, responses = _of_messages(record, [better, worse])
        if all(isinstance(record[name], str) for name in names):
            _refuse_quoted(record, names, responses)
    else:
        prompt, responses = _of_both_kinds(record, names, [better, worse])
    return prompt, responses


def _of_both_kinds(
    record: Record, names: tuple[str, str], sides: list[str | list[Message]]
) -> tuple[list[Message], list[list[Message]]]:
    """One side as messages, the other as a text, which answers what the messages answer."""
    prompt: list[Message] = []
    responses = []
    for name, side in zip(names, sides, strict=True):
        if isinstance(side, str):
            responses.append([{"role": "assistant", "content": side}])
            continue
        # An answer that quotes a dialogue is no conversation.
        if isinstance(record[name], str) and transcripts.is_transcript(record[name]):
            raise BadRecord("bad_schema", f"{name} is a transcript, and the other one is not")
        if side[-1].get("role") != "assistant":
            raise BadRecord(
                "bad_schema",
                "chosen and rejected: one is a text, the other a list of messages that does not "
                "end with the assistant's",
            )
        # The text stands instead of all that follows what the user said last, calls included.
        users = [i for i, message in enumerate(side) if message.get("role") == "user"]
        start = max(users, default=-1) + 1
        prompt, response = side[:start], side[start:]
        responses.append(response)
    if prompt:
        # A prompt column only repeats it, which `formats` checks.
        return fields.with_system(record, prompt), responses
    return fields.apart(fields.prompt(record), responses), responses


def _one_side(
    record: Record, names: tuple[str, str], error: BadRecord
) -> tuple[list[Message], list[list[Message]]]:
    """A response that can be scored beside one that cannot be read.

    Raises `error`, which is why the two are no pair, where this is not what is wrong.
    """
    responses = [fields.response_or_fault(record[name], name) for name in names]
    for k, response in enumerate(responses):
        if response[0].get("role") != "assistant":
            responses[k] = fields.unreadable(f"{names[k]} begins with another turn")
    readable = [response for response in responses if not fields.is_unreadable(response)]
    if len(readable) != 1 or not _has_prompt(record):
        raise error
    return fields.apart(fields.prompt(record), readable), responses


def _has_prompt(record: Record) -> bool:
    return fields.first_present(record, fields.PROMPTS) is not None


def _of_texts(record: Record, better: str, worse: str) -> tuple[list[Message], list[list[Message]]]:
    # The words that both texts begin with are no prompt: answers to an unknown question share them
    # too.
    name = fields.first_present(record, fields.PROMPTS)
    if name is None:
        raise BadRecord("bad_schema", fields.no_prompt(record))
    if isinstance(record[name], str) and transcripts.is_transcript(record[name]):
        better, worse = map(transcripts.without_label, (better, worse))
    prefix = record.get(fields.PREFIX) or ""
    responses = [fields.response(prefix + side, "") for side in (better, worse)]
    return fields.apart(fields.prompt(record), responses), responses


def _of_messages(
    record: Record, sides: list[list[Message]]
) -> tuple[list[Message], list[list[Message]]]:
    starts_with_assistant = [side[0].get("role") == "assistant" for side in sides]
    if all(starts_with_assistant) and _has_prompt(record):
        return fields.apart(fields.prompt(record), sides), sides
    if any(starts_with_assistant):
        raise BadRecord(
            "bad_schema",
            "chosen or rejected starts with the assistant, and the other or the prompt does not go "
            "with it",
        )
    # Whole conversations; a prompt column only repeats their start, which `formats` checks.
    prompt, responses = fields.split_messages(*sides)
    return fields.with_system(record, prompt), responses


def _refuse_quoted(record: Record, names: tuple[str, str], responses: list[list[Message]]) -> None:
    """Raise BadRecord where the responses of two transcripts are more than one turn each.

    Transcripts part in their last turn; earlier ones mean that an answer quotes a dialogue.
    """
    are_transcripts = all(transcripts.is_transcript(record[name]) for name in names)
    if are_transcripts and len(responses[0]) != len(responses[1]):
        raise BadRecord(
            "bad_schema",
            "the transcripts part before their last turn, and one goes on longer: an answer may "
            "quote a dialogue",
        )


def graded(record: Record) -> Pair:
    """Chosen over rejected, with the strength or the soft label that the record gives.

    A margin below zero is kept: the column's name is the label, and losses without margins use it.
    """
    target, margin = 1.0, 0.0
    name = fields.first_present(record, ("target", "preference"))
    # A verdict in words beside chosen and rejected says what their names say.
    if name == "preference" and _is_word(record[name]):
        name = None
    if name is not None:
        target = fields.number(record[name], name)
    if name == "preference" and target == 0.0:
        # In a column of probabilities chosen has at least some; in one of 0 and 1, 0 is a place.
        raise BadRecord(
            "bad_schema",
            f"preference = {record[name]!r} beside chosen and rejected: if it is the probability "
            "that chosen is better, say so by data.columns={target: preference}; if it is the "
            "place of the better response, leave it out by data.columns={preference: ''}",
        )
    if not 0.0 <= target <= 1.0:
        raise BadRecord("bad_schema", f"target (or preference) = {target}, not a probability")
    tie = target == 0.5
    if record.get("tie") is not None:
        tie = tie or fields.boolean(record["tie"], "tie")
    tie = tie or _says_tie(record)
    margin_name = fields.first_present(record, ("margin", "strength"))
    if margin_name is not None:
        margin = fields.number(record[margin_name], margin_name)
    else:
        names = fields.first_present_pair(record, SCORES)
        if names is not None:
            better, worse = (fields.number(record[name], name) for name in names)
            margin = better - worse
    if tie:
        return Pair(0, 1, target=0.5, tie=True)
    return Pair(0, 1, target=target, margin=margin)


def _says_tie(record: Record) -> bool:
    """Whether a verdict in words takes back what the columns' names say (distilabel: `status`).

    Raises BadRecord where it says the opposite. A letter names a place before the two were told
    apart.
    """
    for name in ("status", *VERDICTS):
        # Not by the record's own `get`: what says nothing about a tie has not been used.
        value = dict.get(record, name)
        if not isinstance(value, str):
            continue
        if WINNERS.get(word(value)) == 0.5:
            return record[name] is not None
        if word(value) in ("second", "rejected"):
            raise BadRecord(
                "bad_schema",
                f"{name} = {value!r:.40} contradicts the names of chosen and rejected: leave it "
                f"out, as in data.columns={{{name}: ''}}, or exchange the two",
            )
    return False


def _is_word(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


# ------------------------------------------------------------------ turns without speakers


def _is_texts(record: Record) -> bool:
    names = columns(record)
    if names is None or _has_prompt(record):
        return False
    return all(_are_turns(record[name]) for name in names)


def _are_turns(value: Any) -> bool:
    are_several = isinstance(value, (list, tuple)) and len(value) > 1
    return are_several and all(isinstance(text, str) for text in value)


def _read_texts(record: Record) -> Content:
    """Two lists of texts that part in the last one, the response; before it speakers take turns.

    So hh-rlhf-strength-cleaned has them (MOSS-RLHF:rm/reward_datahelper.py).
    """
    names = columns(record)
    assert names, "the layout fits"
    better, worse = (list(record[name]) for name in names)
    if better[:-1] != worse[:-1]:
        raise BadRecord(
            "bad_schema",
            f"{names[0]} and {names[1]} are lists of texts that part before the last one, so who "
            "says what is not certain: give messages with role and content",
        )
    # Counted from the response: a history that was cut begins with an answer.
    prompt = [
        {"role": ("user", "assistant")[back % 2], "content": text}
        for back, text in enumerate(reversed(better[:-1]))
    ]
    responses = [
        fields.response(side[-1], name) for side, name in zip((better, worse), names, strict=True)
    ]
    return {"prompt": prompt[::-1], "responses": responses, "pairs": [graded(record)]}


# ------------------------------------------------------------------ one side inside `messages`


def _is_swift(record: Record) -> bool:
    has_rejected = fields.first_present(record, IN_MESSAGES) is not None
    return has_rejected and record.get("messages") is not None and columns(record) is None


def _read_swift(record: Record) -> Content:
    """`messages` ends with the better response, the worse one stands apart.

    The worse one is instead of all that follows the last user message, calls of tools included
    (ms-swift:swift/template/template_inputs.py).
    """
    better = fields.prompt(record)
    worse_name = fields.first_present(record, IN_MESSAGES)
    assert worse_name, "the layout fits"
    if better[-1]["role"] != "assistant" or len(better) < 2:
        raise BadRecord("bad_schema", f"messages beside {worse_name} do not end with a response")
    worse = fields.response(record[worse_name], worse_name)
    if worse[0]["role"] == "assistant":
        users = [i for i, message in enumerate(better) if message["role"] == "user"]
        start = max(users, default=len(better) - 2) + 1
        prompt, responses = better[:start], [better[start:], worse]
    else:
        prompt, responses = fields.split_messages(better, worse)
    return {"prompt": prompt, "responses": responses, "pairs": [graded(record)]}


# ------------------------------------------------------------------ both in one list


def _is_alpaca_list(record: Record) -> bool:
    output = record.get("output")
    return isinstance(output, (list, tuple)) and record.get("instruction") is not None


def _read_alpaca_list(record: Record) -> Content:
    """`output` = [better, worse], as LLaMA-Factory had it at first."""
    output = record["output"]
    if len(output) != 2:
        raise BadRecord("bad_schema", f"output has {len(output)} responses; a pair is two")
    responses = [fields.response(item, f"output[{k}]") for k, item in enumerate(output)]
    prompt = fields.apart(fields.prompt(record), responses)
    return {"prompt": prompt, "responses": responses, "pairs": [Pair(0, 1)]}


# ------------------------------------------------------------------ OpenAI's preference fine-tuning


def _is_openai(record: Record) -> bool:
    is_request = isinstance(fields.structure(record.get("input")), dict)
    return is_request and columns(record) in OPENAI


def _read_openai(record: Record) -> Content:
    """`input` is a request of the chat API: messages, tools."""
    request = fields.structure(record["input"])
    names = columns(record)
    assert names, "the layout fits"
    responses = fields.responses(record, names)
    prompt = fields.text_or_messages(request.get("messages"), "input.messages")
    return {
        "prompt": fields.apart(prompt, responses),
        "responses": responses,
        "pairs": [graded(record)],
        "tools": fields.tools(request),
    }


# ------------------------------------------------------------------ the table


def _is_conversations(record: Record) -> bool:
    names = columns(record)
    return names is not None and any(isinstance(record[name], (list, tuple)) for name in names)


def _is_sharegpt(record: Record) -> bool:
    names = columns(record)
    return names is not None and isinstance(record[names[0]], dict)


def _is_alpaca(record: Record) -> bool:
    return is_pair(record) and record.get("instruction") is not None and not record.get("prompt")


def _is_stack_exchange(record: Record) -> bool:
    return columns(record) == ("response_j", "response_k")


LAYOUTS = (
    Layout("pairs of turns without speakers", _is_texts, _read_texts),
    Layout("OpenAI preference pairs", _is_openai, _read_openai),
    Layout("TRL conversational pairs", _is_conversations, _read_pair),
    Layout("LLaMA-Factory ShareGPT ranking", _is_sharegpt, _read_pair),
    Layout("LLaMA-Factory alpaca ranking", _is_alpaca, _read_pair),
    Layout("stack-exchange pairs", _is_stack_exchange, _read_pair),
    Layout("pairs of texts", is_pair, _read_pair),
    Layout("ms-swift pairs", _is_swift, _read_swift),
    Layout("LLaMA-Factory alpaca ranking, output list", _is_alpaca_list, _read_alpaca_list),
)
