"""A workspace that lives, by the command line: changes between starts, other verbs beside a run.

Judges over HTTP and simulated people; no reward model is trained, so that it takes seconds.
"""

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from tiny import ROOT

from rewardjax import curate
from rewardjax.command.exit_codes import ExitCode
from rewardjax.curation import people_files
from rewardjax.curation.judges.scripted_judge import Behavior, truth_of
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.ledger import pools
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.people import Task
from rewardjax.data.sources import open_source

SOURCES = {"hard": "world:train?num=30&seed=1", "more": "world:train?num=30&seed=7"}
BEHAVIORS = {name: Behavior(accuracy=0.9) for name in ("one", "two", "three")}
CONFIG = """
from rewardjax.curation.defaults import curation

def get_config(arg):
    config = curation()
    config.sources = {{"hard": dict(source={source!r}, entry="unverified")}}
    config.judges = tuple(
        dict(name=name, model=name, base_url={url!r}, samples=2, max_tokens=200, shots=0,
             price_input=1.0, price_output=1.0)
        for name in {judges!r}
    )
    config.tag = False
    config.stage1.update(iterations=0, first=10, budget=10, select="random")
    config.stage2.table = ""
    config.people.update(checks=0.0, overlap=0.0)
    {changes}
    return config
"""


@pytest.fixture(scope="module")
def server():
    truth = truth_of(*(open_source(source) for source in SOURCES.values()))
    with serve(BEHAVIORS, truth) as running:
        yield running


@pytest.fixture(scope="module")
def start(server, tmp_path_factory):
    """start(folder, judges, changes): a run by a config file of its own; its exit code."""
    file = tmp_path_factory.mktemp("config") / "config.py"

    def start(folder, *, judges=("one", "two"), changes="", verb=("run",), options=()):
        settings = {"source": SOURCES["hard"], "url": server.url, "judges": judges}
        file.write_text(CONFIG.format(**settings, changes=changes))
        return curate.main([*verb, str(folder), "--config", str(file), *options])

    return start


@pytest.fixture(scope="module")
def first(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("first") / "w"
    assert start(folder) == 0
    return folder


@pytest.fixture
def begun(first, tmp_path):
    """A workspace whose only iteration is done."""
    return shutil.copytree(first, tmp_path / "w")


def column(folder, sql):
    return Store(folder / "store").query(sql).column(0).to_pylist()


MORE = """config.stage1.iterations = 1
    config.people.annotators = ("one", "two", "third")
    config.prices.gold = 1.0
    config.train.data.max_length = 512"""


def test_what_is_added_between_two_starts_counts_from_the_next_step_on(begun, start, capsys):
    new = ["--source", SOURCES["more"], "--name", "more", "--entry", "unverified"]
    assert curate.main(["import", str(begun), *new]) == 0
    capsys.readouterr()
    assert start(begun, judges=("two", "three"), changes=MORE) == 0
    said = capsys.readouterr().out
    for line in (
        "judges.one: asked -> (absent): counts from step label-1-judges on",
        "judges.three: (absent) -> asked: counts from step label-1-judges on",
        "stage1.iterations: 0 -> 1: counts from now on",
        'people.annotators: ["one", "two"] -> ["one", "two", "third"]: counts from step people-1',
        "prices.gold: 0.5 -> 1.0: counts from step people-1 on",
        " -> 512: counts from step best-1 on",
    ):
        assert line in said
    asked = "select distinct voter from votes where kind = 'judge' and stage = 'label-{}-judges'"
    assert sorted(column(begun, asked.format(0))) == ["judge:one", "judge:two"]
    assert sorted(column(begun, asked.format(1))) == ["judge:three", "judge:two"]
    people = column(begun, "select distinct voter from votes where stage = 'people-1'")
    assert "human:third" in people
    # Of what was imported meanwhile some is picked, and all of it was looked through and embedded.
    picked = "select count(*) from picks join pairs using (pair_id) where source = 'more'"
    assert column(begun, picked)[0] > 0
    embedder = column(begun, "select embedder from embeddings")[0]
    ids = column(begun, "select pair_id from pairs")
    assert Store(begun / "store").without_embedding(embedder, ids) == []

    assert curate.main(["status", str(begun)]) == 0
    said = capsys.readouterr().out
    table = said[said.index("Settings that changed between steps") :]
    assert "one, two" in table and "three, two" in table and "label-1-judges" in table
    (pair_id, *_) = column(begun, "select pair_id from votes where stage = 'people-1'")
    assert curate.main(["explain", str(begun), pair_id]) == 0
    assert "setting of people-1.all: prices.gold = 1.0" in capsys.readouterr().out
    assert curate.main(["audit", str(begun)]) == 0


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ("config.seed = 3", "seed: 0 -> 3, but step pick-0 was done with what it was"),
        ("config.stage1.first = 9", "stage1.first: 10 -> 9, but step pick-0"),
        ("config.embedder.width = 64", "embedder.width: 256 -> 64, but step embed"),
        (
            "config.sources = {'hard': dict(config.sources.hard, entry='wild')}",
            'sources.hard.entry: "unverified" -> "wild", but step import-hard',
        ),
        (
            f"config.sources = {{'hard': dict(source={SOURCES['more']!r}, entry='unverified')}}",
            "import hard: the workspace has an import of this name, and its source held other",
        ),
    ],
)
def test_what_was_read_and_later_steps_build_on_is_refused_in_one_line(
    begun, start, capsys, changes, sentence
):
    assert start(begun, changes=changes) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1, said


