"""Nothing that a folder holds is run when it is loaded, and nothing leads out of the folder.

Each case would leave a file, the canary, if it were run; each is refused in a sentence with exit
code 2, or read as plain data.
"""

import json
import os
import pathlib
import pickle
import shutil

import numpy as np
import pytest
from commands import run_all

from rewardjax import assets
from rewardjax.data import sources
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord
from rewardjax.data.templates import limits
from rewardjax.data.token_cache import INDEX, MANIFEST, TokenizedPairs
from rewardjax.io import foreign_files
from rewardjax.io.files import refuse_stand_in
from rewardjax.models import hf
from rewardjax.models.hf_config import read_config
from rewardjax.scoring import contract

ROW = {"prompt": "What is 1 + 1?", "chosen": "It is 2.", "rejected": "I cannot say."}
SECONDS = 240  # in which a command that waits for ever is ended; none takes a tenth when idle


class Touch:
    """An object whose unpickling makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "something was run"


@pytest.fixture
def model(tmp_path):
    """A copy of the model that ships with the package, to be spoilt."""
    folder = tmp_path / "model"
    shutil.copytree(assets.resolve("assets:world"), folder)
    return folder


def edit(path: pathlib.Path, **fields) -> None:
    """Set fields of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def refusal(load, *args) -> str:
    """The sentence with which a load is refused."""
    with pytest.raises((ValueError, OSError)) as refused:
        load(*args)
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


# ------------------------------------------------------------------ weights


def test_pickled_weights_are_not_opened(model, canary):
    (model / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.pt"):
        (model / name).write_bytes(pickle.dumps(Touch(canary)))
        assert f"the weights are pickled, in {name}" in refusal(hf.check, model, True)
        (model / name).unlink()


def test_a_pickle_under_the_name_of_safetensors_is_not_opened(model, canary):
    (model / "model.safetensors").write_bytes(pickle.dumps(Touch(canary)))
    assert "not a readable safetensors file" in refusal(hf.check, model, True)


@pytest.mark.parametrize(
    "name", ["../elsewhere.safetensors", "/etc/passwd", "a/b", "..", "", 7, None]
)
def test_an_index_names_files_beside_it(model, name):
    shutil.copy(model / "model.safetensors", model.parent / "elsewhere.safetensors")
    index = {"weight_map": {"model.norm.weight": name}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "not a file beside it" in refusal(hf.check, model, True)


@pytest.mark.parametrize("content", ["[]", '{"weight_map": [1]}', "{}", '{"weight_map": "x"}'])
def test_an_index_of_another_shape_is_refused(model, content):
    (model / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json" in refusal(hf.check, model, True)


def test_links_stay_in_the_folder_or_in_the_cache_of_the_hub(model, tmp_path):
    weights = model / "model.safetensors"
    inside, outside = model / "real.safetensors", tmp_path / "outside.safetensors"
    shutil.copy(weights, outside)
    weights.rename(inside)
    weights.symlink_to(inside.name)
    hf.check(model, True)
    weights.unlink()
    weights.symlink_to(outside)
    assert "a link to" in refusal(hf.check, model, True)
    # huggingface_hub keeps contents beside the snapshots, which hold links to them.
    snapshot = tmp_path / "models--a--b" / "snapshots" / "1234"
    shutil.copytree(assets.resolve("assets:world"), snapshot)
    blob = tmp_path / "models--a--b" / "blobs" / "abc"
    blob.parent.mkdir()
    (snapshot / "model.safetensors").rename(blob)
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    hf.check(snapshot, True)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "chat_template.jinja"])
def test_a_link_to_a_file_of_the_system_is_not_read(model, name):
    (model / name).unlink(missing_ok=True)
    (model / name).symlink_to("/etc/passwd")
    load = ChatTokenizer.load
    if name == "config.json":
        load = read_config
    assert "outside of the folder" in refusal(load, model)


# ------------------------------------------------------------------ pipes and devices


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
)
def test_nobody_waits_for_a_pipe(model, name):
    (model / name).unlink()
    os.mkfifo(model / name)
    load = {"config.json": read_config, "model.safetensors": lambda folder: hf.check(folder, True)}
    assert f"{name}: a pipe, not a file" in refusal(load.get(name, ChatTokenizer.load), model)


def test_a_device_and_a_folder_are_no_files(tmp_path):
    (tmp_path / "folder.json").mkdir()
    for path, kind in (("/dev/zero", "a device"), (tmp_path / "folder.json", "a folder")):
        assert kind in refusal(refuse_stand_in, pathlib.Path(path))


def test_data_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "data.jsonl")
    source = sources.open_source(tmp_path / "data.jsonl")
    for use in (list, len, lambda source: source.fingerprint()):
        assert "a pipe, not a file" in refusal(use, source)


