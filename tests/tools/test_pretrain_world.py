"""Pretraining: the tokenizer's promises, what a batch holds, a run that stops and goes on bit for bit, and the backbone that is shipped."""

import json
import pathlib

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from rewardjax import assets, fingerprint
from rewardjax.data import world
from rewardjax.data.world.corpus import Turn, documents
from rewardjax.models import hf
from rewardjax.parallel.mesh import make_mesh
from rewardjax.tools import pretrain_world

ASSETS = pathlib.Path(assets.__file__).parent / "world"
TINY = dict(
    seed=0,
    wrong_weight=2.0,
    repeat=0.2,
    tasks="add+count",
    width=32,
    layers=1,
    heads=2,
    kv_heads=2,
    mlp_width=32,
    rows=8,
    length=192,
    learning_rate=1e-2,
    warmup=2,
    decay=2,
    save_every=2,
)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(ASSETS / "tokenizer.json"))


def test_corpus_keeps_away_from_the_other_splits():
    asked = {turns[0].content for turns in documents(0, 4000)}
    for split in ("train", "heldout"):
        assert not asked & {r["prompt"][0]["content"] for r in world.generate(0, 2000, split=split)}
    kinds = [turns[1:] for turns in documents(0, 400)]
    assert {len(k) for k in kinds} >= {1, 2, 3, 4} and list(documents(0, 5, 3)) == list(
        documents(0, 8)
    )[3:]


def test_tokenizer_reads_any_text_and_keeps_digits_apart(tokenizer):
    assert tokenizer.get_vocab_size() == pretrain_world.VOCAB_SIZE
    for text in (
        "What is 34 + 27?",
        "x = 3\n    print(x)\n\n",
        "ça va \U0001f600 \t 終",
        "f-a-l",
        " " * 7,
    ):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert not any(sum(c.isdigit() for c in token) > 1 for token in tokenizer.get_vocab())
    ids = {tokenizer.token_to_id(token) for token in pretrain_world.SPECIAL + pretrain_world.ADDED}
    assert len(ids) == 6 and None not in ids
    assert tokenizer.decode(tokenizer.encode("<think>").ids, skip_special_tokens=True) == "<think>"


def test_transformers_renders_what_we_encode(tokenizer):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(ASSETS)
    assert (
        theirs.pad_token == "<|pad|>"
        and theirs.eos_token == "<|im_end|>"
        and theirs.pad_token_id != theirs.eos_token_id
    )
    for turns in documents(1, 50):
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        assert (
            theirs.apply_chat_template(messages, tokenize=True, return_dict=False)
            == pretrain_world.encode(tokenizer, turns)[0]
        )
    prompt = theirs.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert prompt == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_batch_holds_whole_conversations_that_see_only_themselves(tokenizer):
    settings = dict(seed=0, step=3, rows=8, length=192, repeat=0.2, tasks=tuple(world.TASKS))
    batch = pretrain_world.make_batch(tokenizer, **settings)
    num = int(8 * 192 / 256 * pretrain_world.DOCUMENTS_PER_ROW)
    whole = {
        tuple(pretrain_world.encode(tokenizer, turns)[0])
        for turns in documents(0, num, start=3 * num)
    }
    index, found = np.arange(192), 0
    for row in range(8):
        assert np.all(batch["see_to"][row] == index)
        starts = [
            t
            for t in index
            if batch["see_from"][row, t] == t
            and batch["tokens"][row, t] == tokenizer.token_to_id("<|im_start|>")
            and batch["positions"][row, t] == 0
            and t + 1 < 192
            and batch["positions"][row, t + 1] == 1
        ]
        for start in starts:
            counting_up = batch["positions"][row, start:] == np.arange(192 - start)
            length = len(counting_up) if counting_up.all() else int(np.argmin(counting_up))
            found += tuple(batch["tokens"][row, start : start + length]) in whole
    assert found >= 0.75 * num  # the others fit nowhere
    assert (
        np.all(batch["weights"][batch["positions"] == 0] == 0)
        and np.mean(batch["weights"] > 0) > 0.85
    )
    again = pretrain_world.make_batch(tokenizer, **settings)
    assert all(np.array_equal(batch[name], again[name]) for name in batch)


