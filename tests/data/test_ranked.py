"""Ranked groups:

the ranking that a record gives comes back from its pairs, and steps are made of whole groups.
"""

import numpy as np
import pytest
import tiny_chat
from tiny_chat import write_source

from rewardjax.data import pipeline
from rewardjax.data.pack import plan_rows
from rewardjax.data.plan import step_pairs
from rewardjax.data.prepare import prepare
from rewardjax.data.ranked import RankedGroups

CHAT = tiny_chat.make_tokenizer()
LAYOUT = dict(rows=2, row_length=384, pairs_per_row=6, responses=4)
PROMPT = "Name a color."
RESPONSES = ["red", "the color green", "the color blue", "none"]


def record(**labels):
    responses = RESPONSES[: len(next(iter(labels.values())))]
    return {"prompt": PROMPT, "responses": responses, **labels}


def prepared(folder, records, **settings):
    return prepare(
        source=write_source(folder / "a.jsonl", records),
        tokenizer=CHAT,
        cache=folder / "cache",
        max_length=256,
        **settings,
    )


@pytest.mark.parametrize(
    "labels, ranks",
    [
        (dict(ranks=[3, 1, 2, 4]), [2, 0, 1, 3]),
        (dict(ranks=[1, 0, 0, 2]), [2, 0, 0, 3]),
        (dict(scores=[0.5, -1.0, 7.0]), [1, 2, 0]),
        (dict(correct=[False, True, False, True]), [2, 0, 2, 0]),
    ],
)
def test_ranks_are_how_many_responses_are_better(tmp_path, labels, ranks):
    groups = RankedGroups.of(prepared(tmp_path, [record(**labels)]))
    assert groups.ranks.tolist() == [ranks] and groups.sizes.tolist() == [len(ranks)]
    (tokens,) = groups.load([0])
    texts = [CHAT.decode([*tokens.prefix, *suffix]) for suffix in tokens.suffixes]
    assert all(answer in text for answer, text in zip(RESPONSES, texts, strict=False))


def test_the_loser_of_a_soft_label_may_be_the_one_called_chosen(tmp_path):
    pair = {"prompt": PROMPT, "chosen": "red", "rejected": "blue"}
    labels = [dict(), dict(target=0.7), dict(target=0.2), dict(target=0.5), dict(tie=True)]
    groups = RankedGroups.of(prepared(tmp_path, [pair | label for label in labels]))
    assert groups.ranks.tolist() == [[0, 1], [0, 1], [1, 0]]
    assert groups.unranked == 2  # ties rank nothing


def test_a_group_of_equals_is_left_out_and_counted(tmp_path):
    records = [record(ranks=[1, 1, 1]), record(ranks=[1, 2, 1])]
    groups = RankedGroups.of(prepared(tmp_path, records))
    assert len(groups) == 1 and groups.unranked == 1 and groups.record.tolist() == [1]
    with pytest.raises(ValueError, match="a: no group has a response that is better than another"):
        RankedGroups.of(prepared(tmp_path, records[:1]))


def test_an_unusable_response_leaves_the_ranking_of_the_others(tmp_path):
    long = record(ranks=[2, 1, 3]) | {"responses": ["red", "x" * 400, "blue"]}
    groups = RankedGroups.of(prepared(tmp_path, [long, record(ranks=[0, 1])]))
    assert groups.ranks.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("field", ["pairs_per_group", "max_pair_length"])
def test_settings_that_leave_out_comparisons_are_refused(tmp_path, field):
    pairs = prepared(tmp_path, [record(ranks=[0, 1, 2])], **{field: 200})
    with pytest.raises(ValueError, match=f"data.{field} = 200 leaves out some of a group's pairs"):
        RankedGroups.of(pairs)


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    generator = np.random.default_rng(0)
    records = []
    for i in range(20):
        size = int(generator.integers(2, 5))
        responses = [
            "".join(generator.choice(list("abc "), generator.integers(1, 40))) + str(k)
            for k in range(size)
        ]
        records.append(
            {
                "prompt": f"{i}?",
                "responses": responses,
                "ranks": generator.permutation(size).tolist(),
            }
        )
    return RankedGroups.of(prepared(tmp_path_factory.mktemp("ranked"), records))


