"""The complete configs: every argument of the function beside a section is a field that a flag can set."""

import importlib
import inspect

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax import defaults
from rewardjax.curation.defaults import CURATION, curation
from rewardjax.curation.judges import aggregate
from rewardjax.training import losses, optim
from rewardjax.training.preflight import resume

SECTIONS = [
    *((defaults.training, path, function) for path, function in defaults.TRAINING.items()),
    *((defaults.evaluation, path, function) for path, function in defaults.EVALUATION.items()),
]


def name_of(value):
    """A name that does not depend on where in memory a function lies: workers compare them."""
    return getattr(value, "__name__", None) or getattr(value, "name", None) or str(value)


def section_of(config, path):
    for name in path.split("."):
        config = config[name]
    return config


def arguments(function: defaults.Function) -> dict[str, inspect.Parameter]:
    """The parameters that the section fills, `**options` replaced by the options of every loss."""
    module, _, name = function.name.partition(":")
    target = importlib.import_module(module)
    for part in name.split("."):
        target = getattr(target, part)
    parameters = dict(inspect.signature(target).parameters)
    if target is losses.get:
        del parameters["options"]
        parameters |= {
            name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
            for name, default in losses.options().items()
        }
    assert set(function.filled_in) <= set(parameters), "filled_in names an argument that is gone"
    return {name: p for name, p in parameters.items() if name not in function.filled_in}


@pytest.mark.parametrize("make, path, function", SECTIONS, ids=name_of)
def test_a_section_holds_every_argument_of_the_function_beside_it(make, path, function):
    section = section_of(make(), path)
    assert set(section.keys()) == set(arguments(function))


# Read by the plug-ins and not by a function: who answers, and what simulated people know.
OF_PLUGINS = {
    "clean": set(),
    "engine": set(),
    "people": {"kind", "truth", "quota", "suspend_below", "suspend_after"},
}


@pytest.mark.parametrize("path", CURATION)
def test_a_section_of_the_curation_config_holds_every_argument_of_its_functions(path):
    expected = set(OF_PLUGINS[path])
    for function in CURATION[path]:
        expected |= set(arguments(function))
    assert set(section_of(curation(), path).keys()) == expected


def test_the_panel_has_the_options_of_every_method():
    expected = {"method"}
    for merge in aggregate.METHODS.values():
        expected |= set(inspect.signature(merge).parameters)
    # The votes themselves, and gold anchors, which judges in the loop never vote on.
    assert set(curation().panel.keys()) == expected - {"votes", "parts", "known"}


@pytest.mark.parametrize("make, path, function", SECTIONS, ids=name_of)
def test_none_in_a_section_is_what_the_function_does_without_the_argument(make, path, function):
    if path in ("loss", "model.changes"):
        return  # below: options that are None are left out there
    section = section_of(make(), path)
    for name, parameter in arguments(function).items():
        if section[name] is None:
            assert parameter.default is None, f"{path}.{name}"


def test_options_of_a_loss_that_are_none_keep_its_own_defaults():
    options = defaults.training().loss
    assert float(losses.get(**options)(1.0, 0.0)) == float(losses.bradley_terry(1.0, 0.0))
    options.update(name="focal", gamma=1.0)
    assert float(losses.get(**options)(1.0, 0.0)) == float(losses.focal(1.0, 0.0, gamma=1.0))
    options.update(gap=2.0)
    with pytest.raises(ValueError, match="focal: unknown option gap; it has gamma"):
        losses.get(**options)


def fields(config, prefix=""):
    for name in config:
        if isinstance(config[name], ConfigDict):
            yield from fields(config[name], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", config.get_type(name)


@pytest.mark.parametrize("make", [defaults.training, defaults.evaluation, curation])
def test_every_field_has_a_type_so_that_a_flag_can_set_it(make):
    untyped = [name for name, kind in fields(make()) if kind not in config_lib.PARSERS]
    assert untyped == []


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections' own
@pytest.mark.parametrize(
    "override",
    [
        "data.split=train_prefs",  # starts as None
        "data.part=(0.0,0.5)",
        "data.max_pair_length=512",  # advised where a pair is longer than a row
        "model.changes.vocab_size=2048",  # advised where the tokenizer outgrows the table
        "model.folder=assets:world",  # None in configs/tiny.py
        "optimizer.b2=0.95",
        "loss.gamma=1.5",
        "evals.heldout.max_pair_length=512",
        "checkpoint.keep.best=heldout/accuracy",
        "optimizer.decay_exclude=('bias',)",
        "optimizer.lr_factors=(('head',10.0),)",
    ],
)
def test_a_flag_and_an_override_set_a_field_alike(override):
    name = override.partition("=")[0]
    argv = ["train", f"--config={ROOT}/configs/tiny.py", f"--config.{override}"]
    parsed = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=parsed, sys_argv=argv)
    parsed(argv)
    by_override = config_lib.load(ROOT / "configs/tiny.py", [override])
    assert config_lib.resolve(parsed["config"].value) == config_lib.resolve(by_override)
    before = section_of(config_lib.load(ROOT / "configs/tiny.py"), name)
    assert section_of(by_override, name) != before or name == "checkpoint.keep.best"


def test_steps_of_warmup_take_a_fraction_of_zero():
    section = defaults.training().schedule
    section.warmup_steps = 10
    with pytest.raises(ValueError, match="set warmup_fraction = 0"):
        optim.make_schedule(total_steps=100, **section)
    section.warmup_fraction = 0.0
    assert float(optim.make_schedule(total_steps=100, **section)(4)) == pytest.approx(0.5e-4)


def test_a_run_that_was_saved_with_fewer_fields_is_the_same_run(tmp_path):
    """As runs were saved before fields were added:

    no `loss.gamma`, and None where `model.changes` is a section now.
    """
    now = config_lib.resolve(config_lib.load(ROOT / "configs/tiny.py"))
    saved = {key: value for key, value in now.items() if key != "log"}
    saved["loss"] = {"name": "bradley_terry"}
    saved["data"] = dict(now["data"])
    saved["model"] = now["model"] | {"changes": {"vocab_size": 1024, "width": 16, "mlp_width": 32}}
    saved["optimizer"] = {"weight_decay": 0.0, "clip_norm": 1.0, "mu_dtype": "float32"}
    resume.refuse_if_changed({"config": saved}, {"config": now}, tmp_path)
    assert config_lib.complete({"model": {"changes": None}}, defaults.training()) == (
        config_lib.resolve(defaults.training())
    )
    # The fraction of prompts was called `split` before splits of sources had names.
    del saved["data"]["part"]
    saved["data"]["split"] = [0.0, 1.0]
    resume.refuse_if_changed({"config": saved}, {"config": now}, tmp_path)
    # The name of a split may change as a file's may: the fingerprint tells whether the data did.
    moved = now | {"data": now["data"] | {"source": "elsewhere", "split": "train"}}
    resume.refuse_if_changed({"config": saved}, {"config": moved}, tmp_path)
    saved["data"]["split"] = [0.0, 0.5]
    with pytest.raises(resume.ResumeRefused, match=r"data\.part: \[0\.0, 0\.5\] -> \[0\.0, 1\.0\]"):
        resume.refuse_if_changed({"config": saved}, {"config": now}, tmp_path)
    saved["data"]["split"] = [0.0, 1.0]
    saved["optimizer"]["b2"] = 0.95
    with pytest.raises(resume.ResumeRefused, match=r"optimizer\.b2: 0\.95 -> 0\.999"):
        resume.refuse_if_changed({"config": saved}, {"config": now}, tmp_path)
