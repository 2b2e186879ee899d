"""Pretraining: tokenizer, batches, a run that goes on bit for bit, and what is shipped."""

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from rewardjax import assets, fingerprint
from rewardjax.data import world
from rewardjax.data.world.corpus import Turn, documents
from rewardjax.models import hf
from rewardjax.models.decoder import Decoder
from rewardjax.parallel.mesh import make_mesh
from rewardjax.tools.pretrain_world import train as loop
from rewardjax.tools.pretrain_world.batches import DOCUMENTS_PER_ROW, encode, make_batch
from rewardjax.tools.pretrain_world.export import export, record_of
from rewardjax.tools.pretrain_world.step import COMPUTE, LAYOUT, config_of, make_loss
from rewardjax.tools.pretrain_world.tokenizer import (
    ADDED,
    SPECIAL,
    VOCAB_SIZE,
    train_tokenizer,
    write_tokenizer,
)

ASSETS = pathlib.Path(assets.__file__).parent / "world"
TINY: dict[str, Any] = dict(
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
    questions = {turns[0].content for turns in documents(0, 4000)}
    for split in ("train", "heldout"):
        assert not questions & {
            r["prompt"][0]["content"] for r in world.generate(0, 2000, split=split)
        }
    kinds = [turns[1:] for turns in documents(0, 400)]
    assert {len(k) for k in kinds} >= {1, 2, 3, 4} and list(documents(0, 5, 3)) == list(
        documents(0, 8)
    )[3:]


def test_tokenizer_reads_any_text_and_keeps_digits_apart(tokenizer):
    assert tokenizer.get_vocab_size() == VOCAB_SIZE
    for text in (
        "What is 34 + 27?",
        "x = 3\n    print(x)\n\n",
        "ça va \U0001f600 \t 終",
        "f-a-l",
        " " * 7,
    ):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert not any(sum(c.isdigit() for c in token) > 1 for token in tokenizer.get_vocab())
    ids = {tokenizer.token_to_id(token) for token in SPECIAL + ADDED}
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
            == encode(tokenizer, turns)[0]
        )
    prompt = theirs.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert prompt == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_batch_holds_whole_conversations_that_see_only_themselves(tokenizer):
    settings = dict(seed=0, step=3, rows=8, length=192, repeat=0.2, tasks=tuple(world.TASKS))
    batch = make_batch(tokenizer, **settings)
    num = int(8 * 192 / 256 * DOCUMENTS_PER_ROW)
    whole = {tuple(encode(tokenizer, turns)[0]) for turns in documents(0, num, start=3 * num)}
    index, packed = np.arange(192), 0
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
            packed += tuple(batch["tokens"][row, start : start + length]) in whole
    assert packed >= 0.75 * num  # the others fit nowhere
    assert (
        np.all(batch["weights"][batch["positions"] == 0] == 0)
        and np.mean(batch["weights"] > 0) > 0.85
    )
    again = make_batch(tokenizer, **settings)
    assert all(np.array_equal(batch[name], again[name]) for name in batch)