def test_a_source_whose_entry_is_taken_out_stays_in_the_ledger(begun, start, capsys):
    assert start(begun, changes="config.sources = {}") == 0
    assert "sources.hard.entry" in capsys.readouterr().out
    assert column(begun, "select count(*) from pairs") == [30]


# ------------------------------------------------------------------ erasure


def all_text(folder):
    """What every file under a folder says: rows of Parquet and SQLite, bytes of the rest."""
    parts = []
    for path in folder.rglob("*"):
        if path.suffix == ".parquet":
            parts.append(str(pq.ParquetFile(path).read().to_pylist()))
        elif path.suffix == ".sqlite":
            with contextlib.closing(sqlite3.connect(path)) as database:
                parts += database.iterdump()
        if path.is_file():
            parts.append(path.read_bytes().decode("latin-1"))
    return "\n".join(parts)


def test_the_text_of_an_erased_pair_is_in_no_file_and_the_workspace_goes_on(begun, start, capsys):
    store = Store(begun / "store")
    judged = column(begun, "select pair_id from picks where labeller = 'judges'")
    prompts = column(begun, "select prompt from pairs")
    words = {}
    for row in store.texts(judged):
        words[row["pair_id"]] = row["prompt"][-1]["content"]
    # One whose prompt no other pair has.
    (pair_id, *_) = [i for i in judged if sum(words[i] in prompt for prompt in prompts) == 1]
    exported = begun / "out.parquet"
    assert curate.main(["export", str(begun), "--output", str(exported)]) == 0
    (begun / "queue").mkdir(exist_ok=True)
    people_files.write_tasks(
        store, [Task("t", pair_id, "one", "ab", False)], begun / "queue/mine.jsonl"
    )
    assert all_text(begun).count(words[pair_id]) > 3
    assert curate.main(["erase", str(begun), pair_id]) == 0
    assert "warning" not in capsys.readouterr().err
    assert words[pair_id] not in all_text(begun)
    assert curate.main(["audit", str(begun)]) == 0
    # What was said about it stays, and the next iteration does without it.
    votes = column(begun, f"select kind from votes where pair_id = '{pair_id}'")
    assert {"original", "judge", "panel"} == set(votes)
    assert start(begun, changes="config.stage1.iterations = 1") == 0
    assert words[pair_id] not in all_text(begun)
    assert curate.main(["audit", str(begun)]) == 0


# ------------------------------------------------------------------ beside a run

HOLD = """
import sys
from rewardjax.command import owner
with owner.owning(sys.argv[1]):
    print("owns", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def owned(folder):
    """While another process is the owner of a workspace."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "owns\n"
    yield
    process.communicate("")


@pytest.fixture
def held(begun):
    """The same workspace while another process is its owner."""
    with owned(begun):
        yield begun


def test_the_verbs_that_only_look_or_add_work_beside_a_run(held, start, tmp_path, capsys):
    new = ["--source", SOURCES["more"], "--name", "more", "--entry", "wild"]
    (pair_id, *_) = column(held, "select pair_id from pairs")
    out = str(tmp_path / "out.parquet")
    for arguments in (
        ["status", str(held)],
        ["explain", str(held), pair_id],
        ["import", str(held), *new],
        ["export", str(held), "--output", out],
        ["review", str(held)],
        ["audit", str(held)],
    ):
        assert curate.main(arguments) == 0, arguments
    assert start(held, options=["--plan"]) == 0
    assert start(held, verb=("judges", "check")) == 0
    assert pools.sizes(Store(held / "store"))["wild"] == 30


def test_a_second_run_and_an_erasure_are_refused_beside_a_run(held, start, capsys):
    (pair_id, *_) = column(held, "select pair_id from pairs")
    assert start(held) == 2
    assert start(held, verb=("batch", "write")) == 2
    assert curate.main(["erase", str(held), pair_id]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 3 and said.count("process ") == 3, said


def test_answers_of_people_are_taken_beside_a_run(first, start, tmp_path, capsys):
    folder = tmp_path / "w"
    by_file = "config.people.kind = 'files'"
    assert start(folder, changes=by_file) == ExitCode.WAITS
    (queue,) = folder.glob("queue/*.tasks.jsonl")
    tasks = [json.loads(line) for line in queue.read_text().splitlines()]
    back = tmp_path / "back.jsonl"
    back.write_text("\n".join(json.dumps({"task": t["task"], "choice": "left"}) for t in tasks))
    with owned(folder):
        assert curate.main(["answers", str(folder), str(back), "--commit"]) == 0
        assert start(folder, changes=by_file) == 2
    assert start(folder, changes=by_file) == 0
