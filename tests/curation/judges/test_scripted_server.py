import argparse
import ast
import dataclasses
import io
import json
import shlex
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from judging import STANDARD, world_items
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax.curation.judges import prompts, scripted_server
from rewardjax.curation.judges.attributes import Attributes
from rewardjax.curation.judges.prompts import Example
from rewardjax.curation.judges.scripted_judge import Behavior, Truth, answer, truth_of
from rewardjax.curation.judges.scripted_server import JudgeServer, parse_judge, serve
from rewardjax.data import world
from rewardjax.data.sources import open_source

ITEMS, RIGHT, TRUTH = world_items(150)
SIDES = ("chosen", "rejected")


def verdicts(
    behavior: Behavior, shown: str, samples: int = 1, items=ITEMS, truth=TRUTH
) -> list[str]:
    """a, b or tie for each item and sample."""
    said = []
    for item in items:
        for sample in range(samples):
            body = {
                "model": "m",
                "messages": prompts.judge_messages(item, shown, STANDARD),
                "seed": sample,
                "response_format": {"type": "json_schema"},
            }
            said.append(
                prompts.canonical_value(
                    json.loads(answer(behavior, body, truth, seed=0))["preferred"], shown
                )
            )
    return said


def share_right(said) -> float:
    return sum(value == RIGHT[item.pair_id] for value, item in zip(said, ITEMS, strict=True)) / len(
        ITEMS
    )


@pytest.mark.parametrize("shown", ["ab", "ba"])
def test_it_is_right_as_often_as_it_is_told_to_be(shown):
    assert share_right(verdicts(Behavior(accuracy=1.0), shown)) == 1.0
    assert share_right(verdicts(Behavior(accuracy=0.0), shown)) == 0.0
    assert share_right(verdicts(Behavior(accuracy=0.75), shown)) == pytest.approx(0.75, abs=0.1)


def test_biases_do_what_they_say():
    assert set(verdicts(Behavior(position_bias=1.0), "ab")) == {"a"} and set(
        verdicts(Behavior(position_bias=1.0), "ba")
    ) == {"b"}
    assert set(verdicts(Behavior(no_preference=1.0), "ab")) == {"tie"}
    for item, value in zip(
        ITEMS, verdicts(Behavior(accuracy=1.0, length_bias=1.0), "ab"), strict=True
    ):
        a, b = (len(response[0]["content"]) for response in item.responses)
        assert value == (RIGHT[item.pair_id] if a == b else "a" if a > b else "b")


def test_systematic_mistakes_are_the_pairs_own():
    same = verdicts(Behavior(accuracy=0.7, systematic=1.0), "ab", samples=2)
    assert same[::2] == same[1::2] == verdicts(Behavior(accuracy=0.7, systematic=1.0), "ba")
    free = verdicts(Behavior(accuracy=0.7, systematic=0.0), "ab", samples=2)
    assert free[::2] != free[1::2]


def test_examples_of_the_same_task_help():
    attributes = {
        item.pair_id: TRUTH.facts[prompts.conversation(item.prompt)].attributes for item in ITEMS
    }
    tagged = []
    for item in ITEMS:
        of_category = [
            one
            for one in ITEMS
            if attributes[one.pair_id].task_category == attributes[item.pair_id].task_category
            and one is not item
        ]
        tagged.append(
            dataclasses.replace(
                item,
                examples=tuple(
                    Example(one.pair_id, one.prompt, one.responses, RIGHT[one.pair_id])
                    for one in of_category[:2]
                ),
            )
        )
    behavior = Behavior(accuracy=0.6, examples_help=1.0)
    assert (
        share_right(verdicts(behavior, "ab")) < 0.7
        and share_right(verdicts(behavior, "ab", items=tagged)) == 1.0
    )


def test_what_it_does_not_know_it_does_not_judge():
    assert set(verdicts(Behavior(accuracy=1.0), "ab", truth=Truth())) == {"tie"}


def test_attributes_are_the_worlds():
    body = {
        "model": "m",
        "messages": prompts.tag_messages(ITEMS[0]),
        "response_format": {"type": "json_schema"},
    }
    known = TRUTH.facts[prompts.conversation(ITEMS[0].prompt)].attributes
    assert (
        Attributes.model_validate_json(answer(Behavior(attribute_accuracy=1.0), body, TRUTH, 0))
        == known
    )
    wrong = Attributes.model_validate_json(answer(Behavior(attribute_accuracy=0.0), body, TRUTH, 0))
    assert all(
        getattr(wrong, field) != getattr(known, field)
        for field in ("task_category", "objectivity", "controversiality")
    )
    assert (
        Attributes.model_validate_json(
            answer(Behavior(attribute_accuracy=1.0), body, Truth(), 0)
        ).task_category
        == "Other"
    )


def test_groups_with_correctness_are_known_too():
    records = list(world.generate_groups(seed=0, num=5, responses=4))
    table = truth_of(records).facts
    for record in records:
        assert list(table[prompts.conversation(record["prompt"])].correct.values()).count(
            True
        ) <= sum(record["correct"])
    assert (
        truth_of([{"prompt": "q", "chosen": "a", "rejected": "b"}]) == Truth()
    )  # nobody knows who is right


