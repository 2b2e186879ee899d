"""What may change between two starts of a workspace, and which step was made with which setting."""

import json
import shutil

import pytest
from hand_made import Cast, add_pairs, ids, workspace
from ledgers import pair

from rewardjax.curation import settings
from rewardjax.curation.annotation.desk import open_desk
from rewardjax.curation.ledger import decisions, stage_names
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.people import Task
from rewardjax.curation.servers.paid_calls import Ending
from rewardjax.curation.stages import labeling, loop, report, stage1, stage2
from rewardjax.curation.workspace import ConfigChanged, Paused

SMALL = {"stage1__first": 8, "stage1__budget": 4, "stage1__iterations": 1, "shots": 0}
# The models of the cast are sure of every gold pair, which then pulls none.
SMALL["stage1__select"] = "random"
POOL = ids("north", 0, 8) + ids("south", 0, 8) + ids("east", 0, 8)
WILD = ids("west", 0, 6)
JUDGE = {"name": "m", "model": "m", "base_url": "http://x"}


@pytest.fixture(autouse=True, scope="module")
def empty_pages():
    """Pages are only looked for here, and drawing them takes most of the time."""

    def touch(ws, iteration, name):
        (ws.folder / "reports").mkdir(exist_ok=True)
        (ws.folder / "reports" / name).touch()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(report, "write", touch)
        yield


def run(folder, cast=None, **changes):
    """A start of the workspace with these settings."""
    with workspace(folder, cast or Cast(), **{**SMALL, **changes}) as ws:
        loop.run(ws)
        return ws


@pytest.fixture(scope="module")
def first_iteration(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    with workspace(folder, Cast(), **SMALL) as ws:
        add_pairs(ws, POOL)
        add_pairs(ws, WILD, entry="wild")
        stage1.prepare(ws)
        stage1.iterate(ws, 0)
    return folder


@pytest.fixture
def started(first_iteration, tmp_path):
    """A workspace whose first iteration is done, and which has a wild pool."""
    return shutil.copytree(first_iteration, tmp_path / "w")


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"seed": 7}, "seed: 0 -> 7, but step pick-0 was done"),
        ({"stage1__first": 9}, "stage1.first: 8 -> 9, but step pick-0 was done"),
        ({"embedder__width": 64}, "embedder.width: 256 -> 64, but step embed was done"),
    ],
)
def test_a_change_that_contradicts_a_step_is_refused_and_names_both(started, changes, sentence):
    with pytest.raises(ConfigChanged) as refused:
        run(started, **changes)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)
    # And what was recorded is still the config that the steps were made with.
    with workspace(started, Cast(), **SMALL):
        pass


@pytest.mark.parametrize(
    "changes, since",
    [
        ({"stage1__budget": 6}, "stage1.budget: 4 -> 6: counts from step pick-1 on"),
        ({"stage1__human_share": 0.5}, "counts from step pick-1 on"),
        ({"people__annotators": ("ana",)}, "counts from step people-1 on"),
        ({"shots": 2}, "shots: 0 -> 2: counts from step label-1-judges on"),
        ({"judges": (JUDGE,)}, "judges.m: (absent) -> asked: counts from step label-1-judges on"),
        ({"panel__method": "weighted"}, "counts from step label-1-panel on"),
        ({"train__steps": 7}, "counts from step best-1 on"),
        ({"train__batch__row_length": 64}, "counts from step best-1 on"),
        ({"calibrate": False}, "calibrate: true -> false: counts from step pick-1 on"),
        ({"taggers": (JUDGE,)}, "taggers.m: (absent) -> asked: no step that is left reads it"),
        ({"stage2__table": "filter"}, "counts from step stage2-ask-2 on"),
        ({"stage2__band": 0.1}, "counts from step stage2-ask-2 on"),
        ({"prices__gold": 2.0}, "prices.gold: 0.5 -> 2.0: counts from step people-1 on"),
        ({"budget__judges": 3.0}, "budget.judges: null -> 3.0: counts from now on"),
        ({"stage1__iterations": 2}, "stage1.iterations: 1 -> 2: counts from now on"),
    ],
)
def test_what_no_step_has_read_may_change_and_the_screen_says_from_when(
    started, capsys, changes, since
):
    with workspace(started, Cast(), **{**SMALL, **changes}):
        said = capsys.readouterr().out
        assert said.startswith("changed since the last start: ") and since in said, said
    with workspace(started, Cast(), **{**SMALL, **changes}):
        assert capsys.readouterr().out == ""


