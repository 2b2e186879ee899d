"""The real-text experiment: its planted errors and figures by hand, and one small run of it on its data."""

import dataclasses
import json

import jax
import pytest

from experiments import curation_real, spoilt_pairs
from experiments.curation_real import summary
from experiments.spoilt_pairs import audit, original, planted
from experiments.voters import Truth
from rewardjax import assets
from rewardjax.curation.judges import scripted_server
from rewardjax.curation.judges.scripted_judge import truth_of
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import soundness
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import Group, Pair
from rewardjax.data.tokenize import in_part
from rewardjax.parallel.mesh import AXES

WILD = {f"{k}": Truth("ab"[k % 2], (k % 7, 3), f"problem/{k}") for k in range(400)}


def action_of(action) -> dict:
    return {pair_id: action(truth) for pair_id, truth in WILD.items()}


def test_the_noise_is_what_it_says():
    turned = []
    for truth in WILD.values():
        is_right, source = planted(truth, "wild")
        if source == "honest":
            assert is_right
        elif source.startswith("style"):
            # The longer answer, whatever is right.
            assert is_right == (truth.styles[0] >= truth.styles[1])
        else:
            turned.append(is_right)
        assert (original(truth, "wild") == truth.better) == is_right
    assert 0.35 < sum(turned) / len(turned) < 0.65


def test_a_perfect_decision_has_full_precision_and_recall():
    figures = audit(WILD, action_of(lambda truth: "keep" if planted(truth, "wild")[0] else "flip"))
    for action in ("keep", "flip"):
        assert figures[action]["precision"] == figures[action]["recall"] == 1.0
    by_source = {name: values for name, values in figures.items() if name.startswith("wrong by")}
    assert set(by_source) == {"wrong by random:0.5", "wrong by style:1"}
    for values in by_source.values():
        assert (values["flipped"], values["kept"]) == (1.0, 0.0)


def test_keeping_everything_has_the_labels_own_precision():
    figures = audit(WILD, action_of(lambda truth: "keep"))
    right = sum(planted(truth, "wild")[0] for truth in WILD.values())
    assert figures["keep"]["recall"] == 1.0
    assert figures["keep"]["precision"] == right / len(WILD)
    assert figures["flip"] == {"pairs": 0, "precision": None, "recall": 0.0}


@dataclasses.dataclass
class _Tokenizing:
    """As much of a lab as drawing pools takes."""

    tokenizer: ChatTokenizer
    longest: int = 512


def _say(text):
    return [{"role": "assistant", "content": text}]


def _problems(count):
    problems = []
    for k in range(count):
        prompt = [{"role": "user", "content": f"problem {k}"}]
        responses = [_say("right"), _say("wrong one"), _say("bad")]
        problems.append(Group(f"g{k}", prompt, responses, [Pair(0, 1), Pair(0, 2)]))
    return problems


@pytest.fixture(scope="module")
def pools():
    tokenizing = _Tokenizing(ChatTokenizer.load(assets.resolve("assets:world")))
    return {
        name: spoilt_pairs.pool(_problems(30), name, 0, tokenizing) for name in spoilt_pairs.SPLITS
    }


def test_pools_share_no_problem_and_pairs_are_right_over_wrong(pools):
    problems = {}
    for name, pool in pools.items():
        problems[name] = {record["prompt"][0]["content"] for record in pool.records.values()}
        assert pool.records.keys() == pool.oracle.keys() == pool.tokens.keys()
    assert sum(map(len, problems.values())) == len(set().union(*problems.values())) == 30
    assert sum(len(pool.records) for pool in pools.values()) == 60
    for record in pools["wild"].records.values():
        assert record["chosen"] == _say("right")
        problem = Group("x", record["prompt"], [_say("a")], [])
        assert in_part(problem, spoilt_pairs.SPLITS["wild"])


def test_a_pair_that_is_too_long_is_left_out(pools):
    tokenizing = _Tokenizing(ChatTokenizer.load(assets.resolve("assets:world")), longest=3)
    assert pools["wild"].records
    assert not spoilt_pairs.pool(_problems(30), "wild", 0, tokenizing).records


