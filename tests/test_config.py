"""Configs:

strict argument strings and overrides, comparison, the sweep algebra, the record of a run.
"""

import json

import pytest
from absl import flags
from ml_collections import ConfigDict, FieldReference, config_flags
from ml_collections.config_dict import placeholder

from rewardjax import config as config_lib
from rewardjax.command import errors
from rewardjax.config import (
    chain,
    difference,
    fixed,
    load,
    override,
    parse_arg,
    product,
    resolve,
    sweep,
)

CONFIG = """
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder
from rewardjax.config import parse_arg

def get_config(arg=None):
    arg = parse_arg(arg, tiny=False, width=64)
    config = ConfigDict()
    config.width = 8 if arg.tiny else arg.width
    config.mlp_width = config.get_ref("width") * 4
    config.optim = ConfigDict(dict(lr=1e-3, betas=(0.9, 0.95), clip=placeholder(float), warmup=None, name="adamw", nesterov=False))
    return config
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "experiment.py"
    path.write_text(CONFIG)
    return path


# ------------------------------------------------------------------ the argument string

DEFAULTS = dict(tiny=False, lr=1e-3, steps=100, name="a", sizes=(1, 2))


@pytest.mark.parametrize(
    "arg, changed",
    [
        (None, {}),
        ("", {}),
        ("tiny", dict(tiny=True)),
        ("tiny=false", dict(tiny=False)),
        ("lr=3e-6,steps=10", dict(lr=3e-6, steps=10)),
        ("lr=1", dict(lr=1.0)),
        ("name=x=y:z", dict(name="x=y:z")),
        ("sizes=(3,4,5),tiny", dict(sizes=(3, 4, 5), tiny=True)),
        ("sizes=(3,)", dict(sizes=(3,))),
        ("sizes=3", dict(sizes=(3,))),  # as a flag would
    ],
)
def test_parse_arg_reads_values_as_the_type_of_their_default(arg, changed):
    parsed = parse_arg(arg, **DEFAULTS)
    assert parsed.to_dict() == DEFAULTS | changed
    assert {key: type(value) for key, value in parsed.items()} == {
        key: type(value) for key, value in DEFAULTS.items()
    }


@pytest.mark.parametrize(
    "arg, message",
    [
        ("step=3", "did you mean 'steps'.*lr, name, sizes, steps, tiny"),
        ("steps=1.5", "'1.5' is not an int"),
        ("steps=1e3", "is not an int"),
        ("lr=fast", "'fast' is not a float"),
        ("tiny=yes", "is not a bool"),
        ("lr", "needs a value"),
        ("sizes=(3 4,)", "is not a tuple"),
        ("tiny,tiny", "given twice"),
    ],
)
def test_parse_arg_refuses(arg, message):
    with pytest.raises(ValueError, match=message):
        parse_arg(arg, **DEFAULTS)


def test_parse_arg_is_locked_and_wants_typed_defaults():
    with pytest.raises(AttributeError):
        parse_arg("tiny", **DEFAULTS).stepz = 1
    with pytest.raises(TypeError, match="'clip' is a NoneType"):
        parse_arg("", clip=None)


# ------------------------------------------------------------------ loading and overriding


def test_load_passes_the_argument_and_follows_references(file):
    assert load(file).width == 64
    assert load(f"{file}:tiny").mlp_width == 32
    assert load(f"{file}:width=16", {"width": 10}).mlp_width == 40
    assert load(
        file, ["optim.lr=2e-3", "optim.betas=(0.8,0.9)", "optim.nesterov=true", "optim.clip=1.5"]
    ).optim.to_dict() == dict(
        lr=2e-3, betas=(0.8, 0.9), nesterov=True, clip=1.5, warmup=None, name="adamw"
    )


def test_load_returns_a_locked_config(file):
    with pytest.raises(AttributeError):
        load(file).new_field = 1


@pytest.mark.parametrize(
    "overrides, error, message",
    [
        (
            {"optim.lrr": 1.0},
            ValueError,
            "'optim' has no 'lrr' .did you mean 'lr'.*betas, clip, lr",
        ),
        ({"optimizer.lr": 1.0}, ValueError, "the config has no 'optimizer'"),
        ({"width.x": 1}, ValueError, "'width' is a value"),
        ({"optim": {}}, ValueError, "whole section"),
        ({"width": 1.5}, TypeError, "'width': expected int, got float"),
        ({"width": True}, TypeError, "expected int, got bool"),
        ({"width": "8"}, TypeError, "expected int, got str"),
        ({"optim.lr": None}, TypeError, "expected float"),
        ({"optim.nesterov": 1}, TypeError, "expected bool, got int"),
        ({"optim.betas": 0.9}, TypeError, "expected tuple"),
        ({"optim.warmup": 1}, ValueError, "'optim.warmup': the field holds None.*placeholder"),
        (["optim.warmup=1"], ValueError, "placeholder"),
        (["width=8.0"], ValueError, "'8.0' is not an int"),
    ],
)
def test_overrides_are_strict(file, overrides, error, message):
    with pytest.raises(error, match=message):
        load(file, overrides)


def test_an_int_may_stand_for_a_float_and_a_placeholder_keeps_its_type():
    config = ConfigDict(dict(lr=0.5, limit=placeholder(float)))
    changed = override(config, {"lr": 1, "limit": 2})
    assert (changed.lr, type(changed.lr), changed.limit, type(changed.limit)) == (
        1.0,
        float,
        2.0,
        float,
    )
    with pytest.raises(TypeError):
        override(config, {"limit": "x"})


def test_none_is_a_value_of_fields_that_were_made_to_hold_it(file):
    fields = dict(bar=FieldReference(0.5), limit=placeholder(int), hook=FieldReference("a:b"))
    config = override(ConfigDict(fields | {"lr": 0.5, "name": "x"}), ["bar=None", "hook=None"])
    assert config.bar is None and config.hook is None
    assert override(config, ["limit=3", "bar=0.7"]).limit == 3 and config.bar == 0.7
    assert override(config, ["limit=None"]).limit is None
    with pytest.raises(ValueError, match="'lr': 'None' is not a float"):
        override(config, ["lr=None"])
    assert override(config, ["name=None"]).name == "None"


@pytest.mark.parametrize(
    "arguments, best, clip",
    [
        (["checkpoint.keep.best=None"], None, 1.0),
        (["checkpoint.keep.best=None", "optimizer.clip_norm=None"], None, None),
        (
            ["checkpoint.keep.best=None", "checkpoint.keep.best=loss", "optimizer.clip_norm=2"],
            "loss",
            2.0,
        ),
        (["checkpoint.keep.best=loss", "checkpoint.keep.best=None"], None, 1.0),
    ],
)
def test_none_is_a_value_on_the_command_line(tmp_path, monkeypatch, arguments, best, clip):
    (tmp_path / "c.py").write_text(
        "from rewardjax.defaults import training\n\n\ndef get_config(arg=None):\n"
        "    config = training()\n    config.checkpoint.update(keep=dict(keep=2, best='x'))\n"
        "    return config\n"
    )
    argv = ["train", f"--config={tmp_path / 'c.py'}", *(f"--config.{text}" for text in arguments)]
    parsed = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=parsed, sys_argv=argv, lock_config=True)
    monkeypatch.setattr(flags, "FLAGS", parsed)
    config_lib.parse_flags(argv)
    assert (parsed.config.checkpoint.keep.best, parsed.config.optimizer.clip_norm) == (best, clip)


def test_what_the_docs_turn_off_by_none_can_be_turned_off():
    gates = load("configs/curation/world.py", ["gates.best_accuracy=None"]).gates
    assert gates.best_accuracy is None and gates.gold_accuracy == 0.5


@pytest.mark.parametrize(
    "text, message",
    [
        ("def get_config(:", "c.py:1: SyntaxError: invalid syntax"),
        ("import nosuchmodule", "c.py:1: ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("def get_config(): pass", "c.py: TypeError: .* positional argument"),
        ("def get_config(arg=None):\n    return None.x", "c.py:2: AttributeError: 'NoneType'"),
        ("def get_config(arg=None):\n    return get_config(arg)", "c.py:2: RecursionError"),
        ("import sys\nsys.exit(0)", "c.py:2: SystemExit: 0"),
        ("def get_config(arg=None):\n    raise ValueError('too hot')", "^too hot$"),
        ("\0", "c.py.*SyntaxError: source code string cannot contain null bytes"),
        (
            "from rewardjax.defaults import training\n\n\ndef get_config(arg=None):\n"
            "    config = training()\n    config.lock().schedule.peek = 1.0",
            "c.py:6: AttributeError: .*peek",
        ),
    ],
)
def test_what_is_wrong_in_a_config_file_is_a_sentence_with_its_line(tmp_path, text, message):
    (tmp_path / "c.py").write_text(text)
    with pytest.raises(ValueError, match=message) as refused:
        load(tmp_path / "c.py")
    assert errors.is_mistake(refused.value) and len(errors.sentences(refused.value)) == 1


def test_missing_files_and_functions_are_named(tmp_path, file):
    with pytest.raises(FileNotFoundError, match="nothing.py"):
        load(tmp_path / "nothing.py")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(AttributeError, match=r"empty.py has no get_config"):
        load(tmp_path / "empty.py")


# ------------------------------------------------------------------ resolving and comparing


def test_resolve_gives_json_values():
    config = ConfigDict(dict(a=FieldReference(3), b=dict(c=(1, (2, 3)), d=None), e={}))
    assert resolve(config) == {"a": 3, "b": {"c": [1, [2, 3]], "d": None}, "e": {}}
    assert resolve(resolve(config)) == resolve(config)


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), object()])
def test_resolve_names_what_json_cannot_hold(value):
    with pytest.raises(TypeError, match="'a.b' holds"):
        resolve({"a": {"b": value}})


def test_difference_names_fields_both_ways():
    old = ConfigDict(dict(optim=dict(lr=1e-3, betas=(1, 2)), only_old=1, flag=True, empty={}))
    new = dict(optim=dict(lr=2e-3, betas=[1, 2]), only_new="x", flag=1, empty={})
    lines = [
        "flag: true -> 1",
        'only_new: (absent) -> "x"',
        "only_old: 1 -> (absent)",
        "optim.lr: 0.001 -> 0.002",
    ]
    assert difference(old, new) == lines
    assert len(difference(new, old)) == len(lines)
    assert difference(old, old) == []


# ------------------------------------------------------------------ sweeps


def test_sweep_algebra():
    a, b = sweep("a", (1, 2)), sweep("b.c", "xy")
    assert product(a, b) == [
        {"a": 1, "b.c": "x"},
        {"a": 1, "b.c": "y"},
        {"a": 2, "b.c": "x"},
        {"a": 2, "b.c": "y"},
    ]
    assert chain(a, b) == a + b
    assert product(fixed(**{"d.e": 0}), a) == [{"d.e": 0, "a": 1}, {"d.e": 0, "a": 2}]
    assert product() == [{}] and product(a, []) == []
    assert product(product(a, b), sweep("d", (1, 2))) == product(a, product(b, sweep("d", (1, 2))))


def test_sweep_algebra_refuses_what_would_be_lost():
    with pytest.raises(ValueError, match="set a"):
        product(sweep("a", (1,)), sweep("a", (2,)))


# ------------------------------------------------------------------ writing


def test_a_failed_write_leaves_the_old_file(tmp_path):
    config_lib.write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError):
        config_lib.write_json(tmp_path / "x.json", {"a": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