def test_each_step_keeps_the_settings_that_it_was_made_with(started):
    ws = run(started, stage2__table="", stage1__budget=6)
    assert ws.store.settings(ws.store.manifest("picks", "pick-1", "all"))["stage1.budget"] == 6
    ws = run(started, stage2__table="", stage1__budget=5, stage1__iterations=2)
    rows = [row for row in settings.applied(ws.store) if row["setting"] == "stage1.budget"]
    assert [(row["value"], row["steps"]) for row in rows] == [("6", "pick-1"), ("5", "pick-2")]
    assert settings.of_shards(ws.store, [("picks", "pick-2", "all")]) == [
        "pick-2.all: stage1.budget = 5"
    ]


def test_fewer_iterations_than_are_done_are_refused_and_more_go_on(started):
    run(started, stage2__table="")
    with pytest.raises(ConfigChanged, match="1 -> 0, but step pick-1 is done; set it to 1 or more"):
        run(started, stage1__iterations=0)
    ws = run(started, stage2__table="", stage1__iterations=2)
    picked = ws.store.query("select distinct stage from picks order by 1").column(0).to_pylist()
    assert picked == ["pick-0", "pick-1", "pick-2"]


def test_stage_2_comes_again_after_a_further_iteration_and_the_ledger_stays_sound(started):
    first = run(started)
    table = first.store.query(
        "select pair_id, action from decisions where stage = 'stage2-final-2'"
    )
    assert table.num_rows == len(WILD)
    # Models that say the opposite of the first ones.
    wrong = {i: -1.0 if i[0] in "ne" else 1.0 for i in POOL + WILD}
    cast = Cast(margins={"best": wrong, "gold": wrong})
    gates = {f"gates__{name}": None for name in ("best_accuracy", "gold_accuracy", "flipped")}
    ws = run(started, cast, stage1__iterations=2, **gates)
    again = ws.store.query("select action from decisions where stage = 'stage2-final-3'")
    assert set(again.column("action").to_pylist()) != set(table.column("action").to_pylist())
    assert (started / "reports/iteration-2.html").exists()
    assert (started / "reports/stage2-2.html").exists()
    assert (started / "reports/stage2-3.html").exists()
    for stage in {m["stage"] for m in ws.store.manifests("decisions")}:
        assert decisions.audit(ws.store, stage) == []


def test_pairs_that_come_later_are_described_embedded_and_picked_from_the_next_step_on(started):
    late = ids("north", 20, 24)
    cast = Cast()
    with workspace(started, cast, **SMALL) as ws:
        ws.store.append("pairs", "import-late", "0", [pair(i) for i in late])
        loop.run(ws)
        every = ws.store.query("select pair_id from pairs").column("pair_id").to_pylist()
        assert ws.store.without_embedding("by hand", every) == []
        unverified = labels(ws.store, "unverified")
        picked = ws.store.query("select pair_id from picks where stage = 'pick-1'")
        assert {*picked.column(0).to_pylist(), *unverified} >= set(late)


def test_a_unit_is_about_the_pairs_that_are_missing_wherever_they_stand_in_the_list(tmp_path):
    stage = stage_names.Stage("tag", 0, ("attributes",), sliced=True)
    with workspace(tmp_path, Cast()) as ws, pytest.MonkeyPatch.context() as patched:
        patched.setattr(stage_names, "UNIT", 2)
        pairs = ids("north", 2, 6)
        ws.store.append("pairs", "import-n", "0", [pair(i) for i in ids("north", 0, 8)])
        units = list(stage.open_units(ws.store, pairs))
        assert units == [("00000", pairs[:2]), ("00001", pairs[2:])]
        # Of the second unit nothing can be said, which is remembered.
        stage.append(ws.store, "attributes", [], "00001", about=pairs[2:])
        assert list(stage.open_units(ws.store, pairs)) == [("00000", pairs[:2])]
        sooner = ids("north", 0, 8)
        assert list(stage.open_units(ws.store, sooner)) == [
            ("00000", sooner[:2]),
            ("00002", sooner[2:4]),
            ("00003", sooner[6:]),
        ]


