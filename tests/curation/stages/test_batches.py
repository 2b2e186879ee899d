"""Judges asked through the files of a batch API lead to the ledger that a server leads to."""

import json

import pytest
from hand_made import Cast, add_pairs, ids, workspace
from judging import judge_at
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax import curate
from rewardjax.curation.judges.scripted_judge import Behavior, truth_of
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.stages import batches, labeling
from rewardjax.curation.workspace import Waiting
from rewardjax.data.sources import open_source

WORLD = ROOT / "configs/curation/world.py"
CONFIG = """
from rewardjax import config as config_lib

def get_config(arg=None):
    config = config_lib.load("{world}:tiny,batches,url={url}")
    # Without reward models, which no judge has anything to do with.
    config.stage1.iterations, config.stage2.table = 0, ""
    return config
"""


def run_batches(report, server):
    """What a batch service does with the files of a report: a results file beside each."""
    results = []
    for name in report["files"]:
        lines = []
        with open(name) as file:
            for request in map(json.loads, file):
                status, body, _ = server.respond(request["body"])
                response = {"status_code": status, "body": body}
                lines.append(json.dumps({"custom_id": request["custom_id"], "response": response}))
        results.append(name.replace(".jsonl", ".results"))
        with open(results[-1], "w") as file:
            file.write("\n".join(reversed(lines)))
    return results


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    """(server, config file) of the tiny world without reward models."""
    sources = config_lib.load(f"{WORLD}:tiny").sources.values()
    behaviors = {
        "sharp": Behavior(accuracy=0.9),
        "longwinded": Behavior(length_bias=0.3),
        "lopsided": Behavior(position_bias=0.3, malformed=0.3),
    }
    with serve(behaviors, truth_of(*(open_source(source.source) for source in sources))) as server:
        path = tmp_path_factory.mktemp("config") / "offline.py"
        path.write_text(CONFIG.format(world=WORLD, url=server.url))
        yield server, str(path)


def command(capsys, *words):
    """(exit code, what the command printed last, as JSON)."""
    code = curate.main(list(map(str, words)))
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_run_by_batches_comes_to_the_ledger_of_a_live_run(tmp_path, judges, capsys):
    server, config = judges
    live, offline = tmp_path / "live", tmp_path / "offline"
    assert curate.main(["run", str(live), "--config", config]) == 0

    write = ("batch", "write", offline, "--config", config, "--discount", 0.5)
    rounds = []
    while (answer := command(capsys, *write))[0] == 3:
        rounds.append(answer[1])
        again = command(capsys, *write)[1]
        assert again["requests"] == 0 and again["out"] == rounds[-1]["requests"] > 0
        code, counts = command(capsys, "batch", "read", offline, *run_batches(rounds[-1], server))
        assert code == 0 and counts["answered"] == rounds[-1]["requests"]
    assert answer == (
        0,
        {"files": [], "requests": 0, "out": 0, "unaffordable": 0, "left_to_run": 0},
    )
    # Attributes, then labels, each with more rounds for what could not be read.
    assert len(rounds) > 2 and {"tag", "label-0-judges"} == {
        name.split("/")[-1].split(".")[0] for report in rounds for name in report["files"]
    }

    assert curate.main(["run", str(offline), "--config", config]) == 0
    assert Store(offline / "store").fingerprint() == Store(live / "store").fingerprint()
    spent = [CallLedger(folder / "calls.sqlite").spent() for folder in (offline, live)]
    assert spent[0] == pytest.approx(spent[1] / 2)


def test_a_file_that_is_lost_is_given_up_and_its_requests_are_asked_live(tmp_path, judges, capsys):
    server, config = judges
    write = ("batch", "write", tmp_path, "--config", config, "--judge", "sharp")
    code, report = command(capsys, *write)
    assert code == 3 and report["left_to_run"] > 0 and len(report["files"]) == 1
    # The others are asked, and the run then waits for the file.
    assert curate.main(["run", str(tmp_path), "--config", config]) == 3
    waiting = f"{report['requests']} questions are in batch files"
    assert waiting in capsys.readouterr().err
    released = command(capsys, "batch", "release", tmp_path, *report["files"])[1]
    assert released == {"released": report["requests"]}
    assert curate.main(["run", str(tmp_path), "--config", config]) == 0


def test_an_unknown_judge_is_one_line(tmp_path, judges, capsys):
    _, config = judges
    words = ["batch", "write", str(tmp_path), "--config", config, "--judge", "shrap"]
    assert curate.main(words) == 2
    assert "judge 'shrap' is not one of the config's: sharp" in capsys.readouterr().err


def test_all_units_of_a_stage_are_written_at_once(tmp_path, monkeypatch):
    """A batch takes a day: units that were written one after another would take a day each."""
    monkeypatch.setattr(stage_names, "UNIT", 2)
    asked = ids("north", 0, 5)
    writer = batches.Writer()
    with (
        serve({"m": Behavior()}, truth_of()) as server,
        workspace(tmp_path, Cast(), shots=0) as ws,
    ):
        add_pairs(ws, asked)
        ws.judges.append(judge_at(server, "m", answer_format="plain"))
        ws.plugins.__dict__.update(writer.plugins(ws.plugins).__dict__)
        label = lambda: labeling.judge(ws, asked, stage_names.judges(1), stage_names.panel(1), {})
        with pytest.raises(Waiting):
            label()
        assert writer.counts["requests"] == 10 and len(writer.files) == 3
        results = run_batches(writer.report(), server)
        # The first unit's answers come; the others still wait, and nothing is written twice.
        config = json.loads((tmp_path / "config.json").read_text())
        config["judges"] = [{"name": "m", "model": "m", "price_output": 4.0, "price_input": 1.0}]
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert batches.read(tmp_path, results[:1])["answered"] == 4
        with pytest.raises(Waiting):
            label()
        assert len(writer.files) == 3
        batches.read(tmp_path, results[1:])
        label()
        assert len(stage_names.panel(1).rows(ws.store, "votes")) == 5