def test_weights_follow_the_turns(tokenizer):
    ids, weights, wrong = encode(
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
    ids, _, wrong = encode(tokenizer, turns)
    judged = [(tokenizer.id_to_token(i), w) for i, w in zip(ids, wrong, strict=True) if w >= 0]
    assert (
        [w for _, w in judged] == [0] * 4 + [1] * 4
        and judged[4][0] == "8"
        and judged[-2][0] == "<|im_end|>"
    )
    right = encode(tokenizer, [Turn("assistant", "It is 37.", correct=True, twin="It is 37.")])[2]
    assert set(right) == {-1, 0} and right.count(0) == len(judged)
    unknown = encode(tokenizer, [Turn("assistant", "sun sing", correct=False)])[
        2
    ]  # several right answers: only the end can say
    assert [w for w in unknown if w >= 0] == [1, 1]


def test_loss_by_hand(tokenizer):
    turns = [
        Turn("user", "3 + 4?", 0.1, 0.2),
        Turn("assistant", "It is 8.", correct=False, twin="It is 7."),
        Turn("user", "Wrong.", 0.1, 5.0),
    ]
    ids, weights, wrong = map(np.array, encode(tokenizer, turns))
    places = np.arange(len(ids))
    batch = {"tokens": ids, "positions": places, "see_from": 0 * places, "see_to": places}
    batch |= {"weights": weights.astype(np.float32), "wrong": wrong}
    batch = {name: jnp.asarray(array)[None] for name, array in batch.items()}
    with jax.set_mesh(make_mesh(devices=jax.devices()[:1])):
        config = config_of(width=16, layers=1, heads=1, kv_heads=1, mlp_width=16)
        decoder = jax.jit(lambda: Decoder(config, COMPUTE, LAYOUT, rngs=nnx.Rngs(params=0)))()
        graph, params = nnx.split(decoder, nnx.Param)
        probe = {"w": jnp.linspace(-1, 1, 16), "b": jnp.array(0.3)}
        value, parts = make_loss(graph, 2.0)({"decoder": params, "probe": probe}, batch)
        inputs = [batch[name] for name in ("tokens", "positions", "see_from", "see_to")]
        x = np.asarray(decoder(*inputs), np.float64)[0]
        embed = np.asarray(decoder.embed[...], np.float64)
    nll = []
    for t in range(len(ids) - 1):
        logits = embed @ x[t]
        nll.append(np.log(np.exp(logits).sum()) - logits[ids[t + 1]])
    nll = np.array(nll)
    text = np.sum(nll * weights[1:]) / np.sum(weights[1:])
    probability = 1 / (1 + np.exp(-(x @ np.linspace(-1, 1, 16) + 0.3)))
    of_label = np.where(wrong == 1, probability, 1 - probability)
    probe_loss = -np.log(of_label[wrong >= 0]).mean()
    np.testing.assert_allclose(parts["text"], text, rtol=1e-5)
    np.testing.assert_allclose(parts["wrong"], probe_loss, rtol=1e-5)
    np.testing.assert_allclose(parts["verdict"], nll[weights[1:] == 5.0].mean(), rtol=1e-5)
    np.testing.assert_allclose(value, text + 2.0 * probe_loss, rtol=1e-5)


def test_stopped_and_resumed_run_is_the_same_run(tmp_path, capsys, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        write_tokenizer(train_tokenizer(0, 200), folder)
    loop.train(str(whole), steps=4, **TINY)
    # Stopped after two steps as a kill would stop it: the schedule is that of four.
    save_state = loop.save_state

    def save_and_stop(folder, state, step):
        save_state(folder, state, step)
        if step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_state", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            loop.train(str(parts), steps=4, **TINY)
    loop.train(str(parts), steps=4, **TINY)
    at_once, in_parts = (load_file(folder / "state.safetensors") for folder in (whole, parts))
    assert at_once.keys() == in_parts.keys() and int(at_once["step"]) == 4
    assert all(np.array_equal(at_once[name], in_parts[name]) for name in at_once)
    with pytest.raises(ValueError, match="other sizes"):
        loop.train(str(parts), steps=4, **TINY | {"mlp_width": 64})

    export(str(whole), str(tmp_path / "hf"))
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["model"]["steps"] == 4
    with jax.set_mesh(make_mesh()):
        model = hf.load(tmp_path / "hf", COMPUTE, LAYOUT, init_head=True)
        embed = np.asarray(model.decoder.embed[...])
    # Rounded to bfloat16, otherwise the same.
    trained = at_once["[0]['decoder']['embed']"]
    assert np.abs(embed - trained).max() <= np.abs(embed).max() * 2**-8


def test_the_record_ends_with_the_exported_step(tmp_path):
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text(name)
    lines = [
        {"start": 0, "world_version": 1},
        {"step": 50, "seconds": 60.0},
        {"step": 100, "seconds": 120.0},
        {"start": 100, "world_version": 1},
        {"step": 150, "seconds": 30.0},
        # Behind the exported state.
        {"step": 200, "seconds": 90.0},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = record_of(tmp_path, step=150, parameters=7)
    assert record["last"] == lines[4]
    assert record["stages"] == [lines[0], lines[3]]
    # Two minutes of the first start and half of one of the second.
    assert record["minutes"] == 2.5


def test_shipped_tokenizer_is_what_the_command_makes(tmp_path):
    record = json.loads((ASSETS / "pretraining.json").read_text())["tokenizer"]
    write_tokenizer(train_tokenizer(record["seed"], record["num"]), tmp_path)
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