def test_what_the_curation_is_given_says_nothing_but_the_planted_label(pools, tmp_path):
    spoilt_pairs.write(pools["wild"], "wild", tmp_path / "wild.jsonl")
    by_id = {record["id"]: pair_id for pair_id, record in pools["wild"].records.items()}
    lines = [json.loads(line) for line in (tmp_path / "wild.jsonl").read_text().splitlines()]
    assert len(lines) == len(by_id)
    for line in lines:
        is_right, _ = planted(pools["wild"].oracle[by_id[line["id"]]], "wild")
        assert (line["chosen"] == _say("right")) == is_right
        assert line.keys() == {"id", "prompt", "chosen", "rejected"}


def test_figures_over_seeds():
    figures = summary([{"x": 0.5, "y": {"z": None}}, {"x": 0.7, "y": {"z": 1.0}}])
    assert figures["x"][0] == pytest.approx(0.6) and figures["x"][1] < 0.5
    assert figures["y"]["z"] is None


# ------------------------------------------------------------------ a run on its data


@pytest.fixture(scope="module")
def small_run(shared_data, tmp_path_factory):
    """One seed of a few problems: (what it measured, its ledger)."""
    path = shared_data / "zeroeval/gsm_responses.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no ZeroEval answers at {path}")
    folder = tmp_path_factory.mktemp("real")
    problems = spoilt_pairs.read(path, scale=0.01)
    truth = truth_of(map(curation_real._as_record, problems))
    mesh = jax.make_mesh((1, 1, 1), AXES, devices=jax.devices()[:1])
    few = dict.fromkeys(spoilt_pairs.SPLITS, 3)
    with (
        pytest.MonkeyPatch.context() as patch,
        jax.set_mesh(mesh),
        scripted_server.serve(curation_real.PANEL, truth) as server,
    ):
        patch.setattr(spoilt_pairs, "PER_PROBLEM", few)
        opened = curation_real.open_lab(folder / "models", shared_data / "tokenizers/qwen3")
        measured = curation_real.run(opened, problems, 0, folder, server.url)
    return measured, Store(folder / "seed-0/store")


def test_people_label_half_of_the_pool_and_judges_the_rest(small_run):
    measured, store = small_run
    rows = store.query("select labeller, count(*) as pairs from picks group by labeller")
    pairs = {row["labeller"]: row["pairs"] for row in rows.to_pylist()}
    assert sum(pairs.values()) == measured["pools"]["unverified"]
    assert abs(pairs["people"] - pairs["judges"]) <= 1
    # Of what judges label, the pairs in which they see no better response teach nothing.
    assert measured["trained_on"]["gold"] == pairs["people"]
    assert 0 < measured["trained_on"]["best"] <= pairs["judges"]


def test_what_stage_2_decided_is_what_is_audited(small_run):
    measured, store = small_run
    decided = store.query(
        "select action from decisions where stage = ?", [stage_names.decided_wild(1)]
    )
    actions = decided.column("action").to_pylist()
    assert len(actions) == measured["pools"]["wild"]
    for action in ("keep", "flip"):
        assert measured["decisions"]["stage 2"][action]["pairs"] == actions.count(action)
    # By the rules of flip_both: it flips where both reward models say so, and keeps, beside what
    # both confirm, what the judges confirm.
    both = measured["decisions"]["both RMs"]
    assert both["flip"]["pairs"] >= actions.count("flip")
    assert both["keep"]["pairs"] <= actions.count("keep")
    assert soundness.problems(store) == []


def test_the_ledger_holds_no_more_than_stage_2_asked_the_judges(small_run):
    measured, store = small_run
    asked = store.query(
        "select count(distinct pair_id) as pairs from votes where stage = ?",
        [stage_names.panel_wild(1).name],
    ).to_pylist()
    # The audit asked them about every pair.
    assert 0 < asked[0]["pairs"] < measured["pools"]["wild"]
    assert 0.5 < measured["judges_right"] <= 1