# ------------------------------------------------------------------ configs and contracts


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"auto_map": {"AutoModel": "code.Model"}}, "names code of its own"),
        ({"num_attention_heads": 0}, "num_attention_heads = 0, not a count"),
        ({"num_hidden_layers": -1}, "num_hidden_layers = -1, not a count"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers = 1000000000000, not a count"),
        ({"hidden_size": "16"}, "hidden_size = '16', not a count"),
        ({"vocab_size": [1]}, "vocab_size = [1], not a count"),
        ({"head_dim": 1.5}, "head_dim = 1.5, not a count"),
        ({"rope_theta": float("nan"), "rope_parameters": None}, "rope_theta = nan, not a finite"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps = inf, not a finite"),
        ({"model_type": ["qwen3"]}, "model_type"),
        ({"auto_map": 5}, "auto_map = 5, not an object"),
        ({"rope_parameters": [1]}, "rope_parameters = [1], not an object"),
        ({"rope_scaling": "linear"}, "rope_scaling = 'linear', not an object"),
        ({"quantization_config": 4}, "quantization_config = 4, not an object"),
        ({"id2label": ["a"]}, "id2label = ['a'], not an object"),
        ({"layer_types": 7}, "layer_types = 7, not a list"),
        ({"layer_types": ["full_attention", 3]}, "3], not a list of names"),
        ({"architectures": [5]}, "architectures = [5], not a list of names"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings = 'false', not true or false"),
        ({"num_key_value_heads": 3}, "not a multiple of num_key_value_heads = 3"),
    ],
)
def test_a_config_is_data_of_known_kinds(model, canary, fields, sentence):
    code = f"import os; os.system('touch {canary}')"
    (model / "code.py").write_text(code)
    edit(model / "config.json", **fields)
    assert sentence in refusal(read_config, model)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff\xfe{", b"[" * 100_000, b"null", b""])
def test_json_of_another_kind_is_refused(model, name, content):
    (model / name).write_bytes(content)
    load = ChatTokenizer.load
    if name == "config.json":
        load = read_config
    assert name in refusal(load, model)


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"model": {}},
        {"added_tokens": [{"id": 0}]},
        {"added_tokens": "x"},
        {"pre_tokenizer": {"type": "Nobody"}},
        {"normalizer": 5},
        {"model": {"type": "WordLevel", "vocab": {}, "unk_token": "x"}},
    ],
)
def test_a_tokenizer_of_another_shape_is_refused(model, change):
    edit(model / "tokenizer.json", **change)
    assert "tokenizer" in refusal(ChatTokenizer.load, model)


def test_an_empty_tokenizer_is_refused(model):
    (model / "tokenizer.json").write_text("{}")
    assert "not a tokenizer that can be read" in refusal(ChatTokenizer.load, model)


def test_a_file_that_is_too_large_is_not_parsed(model, monkeypatch):
    monkeypatch.setattr(foreign_files, "LARGEST", 1000)
    assert "MB, where such a file has at most" in refusal(ChatTokenizer.load, model)


@pytest.mark.parametrize(
    "content", ["[]", "{", "{}", '{"fingerprint": 5}', '{"version": 2, "fingerprint": ""}']
)
def test_a_contract_of_another_shape_is_refused(tmp_path, content):
    (tmp_path / contract.FILE).write_text(content)
    assert contract.FILE in refusal(contract.load, tmp_path)


# ------------------------------------------------------------------ chat templates

BREAK_OUT = {
    "an attribute of Python's": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "a format": "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "a filter": "{{ (messages|attr('__class__')).mro() }}",
    "a file": "{% include '/etc/passwd' %}",
    "an import": "{% import 'os' as os %}{{ os.system('touch CANARY') }}",
    "a change of what it is given": "{{ messages.clear() }}",
}
USE_UP = {
    "a loop without an end": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
        "{% endfor %}{% endfor %}{% endfor %}"
    ),
    "a macro of loops": (
        "{% macro f() %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}"
        "{% endfor %}{% endmacro %}{{ f() }}{{ f() }}"
    ),
    "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a loop that calls itself": "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "a long text": "{{ 'a' * 10000000000 }}",
    "a long list": "{{ [1] * 10000000000 }}",
    "a long number": "{{ 9 ** 9 ** 9 ** 9 ** 9 }}",
    "a product of products": "{{ 2 ** 4000 * 2 ** 4000 * 2 ** 4000 }}",
    "a width": "{{ 'a'.center(10000000000) }}",
    "a width of a filter": "{{ 'a'|center(10000000000) }}",
    "a width of a format": "{{ '%10000000000d' % 1 }}",
    "a width among the values": "{{ '%*d' % (10000000000, 1) }}",
    "a width of the other format": "{{ '{:10000000000}'.format(1) }}",
    "a format of a filter": "{{ '%10000000000d'|format(1) }}",
    "an indent": "{{ messages|tojson(indent=10000000000) }}",
    "tabs": "{{ ('\t' * 60000).expandtabs(60000) }}",
    "a text that doubles": (
        "{% set n = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(64) %}"
        "{% set n.x = n.x ~ n.x %}{% endfor %}"
    ),
    "a sum that doubles": (
        "{% set n = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(64) %}"
        "{% set n.x = n.x + n.x %}{% endfor %}"
    ),
    "a replacement that multiplies": (
        "{% set n = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(64) %}"
        "{% set n.x = n.x.replace('a', 'aaaaaaaa') %}{% endfor %}"
    ),
    "a join that multiplies": "{{ ('b' * 60000).join(('a' * 60000)|list) }}",
    "endless printing": "{% for a in range(99999) %}{{ 'a' * 60000 }}{% endfor %}",
    "words at random": "{{ lipsum(100000000) }}",
}
OTHER = {
    "no Jinja": "{% for %}",
    "chance": "{{ ['a', 'b']|random }}",
    "brackets": "{{ " + "(" * 5000 + ")" * 5000 + " }}",
    "division": "{{ 1 / 0 }}",
    "too long": "a" * (limits.SOURCE + 1),
}


