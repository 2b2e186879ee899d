"""Single conversations, which can be scored; nothing in them compares two responses."""

from rewardjax.data.groups import BadRecord
from rewardjax.data.layouts import fields
from rewardjax.data.layouts.fields import Record
from rewardjax.data.layouts.layout import Content, Layout

WHOLE = ("messages", "conversations", "conversation")
RESPONSES = ("response", "completion", "output", "answer")
# HelpSteer2's attributes, one response per row.
ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


def _is_response(record: Record) -> bool:
    has_prompt = fields.first_present(record, fields.PROMPTS) is not None
    return has_prompt and fields.first_present(record, RESPONSES) is not None


def _is_attributes(record: Record) -> bool:
    return _is_response(record) and all(record.get(name) is not None for name in ATTRIBUTES)


def _read_response(record: Record) -> Content:
    name = fields.first_present(record, RESPONSES)
    assert name, "the layout fits"
    response = fields.response(record[name], name)
    prompt = fields.apart(fields.prompt(record), [response])
    return {"prompt": prompt, "responses": [response], "pairs": []}


def _is_conversation(record: Record) -> bool:
    return fields.first_present(record, WHOLE) is not None


def _read_conversation(record: Record) -> Content:
    """The last turn is the response."""
    messages = fields.prompt(record)
    if len(messages) < 2:
        raise BadRecord("bad_schema", "the conversation has one message: there is no response")
    return {"prompt": messages[:-1], "responses": [messages[-1:]], "pairs": []}


LAYOUTS = (
    Layout("HelpSteer2 attributes", _is_attributes, _read_response),
    Layout("prompts with one response", _is_response, _read_response),
    Layout("conversations", _is_conversation, _read_conversation),
)