def test_weights_follow_the_turns(tokenizer):
    ids, weights, wrong = pretrain_world.encode(
        tokenizer, [Turn("user", "Is it?", 0.1, 0.2), Turn("assistant", "Yes, it is.", 1.0, 5.0)]
    )
    at = {token: i for i, token in enumerate(tokenizer.encode("Yes, it is.").tokens)}
    start = ids.index(tokenizer.token_to_id("Yes"))
    assert weights[start] == 5.0 and weights[start + at["."]] == 1.0 and len(ids) == len(weights)
    assert weights[:1] == [0.1] and 0.2 in weights


def test_wrong_by_then_marks_the_slip_and_what_follows(tokenizer):
    turns = [
        Turn("user", "3 + 4?"),
        Turn("assistant", "It is 38.", correct=False, twin="It is 37."),
        Turn("user", "Wrong."),
    ]
    ids, _, wrong = pretrain_world.encode(tokenizer, turns)
    said = [(tokenizer.id_to_token(i), w) for i, w in zip(ids, wrong, strict=True) if w >= 0]
    assert (
        [w for _, w in said] == [0] * 4 + [1] * 4
        and said[4][0] == "8"
        and said[-2][0] == "<|im_end|>"
    )
    right = pretrain_world.encode(
        tokenizer, [Turn("assistant", "It is 37.", correct=True, twin="It is 37.")]
    )[2]
    assert set(right) == {-1, 0} and right.count(0) == len(said)
    unknown = pretrain_world.encode(tokenizer, [Turn("assistant", "sun sing", correct=False)])[
        2
    ]  # several right answers: only the end can say
    assert [w for w in unknown if w >= 0] == [1, 1]


def test_stopped_and_resumed_run_is_the_same_run(tmp_path, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        pretrain_world.write_tokenizer(pretrain_world.train_tokenizer(0, 200), folder)
    pretrain_world.train(str(whole), steps=4, **TINY)
    # stopped after two steps as a kill would stop it: the schedule is that of four
    original, pretrain_world.save_state = (
        pretrain_world.save_state,
        lambda folder, state, step: (original(folder, state, step), stop(step)),
    )
    try:
        with pytest.raises(KeyboardInterrupt):
            pretrain_world.train(str(parts), steps=4, **TINY)
    finally:
        pretrain_world.save_state = original
    pretrain_world.train(str(parts), steps=4, **TINY)
    one, other = load_file(whole / "state.safetensors"), load_file(parts / "state.safetensors")
    assert one.keys() == other.keys() and int(one["step"]) == 4
    assert all(np.array_equal(one[name], other[name]) for name in one)
    with pytest.raises(ValueError, match="other sizes"):
        pretrain_world.train(str(parts), steps=4, **TINY | {"mlp_width": 64})

    pretrain_world.export(str(whole), str(tmp_path / "hf"))
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["model"]["steps"] == 4
    with jax.set_mesh(make_mesh()):
        model = hf.load(
            tmp_path / "hf", pretrain_world.COMPUTE, pretrain_world.LAYOUT, init_head=True
        )
        embed = np.asarray(model.decoder.embed[...])
    assert (
        np.abs(embed - one["[0]['decoder']['embed']"]).max() <= np.abs(embed).max() * 2**-8
    )  # rounded to bfloat16, otherwise the same


def stop(step):
    if step == 2:
        raise KeyboardInterrupt


def test_shipped_tokenizer_is_what_the_command_makes(tmp_path):
    record = json.loads((ASSETS / "pretraining.json").read_text())["tokenizer"]
    pretrain_world.write_tokenizer(
        pretrain_world.train_tokenizer(record["seed"], record["num"]), tmp_path
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (ASSETS / name).read_bytes()


def test_shipped_backbone_is_the_recorded_one_and_small():
    record = json.loads((ASSETS / "pretraining.json").read_text())
    assert record["model"]["fingerprint"] == fingerprint.of_file(ASSETS / "model.safetensors")
    assert record["tokenizer"]["fingerprint"] == fingerprint.of_file(ASSETS / "tokenizer.json")
    assert record["world_version"] == world.VERSION
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) <= 4 * 2**20
    weights = load_file(ASSETS / "model.safetensors")
    assert 1e6 <= sum(array.size for array in weights.values()) <= 3e6 and {
        str(array.dtype) for array in weights.values()
    } == {"bfloat16"}