@pytest.mark.parametrize("name", BREAK_OUT | USE_UP | OTHER)
def test_a_template_can_neither_break_out_nor_go_on_for_ever(name, model, canary, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.5)
    (model / "chat_template.jinja").write_text(
        (BREAK_OUT | USE_UP | OTHER)[name].replace("CANARY", str(canary))
    )
    assert "the chat template" in refusal(ChatTokenizer.load, model)


@pytest.mark.parametrize(
    "template", ["", "hello", "{{ messages[0].content }}", "{{ messages[1].content|length }}"]
)
def test_a_template_that_leaves_out_what_is_said_is_refused(model, template):
    (model / "chat_template.jinja").write_text(template)
    assert "the chat template does not print what the" in refusal(ChatTokenizer.load, model)


def test_a_template_that_uses_too_much_for_one_conversation_costs_that_one(model, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.5)
    template = (
        "{% for m in messages %}{% if 'trap' in m.content %}{% for a in range(99999) %}"
        "{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}{{ m.content }}{% endfor %}"
    )
    (model / "chat_template.jinja").write_text(template)
    chat = ChatTokenizer.load(model)
    with pytest.raises(BadRecord, match="it takes longer than 0.5 seconds"):
        chat.encode([{"role": "user", "content": "a trap"}])
    assert chat.encode([{"role": "user", "content": "no such thing"}])


def test_a_template_that_is_not_a_text_is_refused(model):
    (model / "chat_template.jinja").unlink(missing_ok=True)
    for template in (5, {"default": 7}, [{"name": "default", "template": None}]):
        edit(model / "tokenizer_config.json", chat_template=template)
        assert "chat_template is not a template's text" in refusal(ChatTokenizer.load, model)


# ------------------------------------------------------------------ data


@pytest.mark.parametrize("name", ["../../secret.arrow", "/etc/passwd", None])
def test_a_saved_data_set_names_files_beside_its_description(tmp_path, name):
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    assert "not a file beside it" in refusal(sources.open_source, tmp_path)


def test_a_saved_dictionary_names_folders_beside_its_description(tmp_path):
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["../elsewhere"]}))
    assert "not a file beside it" in refusal(sources.open_source, tmp_path)


def test_the_card_of_a_data_set_is_plain_yaml(tmp_path, canary):
    (tmp_path / "train.jsonl").write_text(json.dumps(ROW) + "\n")
    (tmp_path / "README.md").write_text(
        f"---\nconfigs: !!python/object/apply:os.system ['touch {canary}']\n---\n"
    )
    assert list(sources.open_source(tmp_path)) == [ROW]
    (tmp_path / "README.md").unlink()
    os.mkfifo(tmp_path / "README.md")
    assert list(sources.open_source(tmp_path)) == [ROW]


def test_the_index_of_tokenized_data_is_not_unpickled(tmp_path, canary):
    name = f"index-00000-of-00001{INDEX}"
    (tmp_path / MANIFEST).write_text(json.dumps({"bytes": {name: 0}}))
    np.savez(tmp_path / name, record=np.array([Touch(canary)], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        TokenizedPairs.open(tmp_path)


# ------------------------------------------------------------------ as a user types it


def test_commands_refuse_hostile_folders_in_one_line(tmp_path, model, canary):
    """Each ends with 2, and none waits."""
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps(ROW) + "\n")
    folders = {}
    for name in ("pickled", "piped", "looping"):
        folders[name] = tmp_path / name
        shutil.copytree(model, folders[name])
    (folders["pickled"] / "model.safetensors").write_bytes(pickle.dumps(Touch(canary)))
    (folders["piped"] / "config.json").unlink()
    os.mkfifo(folders["piped"] / "config.json")
    (folders["looping"] / "chat_template.jinja").write_text(USE_UP["a loop without an end"])
    score = ["rewardjax.score", "--input", str(data), "--output", str(tmp_path / "out.jsonl")]
    commands = [[*score, "--model", str(folder)] for folder in folders.values()]
    for ended in run_all(commands, tmp_path, seconds=SECONDS):
        assert ended.returncode == 2, ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.stderr.strip().splitlines()[-1].startswith("rewardjax.score: ")