def test_half_of_a_unit_is_forgotten_as_other_pairs_may_be_in_it_now(tmp_path):
    stage = stage_names.scored_gold(1)
    with workspace(tmp_path, Cast()) as ws:
        ws.store.append("pairs", "import-n", "0", [pair(i) for i in ids("north", 0, 2)])
        half = {"pair_id": "north01", "finding": "unscorable", "action": "flag"}
        stage.append(ws.store, "findings", [half], "00000")
        units = list(stage.open_units(ws.store, ids("north", 0, 2)))
        assert units == [("00000", ids("north", 0, 2))]
        # Killed after the first of its two ledgers, and now about another pair.
        stage.append(ws.store, "findings", [], "00000")
        stage.append(ws.store, "scores", [], "00000", about=["north00"])
        assert ws.store.query("select * from findings").num_rows == 0


class Panel(Cast):
    """A cast whose judges are those of the workspace, some of whose answers are cut off."""

    cut_off = ()

    def judge(self, ws, items, stage):
        if getattr(self, "waits_at", None) == len(self.items):
            raise Paused("a server is away")
        self.items += items
        votes = []
        for item in items:
            for judge in ws.judges:
                about = dict(purpose=stage.name, voter=judge.voter, task="judge", sample=0)
                if (judge.name, item.pair_id) in self.cut_off:
                    unreadable = Ending("unreadable", "max_tokens")
                    ws.calls.note_ending(**about, subject=item.pair_id, ending=unreadable)
                    continue
                ws.calls.note_ending(**about, subject=item.pair_id, ending=Ending("answered"))
                votes.append(
                    {"pair_id": item.pair_id, "voter": judge.voter, "kind": "judge", "sample": 0}
                    | {"value": "a"}
                )
        return votes


def test_a_judge_that_is_added_counts_in_the_units_that_are_left(started, monkeypatch):
    monkeypatch.setattr(stage_names, "UNIT", 2)
    pairs = ids("east", 0, 4)
    asked, merged = stage_names.judges(1), stage_names.panel(1)
    cast = Panel()
    cast.waits_at = 2
    with workspace(started, cast, **{**SMALL, "judges": (JUDGE,)}) as ws, pytest.raises(Paused):
        labeling.judge(ws, pairs, asked, merged, {})
    cast.waits_at = None
    panel = tuple({**JUDGE, "name": name} for name in ("m", "n", "o", "p"))
    with workspace(started, cast, **{**SMALL, "judges": panel}) as ws:
        labeling.judge(ws, pairs, asked, merged, {})
        votes = asked.rows(ws.store, "votes")
        voters = {i: [row["voter"] for row in votes if row["pair_id"] == i] for i in pairs}
        assert [len(voters[i]) for i in pairs] == [1, 1, 4, 4]
        # The first two have the quorum of the panel that they were asked of.
        assert [row["pair_id"] for row in merged.rows(ws.store, "votes")] == pairs
        (row,) = [row for row in settings.applied(ws.store) if row["value"] == "m, n, o, p"]
        assert row["steps"] == "label-1-judges (from unit 00001)"


def test_what_a_judge_left_unanswered_is_asked_again_when_its_own_settings_changed(
    started, monkeypatch
):
    monkeypatch.setattr(stage_names, "UNIT", 2)
    pairs = ids("east", 0, 4)
    asked, merged = stage_names.judges(1), stage_names.panel(1)
    cast = Panel()
    cast.cut_off, cast.waits_at = {("m", "east00"), ("n", "east01")}, 2
    short = tuple({**JUDGE, "name": name, "max_tokens": 9} for name in ("m", "n"))
    with workspace(started, cast, **{**SMALL, "judges": short}) as ws, pytest.raises(Paused):
        labeling.judge(ws, pairs, asked, merged, {})
    before = {row["unit"] for row in asked.rows(ws.store, "votes")}
    # Only m may say more now; n would be cut off as it was, and o came later.
    cast.cut_off, cast.waits_at = {("n", "east01")}, None
    longer = ({**short[0], "max_tokens": 99}, short[1], {**JUDGE, "name": "o"})
    with workspace(started, cast, **{**SMALL, "judges": longer}) as ws:
        labeling.judge(ws, pairs, asked, merged, {})
        votes = asked.rows(ws.store, "votes", order="pair_id, voter")
    voters = {i: [row["voter"][-1] for row in votes if row["pair_id"] == i] for i in pairs}
    both = ["m", "n", "o"]
    assert voters == {"east00": ["m", "n"], "east01": ["m"], "east02": both, "east03": both}
    (again,) = [row for row in votes if row["voter"] == "judge:m" and row["pair_id"] == "east00"]
    assert before == {"00000"} and again["unit"] == "00002"
    # What was answered is not asked again.
    assert [item.pair_id for item in cast.items] == [*pairs, "east00"]