def test_two_sources_are_one_table_even_where_they_share_a_prompt():
    prompt = [{"role": "user", "content": "q"}]
    reply = lambda text: [{"role": "assistant", "content": text}]
    group = lambda *texts: {
        "prompt": prompt,
        "responses": [reply(text) for text in texts],
        "correct": [text == "right" for text in texts],
    }
    table = truth_of([group("right", "wrong")], [group("right", "worse")]).facts
    correct = table[prompts.conversation(prompt)].correct
    assert {text.split("\n")[1]: value for text, value in correct.items()} == {
        "right": True,
        "wrong": False,
        "worse": False,
    }


def documented_command(path: str) -> argparse.Namespace:
    """The arguments of the command line in a file that starts the scripted judges."""
    text = (ROOT / path).read_text()
    if path.endswith(".py"):
        text = ast.get_docstring(ast.parse(text))
    lines = text.replace("\\\n", " ").splitlines()
    (line,) = (line for line in lines if scripted_server.__name__ in line)
    words = [word for word in shlex.split(line, comments=True) if word != "&"]
    return scripted_server.parser().parse_args(words[words.index(scripted_server.__name__) + 1 :])


@pytest.mark.parametrize("path", ["configs/curation/world.py", "docs/curation.md"])
def test_the_documented_command_knows_every_pair_that_its_config_may_ask_about(path):
    command = documented_command(path)
    truth = truth_of(*map(open_source, command.source)).facts
    config = config_lib.load("configs/curation/world.py")
    assert {judge["model"] for judge in config.judges} == {
        name for name, _ in map(parse_judge, command.judge)
    }
    assert set(config.sources) == {"hard", "wild"}
    for source in config.sources.values():
        for record in open_source(source.source):
            correct = truth[prompts.conversation(record["prompt"])].correct
            assert {prompts.conversation(record[side]) for side in SIDES} <= set(correct)


def test_the_server_counts_the_pairs_it_knew_and_says_so_early():
    lines = io.StringIO()
    server = JudgeServer({"m": Behavior()}, world_items(60)[2], report=lines)
    try:
        for shown in ("ab", "ba"):  # a pair counts once
            for item in ITEMS[:100]:
                server.respond(
                    {"model": "m", "messages": prompts.judge_messages(item, shown, STANDARD)}
                )
    finally:
        server.http.server_close()
    assert (server.stats()["pairs_known"], server.stats()["pairs_asked"]) == (60, 100)
    assert lines.getvalue().splitlines() == [
        "scripted judges: 50 of 50 pairs asked about are known",
        "scripted judges: 60 of 100 pairs asked about are known; "
        'the answer about the others is "No preference": give their --source or --truth',
    ]


def post(url: str, body) -> tuple[int, dict]:
    sent = urllib.request.Request(
        f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(sent, timeout=10) as found:
            return found.status, json.load(found)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_over_http_the_same_request_gets_the_same_answer_and_faults_are_real():
    body = {
        "model": "good",
        "messages": prompts.judge_messages(ITEMS[0], "ab", STANDARD),
        "max_tokens": 100,
    }
    behaviors = {
        "good": Behavior(),
        "busy": Behavior(rate_limited=1.0),
        "cut": Behavior(),
        "picky": Behavior(strict=True),
    }
    with serve(behaviors, TRUTH, seed=3) as server:
        one, two = post(server.url, body), post(server.url, body)
        assert one == two and one[0] == 200 and one[1]["usage"]["completion_tokens"] > 0
        assert (
            post(server.url, body | {"model": "busy"})[0] == 429
            and post(server.url, body | {"model": "none"})[0] == 404
        )
        assert (
            post(server.url, body | {"max_tokens": 3})[1]["choices"][0]["finish_reason"] == "length"
        )
        assert (
            post(server.url, body | {"model": "picky", "response_format": {"type": "json_object"}})[
                0
            ]
            == 400
        )
        with urllib.request.urlopen(server.url.removesuffix("/v1") + "/stats") as found:
            stats = json.load(found)
        assert (
            stats["answered"] == 3
            and stats["answered_twice"] == 1
            and stats["statuses"]["429"] == 1
        )


def test_a_judge_on_the_command_line():
    assert parse_judge("good") == ("good", Behavior())
    assert parse_judge("x:accuracy=0.9,strict=True,honours=json_object") == (
        "x",
        Behavior(accuracy=0.9, strict=True, honours="json_object"),
    )
    with pytest.raises(ValueError, match="acuracy"):
        parse_judge("x:acuracy=0.9")


def test_the_command_serves():
    command = [
        sys.executable,
        "-m",
        scripted_server.__name__,
        "--source",
        "world:train?num=5",
        "--source",
        "world:train?num=5&seed=1",
        "--judge",
        "good:accuracy=1",
        "--port",
        "0",
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("10 prompts, models good: http://")
            url = line.split()[-1]
            status, found = post(
                url,
                {
                    "model": "good",
                    "messages": prompts.judge_messages(ITEMS[0], "ab", STANDARD),
                    "max_tokens": 100,
                },
            )
            assert status == 200 and "Candidate" in found["choices"][0]["message"]["content"]
            process.terminate()
            assert "1 of 1 pairs asked about are known" in process.communicate(timeout=20)[1]
        finally:
            process.kill()
