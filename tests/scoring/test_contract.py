"""The score contract: what it says, what is refused by which name, and contracts of other versions."""

import dataclasses
import importlib.util
import json
import logging
import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "data"))
import tiny_chat

from rewardjax import export, fingerprint
from rewardjax.data.chat import ChatTokenizer
from rewardjax.scoring import contract, reference
from rewardjax.scoring import model as scorer

CHAT = tiny_chat.make_tokenizer()
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
# accepts the conversation that tokenizers are tried with, and one golden one
PICKY = "{% if messages[1].content not in ('Two!', '4') %}{{ raise_exception('no') }}{% endif %}"


def lengths(conversations):
    return np.array([len(str(messages)) / 100 for messages in conversations])


def made(tokenizer=CHAT):
    bare = contract.make(tokenizer, max_length=64, over_long="drop", compute_dtype="float32")
    return contract.with_golden(bare, tokenizer, lengths)


def as_version_1(saved, scores):
    """The record that version 1 wrote of the same model."""
    record = contract.to_record(saved)
    for name in ("fingerprint", "token_rule", "normalization"):
        del record[name]
    record |= {"normalisation": "none", "golden": scores, "version": 1}
    return record | {"fingerprint": fingerprint.of_json(record)}


def test_a_record_is_read_back_whole():
    record = json.loads(json.dumps(contract.to_record(made())))
    assert contract.from_record(record) == made()
    golden = record["golden"][0]
    assert golden["rendered"] == CHAT.render(golden["messages"])
    assert golden["token_ids"] == CHAT.encode(golden["messages"])
    contract.check_tokenizer(made(), CHAT)
    assert contract.check_golden(made(), lengths, "float32") == 0


def test_a_template_without_a_system_role_has_the_other_golden_conversations():
    tokenizer = tiny_chat.make_tokenizer(NO_SYSTEM + tiny_chat.TEMPLATE)
    first_roles = [golden.messages[0]["role"] for golden in made(tokenizer).golden]
    assert (
        len(first_roles) == len(contract.GOLDEN_CONVERSATIONS) - 1 and "system" not in first_roles
    )
    with pytest.raises(ValueError, match="refuses all but 1 of the golden conversations.* no"):
        made(tiny_chat.make_tokenizer(PICKY + tiny_chat.TEMPLATE))


@pytest.mark.parametrize(
    "field, change",
    [
        ("token_rule", lambda record: record.update(token_rule="another")),
        ("golden[1].rendered", lambda record: record["golden"][1].update(rendered="x")),
        ("golden[2].token_ids", lambda record: record["golden"][2]["token_ids"].pop()),
        ("bos", lambda record: record.update(bos="one <|bos|>")),
    ],
)
def test_what_the_tokenizer_does_otherwise_is_named(field, change):
    record = json.loads(json.dumps(contract.to_record(made())))
    del record["fingerprint"]
    change(record)
    record["fingerprint"] = fingerprint.of_json(record)
    with pytest.raises(contract.ContractMismatch) as caught:
        contract.check_tokenizer(contract.from_record(record), CHAT)
    assert f"`{field}`" in str(caught.value)


def test_fields_of_a_later_version_are_named_kept_and_still_verify(caplog):
    record = contract.to_record(made()) | {"version": 3, "calibration": [1.0, 0.5]}
    del record["fingerprint"]
    record["fingerprint"] = fingerprint.of_json(record)
    with caplog.at_level(logging.WARNING):
        later = contract.from_record(json.loads(json.dumps(record)))
    assert "calibration" in caplog.text
    assert json.dumps(contract.to_record(later), sort_keys=True) == json.dumps(
        record, sort_keys=True
    )
    with pytest.raises(contract.ContractMismatch, match="`fingerprint`"):
        contract.from_record(record | {"calibration": [1.0, 0.6]})


def test_of_a_version_1_contract_what_kept_its_ids_is_checked():
    record = as_version_1(made(), [1.0, 2.0, 3.0, 4.0, 5.0])
    saved = contract.from_record(json.loads(json.dumps(record)))
    assert (saved.version, saved.normalization) == (1, "none")
    assert [golden.score for golden in saved.golden] == [1.0, 2.0, 3.0, 4.0, 5.0]
    contract.check_tokenizer(saved, CHAT)
    assert contract.of_unchanged_ids(saved, CHAT).golden == saved.golden
    spec = json.loads(CHAT._files.tokenizer_json)
    think = spec["added_tokens"][0] | {"id": 260, "content": "<think>", "special": False}
    spec["added_tokens"].append(think)
    thinks = ChatTokenizer(json.dumps(spec), CHAT.config, CHAT.template)
    assert contract.of_unchanged_ids(saved, thinks).golden == saved.golden[:-1]
    tokenizer = tiny_chat.make_tokenizer(bos=True)
    other_bos = dataclasses.replace(saved, bos="none")
    assert contract.of_unchanged_ids(other_bos, tokenizer).golden == ()
    with pytest.raises(contract.ContractMismatch, match="`fingerprint`"):
        contract.from_record(record | {"max_length": 3})


def rewrite_as_version_1(exported, folder, change=lambda scores: None):
    import shutil

    shutil.copytree(exported, folder)
    saved = contract.load(folder)
    scores = [golden.score for golden in saved.golden]
    change(scores)
    (folder / contract.FILE).write_text(json.dumps(as_version_1(saved, scores)))


def test_a_version_1_folder_loads_with_a_sentence_and_is_written_anew(exported, tmp_path, caplog):
    # the last one holds <think>, a token now: its score of version 1 was another
    rewrite_as_version_1(exported, tmp_path / "old")
    with caplog.at_level(logging.WARNING):
        model = scorer.load(tmp_path / "old")
    assert "score contract of version 1" in caplog.text and "--from" in caplog.text
    assert model.contract.version == contract.VERSION
    export.export(tmp_path / "old", tmp_path / "new")
    new = contract.load(tmp_path / "new")
    np.testing.assert_allclose(
        [golden.score for golden in new.golden],
        [golden.score for golden in contract.load(exported).golden],
        rtol=1e-5,
    )
    assert new.version == contract.VERSION and new.golden[0].token_ids

    rewrite_as_version_1(exported, tmp_path / "bad", lambda scores: scores.__setitem__(0, 9.0))
    with pytest.raises(contract.ContractMismatch, match="`golden`"):
        scorer.load(tmp_path / "bad")


def test_the_folder_is_compared_with_what_others_read(tmp_path, monkeypatch):
    CHAT.save(tmp_path)
    contract.check_reference(made(), CHAT, tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config["chat_template"] = config["chat_template"].replace("\n{{", " {{")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    names = []
    for installed in (True, False):
        if not installed:
            monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(contract.ContractMismatch, match="reads .* of this folder as") as caught:
            contract.check_reference(made(), CHAT, tmp_path)
        names.append("transformers reads" in str(caught.value))
    assert names[-1] is False
    assert reference.token_ids(tmp_path, made().golden[0].messages)[0] == "tokenizers"
