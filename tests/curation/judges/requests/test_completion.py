"""The envelope of a reply: what is believed, and what is trouble of the transport."""

import json

import pytest

from rewardjax.curation.judges.requests.completion import read_completion, read_reply
from rewardjax.curation.servers.replies import Trouble
from rewardjax.curation.servers.requests import Price, Request, cost

MESSAGES = [{"role": "user", "content": "which is better?"}]
REQUEST = Request(
    "judge:m", {"messages": MESSAGES, "max_tokens": 50}, "", Price(1.0, 0.5, 4.0), subject="p"
)
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 2,
    "prompt_tokens_details": {"cached_tokens": 5},
}


def completion(content="x", finish="stop", usage=USAGE, **message):
    choice = {"message": {"role": "assistant", "content": content, **message}}
    return {"choices": [choice | {"finish_reason": finish}], "usage": usage}


def answer(*args, **more):
    return read_completion(completion(*args, **more), REQUEST)


def test_a_whole_reply_is_read():
    read = answer()
    assert (read.text, read.finish, read.prompt_tokens, read.cached_tokens) == ("x", "stop", 7, 5)
    assert read.counted and read.mercies == ()


@pytest.mark.parametrize(
    "content, what",
    [
        (b"<html><body>Bad gateway</body></html>", "a web page"),
        (b'{"choices": [{"mess', "not JSON"),
        (b"", "0 bytes"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b"{}", "without choices"),
        (b'{"choices": null}', "without choices"),
        (b'{"choices": []}', "without choices"),
        (b'{"choices": [null]}', "without choices"),
        (b'{"choices": [{"message": null}]}', "no message"),
        (b'{"choices": [{"message": {}, "finish_reason": "error"}]}', "finish_reason"),
        (b'{"choices": [{"message": {"content": ""}, "finish_reason": "abort"}]}', "abort"),
        (b'{"error": {"code": 429, "message": "slow down"}}', "slow down"),
        (b'{"error": "overloaded", "choices": [{}]}', "overloaded"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe{", "not JSON"),
    ],
)
def test_what_is_no_completion_is_trouble_and_no_answer(content, what):
    with pytest.raises(Trouble, match=what):
        read_reply(content, REQUEST)


def test_an_error_of_status_200_keeps_its_code():
    with pytest.raises(Trouble) as trouble:
        read_completion({"error": {"code": "insufficient_quota", "message": "pay"}}, REQUEST)
    assert trouble.value.code == "insufficient_quota"


def test_blanks_before_the_json_are_no_trouble():
    assert read_reply(b"\n \n" + json.dumps(completion()).encode(), REQUEST).text == "x"


def test_the_text_is_found_where_servers_put_it():
    parts = [{"type": "thinking", "thinking": [{"text": "no"}]}, {"type": "text", "text": "yes"}]
    assert (answer(parts).text, answer(parts).mercies) == ("yes", ("content in parts",))
    thought = answer(None, reasoning_content="yes")
    assert (thought.text, thought.mercies) == ("yes", ("answer inside the thinking",))
    assert answer("", reasoning="yes").text == "yes"
    assert answer(None).text == ""
    assert answer("no", reasoning_content="draft").text == "no"


def test_a_refusal_is_one():
    refused = answer(None, refusal="I would rather not.")
    assert (refused.finish, refused.text) == ("refusal", "I would rather not.")
    assert answer("", finish="content_filter").finish == "content_filter"


def test_half_a_surrogate_pair_can_be_stored():
    read = read_reply(b'{"choices": [{"message": {"content": "a \\ud83d b"}}]}', REQUEST)
    assert read.text == "a ? b" and read.mercies == ("broken character",)
    read.text.encode()


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "many",
        {},
        USAGE | {"prompt_tokens": float("nan")},
        USAGE | {"prompt_tokens": -7},
        USAGE | {"prompt_tokens": "7"},
        USAGE | {"prompt_tokens": True},
        USAGE | {"prompt_tokens": 10**12},
        USAGE | {"completion_tokens": 60_000},
        USAGE | {"completion_tokens": None},
        USAGE | {"prompt_tokens_details": {"cached_tokens": 8}},
        USAGE | {"prompt_tokens_details": {"cached_tokens": -1}},
    ],
)
def test_a_usage_that_cannot_be_is_booked_at_the_bound(usage):
    read = answer(usage=usage)
    assert not read.counted
    assert cost(REQUEST, read) == REQUEST.most()


def test_a_limit_that_was_ignored_is_paid_where_the_text_shows_it():
    read = answer("word " * 200, usage=USAGE | {"completion_tokens": 200})
    assert read.counted and read.completion_tokens == 200