def test_a_prompt_that_is_edited_under_its_name_is_another_setting(started, tmp_path, capsys):
    prompt = tmp_path / "mine.toml"
    judges = ({**JUDGE, "prompt": str(prompt)},)
    prompt.write_text("instructions = 'Which one?'")
    with workspace(started, Cast(), **{**SMALL, "judges": judges}) as ws:
        ws.store.append("votes", "label-1-judges", "00000", [])
    capsys.readouterr()
    prompt.write_text("instructions = 'Which one is kinder?'")
    with workspace(started, Cast(), **{**SMALL, "judges": judges}) as ws:
        ws.store.append("votes", "label-1-judges", "00001", [])
    assert f"changed since the last start: prompt_files.{prompt}: " in capsys.readouterr().out
    fields = [row["setting"] for row in settings.applied(ws.store)]
    assert fields.count(f"prompt_files.{prompt}") == 2


def test_a_step_keeps_only_the_judges_that_serve_it(started):
    early, late = {**JUDGE, "last": 1}, {**JUDGE, "name": "late", "first": 2}
    config = {"judges": [early, late], "taggers": [], "shots": 0}
    for iteration, name in ((1, "m"), (2, "late")):
        values = settings.read_by(settings.recorded(config), "votes", f"label-{iteration}-judges")
        assert settings.judges_in(values) == [name]
    assert settings.judges_in(settings.read_by(config, "votes", "label-wild-3-judges")) == ["late"]


def test_people_keep_the_tasks_that_they_have(started, capsys):
    with open_desk(started) as desk:
        desk.deal("people-1", [Task("t", "east00", "one", "ab", False)], 1.0)
    with workspace(started, Cast(), **SMALL, people__annotators=("one", "two", "third")):
        assert "no step that is left reads it" in capsys.readouterr().out
    changes = {"stage1__iterations": 2, "people__annotators": ("ana",)}
    with workspace(started, Cast(), **{**SMALL, **changes}):
        assert "counts from step people-2 on" in capsys.readouterr().out


@pytest.mark.parametrize("moment", ["train", "label"])
def test_wild_pairs_that_come_in_the_middle_of_stage_2_wait_for_another_one(
    started, monkeypatch, capsys, moment
):
    late, goes_on = ids("west", 20, 23), getattr(stage2, moment)

    def with_import(ws, *rest):
        if not ws.store.has("pairs", "import-late", "0"):
            ws.store.append("pairs", "import-late", "0", [pair(i, entry="wild") for i in late])
            # As if killed: what the next start finds is more than this one saw.
            if moment == "label":
                raise Paused("later")
        return goes_on(ws, *rest)

    monkeypatch.setattr(stage2, moment, with_import)
    if moment == "label":
        with pytest.raises(Paused):
            run(started)
    ws = run(started)
    decided = ws.store.query("select pair_id from decisions where stage = 'stage2-final-2'")
    assert sorted(decided.column(0).to_pylist()) == WILD
    assert list(labels(ws.store, "wild")) == late
    assert "3 wild pairs came after Stage 2 had begun" in capsys.readouterr().out
    assert decisions.audit(ws.store, "stage2-final-2") == []


def test_pairs_that_nobody_has_looked_through_are_not_picked(started):
    with workspace(started, Cast(), **{**SMALL, "stage1__budget": 99}) as ws:
        # Imported beside the run, after it had looked for new ones.
        ws.store.append("pairs", "import-late", "0", [pair(i) for i in ids("north", 20, 24)])
        picks = stage1.pick(ws, 1)
    assert {*picks["people"], *picks["judges"]} <= set(POOL)


def test_the_config_of_the_last_start_is_kept_without_the_addresses_of_judges(started):
    with workspace(started, Cast(), **{**SMALL, "judges": (JUDGE,)}):
        kept = json.loads((started / "config.json").read_text())
    assert kept["judges"] == [{"name": "m", "model": "m"}]
