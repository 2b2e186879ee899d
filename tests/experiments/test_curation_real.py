"""The parts of the real-text benchmark that need neither its data nor a model."""

import pytest

from experiments import curation_real
from experiments.ablation.world import Item
from experiments.curation_real import audit, items, original, planted, summary
from rewardjax import assets
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import Group, Pair
from rewardjax.data.tokenize import in_part

POOL = [Item(f"{k}", {"id": f"problem/{k}"}, None, "ab"[k % 2], (k % 7, 3)) for k in range(400)]


def decided(action_of) -> dict:
    return {item.pair_id: {"action": action_of(item)} for item in POOL}


def test_the_noise_is_what_it_says():
    kinds = [(item, *planted(item, "wild")) for item in POOL]
    assert all(right for _, source, right in kinds if source == "honest")
    for item, source, right in kinds:
        if source.startswith("style"):
            assert right == (
                item.styles[0] >= item.styles[1]
            )  # the longer answer, whatever is right
        assert original(item, "wild") == (item.truth if right else {"a": "b", "b": "a"}[item.truth])
    turned = [right for _, source, right in kinds if source.startswith("random")]
    assert 0.35 < sum(turned) / len(turned) < 0.65


def test_a_perfect_decision_has_full_precision_and_recall():
    found = audit(POOL, decided(lambda item: "keep" if planted(item, "wild")[1] else "flip"))
    assert [
        found[action][figure] for action in ("keep", "flip") for figure in ("precision", "recall")
    ] == [1.0] * 4
    assert all(
        one["flipped"] == 1.0 and one["kept"] == 0.0
        for name, one in found.items()
        if name.startswith("wrong by")
    )
    assert {name for name in found if name.startswith("wrong by")} == {
        "wrong by random:0.5",
        "wrong by style:1",
    }


def test_keeping_everything_has_the_labels_own_precision():
    found = audit(POOL, decided(lambda item: "keep"))
    assert found["keep"]["recall"] == 1.0 and found["keep"]["precision"] == sum(
        planted(item, "wild")[1] for item in POOL
    ) / len(POOL)
    assert found["flip"] == {"pairs": 0, "precision": None, "recall": 0.0}


def test_pools_share_no_problem_and_pairs_are_right_over_wrong():
    say = lambda text: [{"role": "assistant", "content": text}]
    groups = [
        Group(
            f"g{k}",
            [{"role": "user", "content": f"problem {k}"}],
            [say("right"), say("wrong one"), say("bad")],
            [Pair(0, 1), Pair(0, 2)],
        )
        for k in range(30)
    ]
    tokenizer = ChatTokenizer.load(assets.resolve("assets:world"))
    pools = {name: items(groups, name, 0, tokenizer) for name in curation_real.SPLITS}
    problems = {
        name: {item.record["prompt"][0]["content"] for item in pool} for name, pool in pools.items()
    }
    assert sum(map(len, problems.values())) == len(set().union(*problems.values())) == 30
    assert sum(map(len, pools.values())) == 60
    for item in pools["wild"]:
        assert item.record["chosen"] == say("right") and in_part(
            Group("x", item.record["prompt"], [say("a")], []), curation_real.SPLITS["wild"]
        )


def test_figures_over_seeds():
    found = summary([{"x": 0.5, "y": {"z": None}}, {"x": 0.7, "y": {"z": 1.0}}])
    assert found["x"][0] == pytest.approx(0.6) and found["x"][1] < 0.5 and found["y"]["z"] is None
