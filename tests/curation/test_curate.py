"""The whole pipeline in miniature:

judges over HTTP, simulated people, tiny reward models; killed anywhere, the same store.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax import curate
from rewardjax.command.exit_codes import ExitCode
from rewardjax.curation.judges.scripted_judge import Behavior, truth_of
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.ledger import decisions
from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import soundness
from rewardjax.data.sources import open_source

CONFIG = ROOT / "configs/curation/world.py"


@contextlib.contextmanager
def scripted_judges():
    """A judge server that knows the truth of the tiny config's pairs;

    yields the config's argument.
    """
    config = config_lib.load(f"{CONFIG}:tiny")
    truth = truth_of(*(open_source(source.source) for source in config.sources.values()))
    behaviors = {
        "sharp": Behavior(accuracy=0.9),
        "longwinded": Behavior(length_bias=0.3),
        "lopsided": Behavior(position_bias=0.3, malformed=0.1),
    }
    with serve(behaviors, truth) as server:
        yield server, f"{CONFIG}:tiny,url={server.url}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(workspace, config, judge server) of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("curate") / "whole"
    with scripted_judges() as (server, config):
        assert curate.main(["run", str(folder), "--config", config]) == 0
        yield folder, config, server


def test_every_pair_ends_in_one_pool_and_every_decision_follows_from_the_ledger(finished, capsys):
    folder, config, _ = finished
    store = Store(folder / "store")
    sizes = pools_lib.sizes(store)
    assert sum(sizes.values()) == store.query("select count(*) from pairs").column(0)[0].as_py()
    assert sizes["gold"] > 5 and sizes["silver"] > 5 and sizes["curated"] > 0
    assert curate.main(["audit", str(folder)]) == 0
    assert "sound" in capsys.readouterr().out
    assert decisions.audit(store, "stage2-final-2") == []
    picked = store.query("select pair_id, count(*) from picks group by pair_id having count(*) > 1")
    assert picked.num_rows == 0
    retrieved = (
        store.query("select evidence from picks where stage = 'pick-1'").column(0).to_pylist()
    )
    gold = set(
        store.query("select pair_id from votes where kind = 'human' and iteration = 0")
        .column(0)
        .to_pylist()
    )
    assert retrieved and all(
        json.loads(why)["by"] == "retrieval" and json.loads(why)["gold"] in gold
        for why in retrieved
    )


def test_reports_and_sets_are_written(finished):
    folder, _, _ = finished
    for page in ("iteration-0", "iteration-1", "stage2-2"):
        page = (folder / f"reports/{page}.html").read_text()
        assert (
            "Pools" in page and "Judges: position and length" in page and "judge:lopsided" in page
        )
    assert "Gold errors of the best RM" in page and "gold and best RM agree" in page
    assert "Gates" in page and "gold pairs the best RM is right about" in page
    # The verdict comes first, then where the pairs went.
    assert re.search(r"<p>Of 120 pairs: \d+ kept, \d+ flipped, .*</p>\s*<p>Gates: 9 off.</p>", page)
    assert re.search(r"<p>Money: judges \$0.0\d+ \(no limit\), people \$\d.\d\d", page)
    assert (
        page.index("Of 120 pairs") < page.index('alt="From the sources') < page.index("Pools</h2>")
    )
    for heading in ("flipped", "kept", "discarded"):
        assert f"{heading}</h2>" in page
    assert "says what the panel says" in page and "tokens in" in page and "said left" in page
    rows = {
        name: pq.read_table(folder / f"data/{name}.parquet").to_pylist()
        for name in ("original", "filtered", "flipped")
    }
    chosen = {
        name: {row["pair_id"]: row["chosen"] for row in table} for name, table in rows.items()
    }
    assert 5 < len(chosen["filtered"]) < len(chosen["flipped"]) <= len(chosen["original"])
    assert chosen["filtered"].keys() <= chosen["flipped"].keys() <= chosen["original"].keys()
    for pair_id, response in chosen["filtered"].items():  # a kept label is the original one
        assert chosen["original"][pair_id] == chosen["flipped"][pair_id] == response
    for row in rows["flipped"]:
        assert (row["chosen"] != chosen["original"][row["pair_id"]]) == (
            row["original_label"] == "flipped"
        )


def test_a_finished_run_started_again_changes_and_asks_nothing(finished, capsys):
    folder, config, server = finished
    before, paid = Store(folder / "store").fingerprint(), sum(server.paid.values())
    assert curate.main(["run", str(folder), "--config", config]) == 0
    assert (
        Store(folder / "store").fingerprint()
        == before
        == json.loads(capsys.readouterr().out.splitlines()[-1])["ledger"]
    )
    assert sum(server.paid.values()) == paid and max(server.paid.values()) == 1
    assert curate.main(["run", str(folder), "--config", config, "--set", "stage1.first=99"]) == 2
    assert "stage1.first: 24 -> 99" in capsys.readouterr().err


def test_status_and_explain_show_what_the_ledger_holds(finished, capsys):
    folder, _, _ = finished
    assert curate.main(["status", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "curated" in shown and "judge:sharp" in shown and "stage2-final" in shown
    # The guide shows these lines; amounts may be others.
    guide = (ROOT / "docs/curation.md").read_text()
    lines = re.search(r"    Run: the last run(?:.+\n)+", guide)[0].splitlines()
    assert len(lines) == 5
    for said, in_guide in zip(shown.splitlines(), lines, strict=False):
        assert re.sub(r"\d[\d.,]*\d|\d", "0", said) == re.sub(
            r"\d[\d.,]*\d|\d", "0", in_guide.strip()
        )
    assert "annotator" in shown and "checks" in shown
    assert "Gates" in shown and "labels that would be flipped" in shown
    store = Store(folder / "store")
    (flipped,) = store.query(
        "select pair_id from decisions where stage = 'stage2-final-2' and action = 'flip' order by 1 limit 1"
    ).column(0)
    assert curate.main(["explain", str(folder), flipped.as_py()[:12]]) == 0
    shown = capsys.readouterr().out
    said = (
        store.query("select count(*) from votes where pair_id = ?", [flipped.as_py()])
        .column(0)[0]
        .as_py()
    )
    # No judge was asked: both models prefer the other response, whatever judges say.
    assert shown.count("voter original:") == said == 1
    for word in (
        "original:wild",
        "scorer gold",
        "scorer best",
        "action flip",
        "because of: flip",
        "assistant:",
    ):
        assert word in shown
    (judged,) = store.query(
        "select pair_id from votes where kind = 'judge' order by 1 limit 1"
    ).column(0)
    assert curate.main(["explain", str(folder), judged.as_py()]) == 0
    shown = capsys.readouterr().out
    assert shown.count("voter judge:") > 1 and "kind panel" in shown
    assert curate.main(["explain", str(folder), "nothing"]) == 2
    assert "no pair" in capsys.readouterr().err


def test_import_and_export_by_command(tmp_path, capsys):
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "test.jsonl").write_text('{"prompt": "Two?", "chosen": "2", "rejected": "3"}\n')
    (repository / "train.jsonl").write_text(
        '{"prompt": "One?", "chosen": "yes", "rejected": "no"}\n{"prompt": "", "chosen": "x", "rejected": "y"}\n'
    )
    folder = str(tmp_path / "w")
    assert curate.main(["status", folder]) == 2
    assert "is not a workspace" in capsys.readouterr().err
    assert (
        curate.main(
            ["import", folder, "--source", str(repository), "--split", "train"]
            + ["--name", "r", "--entry", "wild"]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out) == {
        "rows": 2,
        "pairs": 1,
        "duplicates": 0,
        "rejects": 1,
        "contradicting": 0,
    }
    out = tmp_path / "out.parquet"
    assert curate.main(["export", folder, "--output", str(out), "--pools", "wild"]) == 0
    assert pq.read_table(out).to_pylist()[0]["chosen"] == [{"role": "assistant", "content": "yes"}]


# ------------------------------------------------------------------ interruptions

CHEAP = ["--set", "stage1.iterations=0", "--set", "stage2.table="]  # everything but reward models


class Killed(Exception):
    """Stands for a kill, in this process."""


@contextlib.contextmanager
def killed_at_commit(monkeypatch, number: int, before: bool):
    """The `number`-th shard committed from here on is the last:

    its rows are in place, its manifest is not (`before`), or just is.
    """
    commits, write = 0, config_lib.write_json

    def interrupting(path, value):
        nonlocal commits
        shard = isinstance(value, dict) and "ledger" in value
        commits += shard
        if shard and commits == number and before:
            raise Killed
        write(path, value)
        if shard and commits == number:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(config_lib, "write_json", interrupting)
        yield


@pytest.fixture(scope="module")
def cheap(tmp_path_factory):
    """(arguments of a run without reward models, fingerprint of its store when nothing
    interrupts it).
    """
    folder = tmp_path_factory.mktemp("cheap")
    with scripted_judges() as (_, config), pytest.MonkeyPatch.context() as patched:
        patched.setattr("rewardjax.curation.ledger.stage_names.UNIT", 15)
        arguments = ["--config", config, *CHEAP]
        assert curate.main(["run", str(folder), *arguments]) == 0
        yield arguments, Store(folder / "store").fingerprint()


def test_killed_at_every_commit_the_store_ends_the_same(cheap, tmp_path, monkeypatch):
    arguments, whole = cheap
    kills = 0
    while True:
        with killed_at_commit(monkeypatch, 1 if kills % 2 else 2, before=kills % 3 > 0):
            try:
                assert curate.main(["run", str(tmp_path), *arguments]) == 0
                break
            except Killed:
                kills += 1
    assert kills >= 20
    assert (
        Store(tmp_path / "store").fingerprint() == whole
        and soundness.problems(Store(tmp_path / "store")) == []
    )


def test_a_spent_budget_pauses_and_is_never_exceeded(cheap, tmp_path, capsys):
    arguments, whole = cheap
    assert (
        curate.main(["run", str(tmp_path), *arguments, "--set", "budget.judges=0.01"])
        == ExitCode.WAITS
    )
    assert "budget" in capsys.readouterr().err
    database = sqlite3.connect(tmp_path / "calls.sqlite")
    assert 0.005 < database.execute("select sum(booked) from calls").fetchone()[0] <= 0.01
    assert curate.main(["run", str(tmp_path), *arguments, "--set", "budget.judges=10.0"]) == 0
    assert Store(tmp_path / "store").fingerprint() == whole


def answered(folder, answers):
    """Answers (task -> fields) given to `curate answers` and stored; its exit code."""
    back = folder / "back.jsonl"
    back.write_text("\n".join(json.dumps({"task": task} | rest) for task, rest in answers.items()))
    return curate.main(["answers", str(folder), str(back), "--commit"])


def tasks_of(folder, step="people-0"):
    lines = (folder / f"queue/{step}.tasks.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_people_who_answer_by_file_are_waited_for(cheap, tmp_path, capsys):
    arguments, _ = cheap
    by_file = [*arguments, "--set", "people.kind=files"]
    for _ in range(2):
        assert curate.main(["run", str(tmp_path), *by_file]) == ExitCode.WAITS
        said = capsys.readouterr().err
        assert "tasks for people" in said and f"curate answers {tmp_path} FILE" in said
    # Where answers belonged in an earlier version: nobody waits for a file that is never read.
    (tmp_path / "queue/people-0.answers.jsonl").write_text("{}")
    assert curate.main(["run", str(tmp_path), *by_file]) == ExitCode.WAITS
    assert "people-0.answers.jsonl is not read by itself" in capsys.readouterr().err
    tasks = tasks_of(tmp_path)
    answers = {task["task"]: {"choice": "left"} for task in tasks}
    some = dict(list(answers.items())[:4])
    assert answered(tmp_path, some | {"unknown": {"choice": "left"}}) == 0
    assert "task 'unknown' is in no queue of this workspace" in capsys.readouterr().out
    assert curate.main(["run", str(tmp_path), *by_file]) == ExitCode.WAITS
    assert f"{len(tasks) - 4} are not answered" in capsys.readouterr().err
    assert answered(tmp_path, answers) == 0
    assert curate.main(["run", str(tmp_path), *by_file]) == 0
    assert "annotator" in capsys.readouterr().out
    votes = Store(tmp_path / "store").query("select * from votes where kind = 'human'").to_pylist()
    assert len(votes) == len(tasks) and all(vote["value"] == vote["shown"][0] for vote in votes)
    assert curate.main(["audit", str(tmp_path)]) == 0
    assert answered(tmp_path, {tasks[0]["task"]: {"choice": "right"}}) == 2
    assert "people-0 is closed" in capsys.readouterr().err


def test_a_share_of_the_answers_is_enough_where_the_quota_says_so(cheap, tmp_path, capsys):
    arguments, _ = cheap
    by_file = [*arguments, "--set", "people.kind=files"]
    assert curate.main(["run", str(tmp_path), *by_file]) == ExitCode.WAITS
    tasks = tasks_of(tmp_path)
    half = -(-len(tasks) // 2)
    answers = {task["task"]: {"choice": "left"} for task in tasks[: half - 1]}
    assert answered(tmp_path, answers) == 0
    by_file += ["--set", "people.quota=0.5"]
    assert curate.main(["run", str(tmp_path), *by_file]) == ExitCode.WAITS
    assert "1 more answers close the step" in capsys.readouterr().err
    assert answered(tmp_path, {tasks[-1]["task"]: {"choice": "left"}}) == 0
    assert curate.main(["run", str(tmp_path), *by_file]) == 0
    votes = Store(tmp_path / "store").query("select * from votes where kind = 'human'")
    assert votes.num_rows == half


def test_killed_between_what_people_corrected_and_what_they_voted(cheap, tmp_path, monkeypatch):
    """Two people correct different attributes of every pair, which orders the queue, and the
    budget ends within it.
    """
    arguments, _ = cheap
    by_file = [
        *arguments,
        "--set",
        "people.kind=files",
        "--set",
        "people.overlap=1.0",
        "--set",
        "budget.people=6.0",
    ]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert curate.main(["run", str(whole), *by_file]) == ExitCode.WAITS
    tasks = tasks_of(whole)
    edits = ({"objectivity": "Subjective"}, {"controversiality": "High"})
    answers = {
        task["task"]: {"choice": "left", "edits": edits[i < 10]} for i, task in enumerate(tasks)
    }
    assert answered(whole, answers) == 0
    shutil.copytree(whole, killed)
    assert curate.main(["run", str(whole), *by_file]) == 0
    with killed_at_commit(monkeypatch, 1, before=False), pytest.raises(Killed):
        curate.main(["run", str(killed), *by_file])
    assert curate.main(["run", str(killed), *by_file]) == 0
    assert Store(killed / "store").fingerprint() == Store(whole / "store").fingerprint()
    edited = Store(whole / "store").query("select * from attributes where kind = 'human'")
    assert edited.num_rows == len(tasks) == 12


def test_the_plan_shows_costs_and_spends_nothing(cheap, tmp_path, capsys):
    arguments, _ = cheap

    def plan(arguments):
        """Rows of: step, state, pairs, requests, labels, at most, expected, people, source."""
        assert curate.main(["run", str(tmp_path), *arguments, "--plan"]) == 0
        lines = capsys.readouterr().out.splitlines()
        return [re.split(r"\s{2,}", line) for line in lines[1:]]

    # Of another config: a plan binds to nothing.
    assert "Stage 2: judges, at most" in [row[0] for row in plan(arguments[:2])]
    (*steps, left_to_do) = plan(arguments)
    assert {row[-1] for row in steps if "judges" in row[0]} == {"lengths of 20 pairs' texts"}
    assert not Store(tmp_path / "store").manifests()
    assert curate.main(["run", str(tmp_path), *arguments]) == 0
    spent = json.loads(capsys.readouterr().out.splitlines()[-1])["dollars"]
    at_most, expected = float(left_to_do[4]), float(left_to_do[5])
    assert spent <= at_most and spent / 2 < expected < 2 * spent
    (*steps, left_to_do) = plan(arguments)
    assert {row[1] for row in steps} == {"done"} and float(left_to_do[4]) == 0
    # What was paid, but for a first question to each judge.
    paid = sum(float(row[6]) for row in steps)
    assert abs(paid - spent) < 0.01 * spent


def storm(folder, arguments, kills):
    """Start the run as a process of its own and SIGKILL it after some more files than it found,
    `kills` times; then let it finish.
    """
    command = [sys.executable, "-m", "rewardjax.curate", "run", str(folder), *arguments]
    files = lambda: sum(1 for _ in folder.rglob("*"))
    rng, left = random.Random(0), kills
    while left:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        target = files() + rng.randrange(
            12
        )  # how far this one may get: files, whatever the machine's speed
        while process.poll() is None and files() < target:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.3))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(
                process.pid, signal.SIGKILL
            )  # its own process group: whatever it started goes with it
        output = process.communicate()[0].decode()
        assert process.returncode == -signal.SIGKILL, (
            f"not killed, with {left} kills left of {kills}: {output}"
        )
        left -= 1
    subprocess.run(command, cwd=ROOT, check=True)


def test_killed_processes_leave_the_same_store(tmp_path):
    with scripted_judges() as (_, config):
        for name, kills in (("whole", 0), ("killed", 2)):
            storm(tmp_path / name, ["--config", config, *CHEAP], kills)
    assert (
        Store(tmp_path / "killed/store").fingerprint()
        == Store(tmp_path / "whole/store").fingerprint()
    )


@pytest.mark.parametrize("words", ["status gs://b/w", "export w --output s3://b/out.parquet"])
def test_an_address_is_refused_where_a_path_is_expected(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert curate.main(words.split()) == 2
    assert "is an address and not a path" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_is_refused_and_the_other_verbs_work_beside_the_first(tmp_path, capsys):
    pairs = tmp_path / "more.jsonl"
    pairs.write_text('{"prompt": "Two?", "chosen": "2", "rejected": "3"}\n')
    folder = tmp_path / "w"
    # Judges that take a connection and never say anything.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        command = [sys.executable, "-m", "rewardjax.curate", "run", str(folder), *CHEAP]
        first = subprocess.Popen(
            [*command, "--config", f"{CONFIG}:tiny,url={silent_url}"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            # It has imported and cleaned, and asks the judges.
            silent.settimeout(60)
            silent.accept()
            with scripted_judges() as (_, config):
                run = ["run", str(folder), "--config", config, *CHEAP]
                assert curate.main(run) == 2
                said = capsys.readouterr().err
                assert said.count("\n") == 1
                assert f"process {first.pid} on {socket.gethostname()}, started 20" in said
                into = ["--source", str(pairs), "--name", "more", "--entry", "wild"]
                assert curate.main(["import", str(folder), *into]) == 0
                for verb in (["status"], ["audit"], ["export", "--output", str(tmp_path / "o")]):
                    assert curate.main([verb[0], str(folder), *verb[1:]]) == 0
                (pair,) = Store(folder / "store").query(
                    "select pair_id from pairs where source = 'more'"
                )["pair_id"]
                assert curate.main(["explain", str(folder), pair.as_py()]) == 0
                first.kill()
                first.wait()
                # Nobody is in the way of the next one.
                assert curate.main(run) == 0
        finally:
            first.kill()
            first.wait()
    assert soundness.problems(Store(folder / "store")) == []


@pytest.mark.slow
def test_a_storm_of_kills_leaves_the_same_store(finished, tmp_path):
    folder, config, _ = finished
    storm(tmp_path, ["--config", config], kills=24)
    assert (
        Store(tmp_path / "store").fingerprint() == Store(folder / "store").fingerprint()
        and soundness.problems(Store(tmp_path / "store")) == []
    )
    for name in ("original", "filtered", "flipped"):
        assert (tmp_path / f"data/{name}.parquet").read_bytes() == (
            folder / f"data/{name}.parquet"
        ).read_bytes()


@pytest.mark.parametrize(
    "changed, message",
    [
        ("stage1.firts=3", "did you mean 'first'"),
        ("stage1.first=many", "'many' is not an int"),
        ("stage1.select=best", "stage1.select = 'best' is not one of retrieval"),
        ("stage2.table=flip", "table = 'flip' is not a preset"),
        (
            "stage2.table=[{'judges': 'for', 'then': 'keep', 'rule': 'judges agree'}, "
            "{'then': 'discard', 'rule': 'rest'}]",
            "stage2.table has rules about judges, but no rule says `annotate`",
        ),
        ("stage2.table=[{'gold': 'yes', 'then': 'keep', 'rule': 'r'}]", r"table\[0\].gold: 'yes'"),
        ("stage2.folds=1", "stage2.folds = 1"),
        ("panel.method=vote", "panel.method = 'vote'"),
    ],
)
def test_a_wrong_config_is_one_line_before_anything_is_done(tmp_path, capsys, changed, message):
    folder = tmp_path / "w"
    assert curate.main(["run", str(folder), "--config", f"{CONFIG}:tiny", "--set", changed]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and re.search(message, said), said
    assert not folder.exists()


def test_a_table_may_be_rules_instead_of_a_preset(tmp_path, capsys):
    rules = [
        {"gold": "for", "then": "keep", "rule": "gold agrees"},
        {"then": "discard", "rule": "not confirmed"},
    ]
    config = config_lib.load(f"{CONFIG}:tiny")
    config.stage2.table = rules
    assert config_lib.resolve(config)["stage2"]["table"] == rules
    by_flag = config_lib.load(f"{CONFIG}:tiny", [f"stage2.table={rules}"])
    assert config_lib.difference(config, by_flag) == []
    arguments = ["--config", f"{CONFIG}:tiny", "--set", f"stage2.table={rules}", "--plan"]
    assert curate.main(["run", str(tmp_path), *arguments]) == 0
    assert "Stage 2" in capsys.readouterr().out


# One conversation of it fits a row of the config, both together do not.
LONG = {"prompt": "Count.", "chosen": "one two three " * 30, "rejected": "three two one " * 31}


@pytest.mark.parametrize(
    "setting, sentence",
    [
        ("train.batch.row_length=256", "raise train.batch.row_length to at least that"),
        ("train.optimizer.b1=1.5", "train.optimizer.b1 = 1.5 must be"),
        ("train.schedule.warmup_steps=500", "warmup_steps"),
    ],
)
def test_training_settings_are_tried_before_anybody_is_paid(tmp_path, capsys, setting, sentence):
    pairs, folder = tmp_path / "long.jsonl", str(tmp_path / "w")
    pairs.write_text(json.dumps(LONG) + "\n")
    into = ["--source", str(pairs), "--name", "long", "--entry", "unverified"]
    assert curate.main(["import", folder, *into]) == 0
    with scripted_judges() as (server, config):
        run = ["run", folder, "--config", config]
        assert curate.main([*run, "--set", setting]) == 2
        said = capsys.readouterr().err
        last = said.splitlines()[-1]
        assert last.startswith("rewardjax.curate run: train, tried on") and sentence in last, last
        # The trainer's words are about a file of its own, which nobody can look into.
        assert "rehearsal" not in said
        assert not server.paid
    ledgers = {m["ledger"] for m in Store(tmp_path / "w/store").manifests()}
    assert ledgers <= {"pairs", "votes", "rejects", "findings"}