def steps_of(data, first_step=0, **changes):
    iterator = pipeline.train_steps(
        data, pairs=8, seed=1, num_steps=4, first_step=first_step, **{**LAYOUT, **changes}
    )
    steps = list(iterator)
    iterator.close()
    return steps


def ranked_conversations(step):
    """For each group of a step, its conversations from best to worst as the scored slots see
    them.
    """
    arrays = {name: x.reshape(-1, x.shape[-1]) for name, x in step.arrays.items()}
    per_row = arrays["weight"].shape[1]
    slots = arrays["ranked"].reshape(len(arrays["tokens"]), per_row, -1)
    ranks = arrays["ranks"].reshape(slots.shape)
    groups = []
    for r, place in np.argwhere(arrays["weight"] > 0):
        conversations = []
        for k in np.argsort(ranks[r, place], kind="stable"):
            if ranks[r, place, k] >= 0:
                end = arrays["score_at"][r, slots[r, place, k]]
                keys = np.arange(arrays["see_from"][r, end], arrays["see_to"][r, end] + 1)
                keys = keys[np.argsort(arrays["positions"][r, keys])]
                conversations.append(tuple(arrays["tokens"][r, keys].tolist()))
        groups.append(tuple(conversations))
    return sorted(groups)


def stored_conversations(data, indices):
    groups = []
    for tokens, ranks in zip(data.load(indices), data.ranks[indices], strict=True):
        order = np.argsort(ranks[: len(tokens.suffixes)])
        groups.append(tuple((*tokens.prefix.tolist(), *tokens.suffixes[k].tolist()) for k in order))
    return sorted(groups)


LAYOUTS = [{}, {"rows": 8}, {"row_length": 1024}, {"share": False, "row_length": 768}]


@pytest.mark.parametrize("changes", LAYOUTS)
def test_a_step_holds_exactly_the_planned_groups_whole(groups, changes):
    for k, step in enumerate(steps_of(groups, **changes)):
        assert step.units.tolist() == step_pairs(len(groups), 8, 1, k).tolist()
        assert step.arrays["weight"].sum() == 8
        assert ranked_conversations(step) == stored_conversations(groups, step.units)


def test_the_index_alone_knows_how_long_a_group_is(groups):
    tokens = groups.load(range(len(groups)))
    for share, size in ((True, 2), (False, 1)):
        bundles = [-(-len(group.suffixes) // size) for group in tokens]
        lengths = [
            n * len(group.prefix) + sum(map(len, group.suffixes))
            for n, group in zip(bundles, tokens, strict=True)
        ]
        assert groups.row_tokens(share).tolist() == lengths
    for step in steps_of(groups, rows=1):
        rows = plan_rows(groups.row_tokens()[step.units], 384, 3)
        assert len(step.arrays["tokens"]) == len(rows)


def test_hosts_together_hold_what_one_would_and_a_step_is_the_whole_position(groups):
    whole = steps_of(groups)
    halves = [steps_of(groups, shard=(host, 2)) for host in range(2)]
    for step, *parts in zip(whole, *halves, strict=True):
        for name, array in step.arrays.items():
            together = np.concatenate([part.arrays[name] for part in parts], axis=1)
            np.testing.assert_array_equal(together, array, err_msg=name)
    for resumed, step in zip(steps_of(groups, first_step=2), whole[2:], strict=True):
        for name, array in step.arrays.items():
            np.testing.assert_array_equal(resumed.arrays[name], array, err_msg=name)


def test_what_does_not_fit_is_refused_by_name(groups):
    largest = int(groups.sizes.argmax())
    with pytest.raises(
        ValueError, match=rf"group {largest} \(record {largest} of a\) ranks 4 .*responses = 3: set"
    ):
        steps_of(groups, responses=3)
    longest = int(groups.row_tokens().argmax())
    with pytest.raises(
        ValueError, match=rf"row_length = 100: .* group {longest} .*lower data.max_length"
    ):
        steps_of(groups, row_length=100)
