"""What `curate explain` says beside the ledger's rows, and that hostile texts stay texts."""

import contextlib
import json

from ledgers import pair, score, vote

from rewardjax import config as config_lib
from rewardjax import curate
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.servers.requests import Answer, Price, Request

# Clears the screen, sets the clipboard, goes back to the line's start, and imitates our output.
HOSTILE = "\x1b[2J\x1b]52;c;cm0gLXJm\x07\rfine\nstands in gold with label b\x9b1m\u202e"


def shown(capsys):
    """Both streams, without a character that would steer a terminal."""
    said = capsys.readouterr()
    for character in said.out + said.err:
        assert character == "\n" or character.isprintable(), repr(character)
    return said.out


def ask(folder, text, **changes):
    """One answered request about pair 00."""
    settings = {"voter": "judge:m", "subject": "00", "purpose": "label-0-judges", "shown": "ab"}
    body = {"model": "m", "messages": [], "max_tokens": 9}
    request = Request(body=body, revision="", price=Price(1.0, 0.0, 2.0), **settings | changes)
    with contextlib.closing(CallLedger(folder / "calls.sqlite")) as calls:
        row = calls.reserve(request)
        answer = Answer(text, prompt_tokens=10, completion_tokens=5)
        calls.settle(row, request, answer, seconds=0.5)


def test_texts_replies_and_names_do_not_steer_the_terminal(tmp_path, capsys):
    store = Store(tmp_path / "store")
    content = json.dumps([{"role": HOSTILE, "content": HOSTILE}])
    texts = {"prompt": content, "response_a": content, "source": HOSTILE, "record_id": HOSTILE}
    store.append("pairs", "import", "0", [pair("00", **texts)])
    said = vote("00", f"judge:{HOSTILE}", evidence=json.dumps({"rationale": HOSTILE}))
    store.append("votes", "label", "0", [vote("00", "original:s"), said])
    described = {"task_category": "Math", "objectivity": "Objective", "controversiality": "Low"}
    described |= {"desired_attributes": HOSTILE, "annotation_guideline": HOSTILE}
    row = {"pair_id": "00", "voter": "judge:m", "kind": "judge"} | described
    store.append("attributes", "tag", "0", [row])
    ask(tmp_path, HOSTILE)
    assert curate.main(["explain", str(tmp_path), "00"]) == 0
    lines = shown(capsys).splitlines()
    # Only one line is ours; what imitates it is indented.
    assert sum(line.startswith("stands in") for line in lines) == 1
    assert sum("stands in gold" in line for line in lines) > 2
    assert r"\x1b[2J" in "\n".join(lines)
    assert curate.main(["status", str(tmp_path)]) == 0
    assert r"\x1b[2J" in shown(capsys)
    flagged = {"pair_id": "00", "finding": "pii", "action": "flag"}
    flagged["evidence"] = json.dumps({"prompt": ["e-mail"]})
    store.append("findings", "clean", "0", [flagged])
    assert curate.main(["review", str(tmp_path)]) == 0
    assert r"\x1b[2J" in shown(capsys)
    assert curate.main(["explain", str(tmp_path), HOSTILE]) == 2
    shown(capsys)


def test_each_reply_is_shown_word_for_word_by_call(tmp_path, capsys):
    store = Store(tmp_path / "store")
    store.append("pairs", "import", "0", [pair("00"), pair("01")])
    store.append("votes", "import", "0", [vote("00", "original:s")])
    ask(tmp_path, "Sure! It is the first one.")
    ask(tmp_path, '{"preferred": "Candidate 1"}', attempt=1)
    ask(tmp_path, "about another pair", subject="01", sample=7)
    assert curate.main(["explain", str(tmp_path), "00"]) == 0
    lines = shown(capsys).splitlines()
    replies = lines[lines.index("replies, word for word:") + 1 :]
    start = "  judge:m, label-0-judges, sample 0, try {}, shown ab: answered, 10 + 5 tokens, $0.000020: "
    assert replies == [
        f"{start.format(0)}Sure! It is the first one.",
        f'{start.format(1)}{{"preferred": "Candidate 1"}}',
    ]


def test_models_are_shown_with_p_and_with_their_accuracy_on_gold(tmp_path, capsys):
    store = Store(tmp_path / "store")
    store.append("pairs", "import", "0", [pair("00", entry="wild")])
    store.append("votes", "import", "0", [vote("00", "original:s")])
    seats = [score("00", "m1", 3.0, "best"), score("00", "m2", -2.0, "gold")]
    store.append("scores", "wild", "0", seats, iteration=1)
    opinions = dict.fromkeys(("original", "gold", "best", "judges", "humans"), "none")
    decided = {"pair_id": "00", "round": 1, "action": "keep", "rule": "r", "value": "a"} | opinions
    store.append("decisions", "stage2-final", "0", [decided], iteration=1)
    correct = {f"{i:02d}": i < 40 for i in range(50)}
    report = {"pairs": 50, "correct": correct, "temperature": 1.5}
    (tmp_path / "reports").mkdir()
    config_lib.write_json(tmp_path / "reports/gold-1.json", report)
    gate = {"gate": "gold_accuracy", "hits": 30, "pairs": 40, "share": 0.75, "low": 0.6}
    gate |= {"high": 0.86, "threshold": 0.5, "verdict": "passed"}
    settings = {"decisions": {"gold_temperature": 4.0}}
    inputs = {"settings": settings}
    store.append("gates", "stage2-score", "00000", [gate], iteration=1, inputs=inputs)
    assert curate.main(["explain", str(tmp_path), "00"]) == 0
    out = shown(capsys)
    # sigmoid(3 / 1.5) and sigmoid(-2 / 4); the intervals are Wilson's.
    assert "best RM in iteration 1: p(a) = 0.881, from a margin of 3 at temperature 1.5" in out
    assert "right about 40 of 50 gold pairs, 0.800 (95% interval 0.670 - 0.888)" in out
    assert "gold RM in iteration 1: p(a) = 0.378" in out and "30 of 40 gold pairs, 0.750" in out
    assert "stage2-score: gold_accuracy passed: 30 of 40, 0.750 (95%" in out
    assert "threshold 0.5" in out
