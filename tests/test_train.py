"""The training loop:

what a run leaves behind, and that stopping, killing and spreading it change nothing.
"""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from flax import nnx
from tiny import ROOT, logged, tiny_config

from rewardjax import config as config_lib
from rewardjax.defaults import WORLD
from rewardjax.models import build, trainable, variants
from rewardjax.models.checkpoints import checkpoints, tree_fingerprint
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout, make_mesh
from rewardjax.scoring import contract
from rewardjax.training import loop
from rewardjax.training.faults.not_finite import NotFinite
from rewardjax.training.metrics import read_metrics
from rewardjax.training.preflight import resume

COMMAND = [sys.executable, "-m", "rewardjax.train", f"--config={ROOT}/configs/tiny.py"]


def final_state(workdir) -> dict:
    """Fingerprints of the newest checkpoint: equal if and only if every bit is."""
    with checkpoints.reading(pathlib.Path(workdir) / "checkpoints") as saved:
        return saved.newest_meta()["fingerprints"]


def losses(workdir) -> list[float]:
    return list(logged(workdir, "loss").values())


def test_a_run_leaves_what_it_promises(tiny_run):
    workdir, summary, _ = tiny_run
    assert summary["steps"] == 6 and summary["pairs"] == 192
    assert json.loads((workdir / "summary.json").read_text()) == summary
    read = json.loads((workdir / "run.json").read_text())["data"]
    assert {name: files[0]["kept"] for name, files in read.items()}.keys() == {
        "data",
        "evals.heldout",
    }
    for name in ("loss", "accuracy", "grad_norm", "lr"):
        values = logged(workdir, name)
        assert list(values) == [1, 2, 3, 4, 5, 6] and np.isfinite(list(values.values())).all()
    # The model that has learned nothing is measured too, or nobody could tell what training added.
    assert list(logged(workdir, "heldout/accuracy")) == [0, 2, 4, 6]
    assert (workdir / "report.html").read_text().count("data:image/png") == 6
    assert (
        (workdir / "DONE").exists()
        and (workdir / "config.json").exists()
        and (workdir / "run.json").exists()
        and "records kept" in (workdir / "report.html").read_text()
    )
    assert len(contract.load(workdir).golden) == len(contract.GOLDEN_CONVERSATIONS)
    time_spent = json.loads((workdir / "goodput.json").read_text())
    assert sum(time_spent["seconds"].values()) == pytest.approx(
        time_spent["wall_seconds"], rel=0.01
    )
    assert time_spent["steps"] == 6 and time_spent["repeated_steps"] == 0
    spent = time_spent["seconds"]
    assert all(spent[kind] > 0 for kind in ("productive", "compile", "evaluation", "checkpoint"))
    assert time_spent["wall_seconds"] >= summary["seconds"] - 1


def figures(workdir) -> dict[int, float]:
    return logged(workdir, "heldout/nll")


def test_preempted_and_resumed_continues_bitwise(tiny_run, tmp_path, monkeypatch, capsys):
    """Asked to stop in step 4, whose evaluation is owed and made up for by the next start."""
    workdir, _, cache = tiny_run
    with monkeypatch.context() as patch:
        real = loop.pipeline.train_steps

        def signals(*args, **kwargs):
            iterator = real(*args, **kwargs)
            yield from (next(iterator) for _ in range(3))
            signal.raise_signal(signal.SIGTERM)
            yield from iterator

        patch.setattr(loop.pipeline, "train_steps", signals)
        with pytest.raises(loop.Preempted, match="saved step 4 of 6"):
            loop.run(tiny_config(cache), tmp_path)
    assert figures(tmp_path).keys() == {0, 2}
    loop.run(tiny_config(cache), tmp_path)
    assert "continuing" in capsys.readouterr().err
    assert losses(tmp_path) == losses(workdir)
    assert figures(tmp_path) == figures(workdir)
    assert final_state(tmp_path) == final_state(workdir)


def test_a_run_that_stopped_before_its_first_save_measures_step_0_again(
    tiny_run, tmp_path, monkeypatch
):
    """What an earlier start measured on another set is not of this run."""
    workdir, _, cache = tiny_run
    other = tiny_config(cache, **{"checkpoint.keep.best": "other/accuracy"})
    with other.unlocked():
        other.evals = {"other": other.evals.heldout}
    with monkeypatch.context() as patch:
        patch.setattr(loop.pipeline, "train_steps", _no_step)
        with pytest.raises(KeyboardInterrupt):
            loop.run(other, tmp_path)
    assert list(logged(tmp_path, "other/nll")) == [0]
    loop.run(tiny_config(cache), tmp_path)
    assert not logged(tmp_path, "other/nll")
    assert figures(tmp_path) == figures(workdir) and losses(tmp_path) == losses(workdir)


def _no_step(*args, **kwargs):
    raise KeyboardInterrupt
    yield  # a generator, so that it raises where the first step would be taken


def test_a_run_without_a_held_out_set_measures_nothing(tiny_run, tmp_path):
    config = tiny_config(tiny_run[2], steps=1)
    with config.unlocked():
        config.evals, config.checkpoint.keep.best = {}, None
    loop.run(config, tmp_path)
    assert [row["step"] for row in read_metrics(tmp_path)] == [1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_step_ends_the_run_at_once(tmp_path, monkeypatch, number):
    """JAX's own handler of a job of several processes only notes it: it was lost there."""
    monkeypatch.setattr(loop, "load_tokenizer", lambda **kwargs: signal.raise_signal(number))
    before = signal.getsignal(number)
    with pytest.raises(loop.Preempted, match=f"{number.name} before the first step"):
        loop.run(tiny_config(tmp_path / "cache"), tmp_path / "run")
    assert signal.getsignal(number) is before


def test_a_save_that_fails_is_told_and_the_next_one_tried(tiny_run, tmp_path, monkeypatch, capsys):
    _, _, cache = tiny_run
    real, tries = checkpoints.Checkpoints._read_back, []

    def first_one_fails(self, saving):
        tries.append(saving.step)
        if len(tries) == 1:
            raise OSError(28, "No space left on device")
        return real(self, saving)

    monkeypatch.setattr(checkpoints.Checkpoints, "_read_back", first_one_fails)
    loop.run(tiny_config(cache), tmp_path)
    said = capsys.readouterr().err
    assert "checkpoints/2 could not be saved: OSError: [Errno 28] No space left on device" in said
    assert "GB free; the run goes on" in said and tries == [2, 4, 6]


def environment(**more):
    return os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | more


def start(workdir, cache, *prefix, flags=(), **env):
    command = [
        *prefix,
        *COMMAND,
        f"--workdir={workdir}",
        f"--config.data.cache={cache}",
        f"--config.evals.heldout.cache={cache}",
        *flags,
    ]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_save_that_cannot_even_begin_is_told_and_the_next_one_tried(
    tiny_run, tmp_path, monkeypatch, capsys
):
    _, _, cache = tiny_run
    real = checkpoints.Checkpoints.save

    def no_room_before_the_last(self, step, *args):
        if step < 6:
            raise checkpoints.SaveFailed(f"step {step} could not be saved: no space")
        real(self, step, *args)

    monkeypatch.setattr(checkpoints.Checkpoints, "save", no_room_before_the_last)
    loop.run(tiny_config(cache), tmp_path)
    said = capsys.readouterr().err
    assert said.count("could not be saved: no space; the run goes on") == 2
    assert checkpoints.steps_of(tmp_path / "checkpoints") == [6]


def test_killed_and_restarted_continues_bitwise(tiny_run, tmp_path):
    workdir, _, cache = tiny_run
    process = start(tmp_path, cache)
    metrics = tmp_path / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and '"step": 3' in metrics.read_text()):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stdout.read()
    assert not (tmp_path / "DONE").exists()
    again = start(tmp_path, cache)
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert losses(tmp_path) == losses(workdir)
    assert final_state(tmp_path) == final_state(workdir)
    time_spent = json.loads((tmp_path / "goodput.json").read_text())
    assert len(time_spent["starts"]) == 2 and time_spent["steps"] == 6
    taken = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert time_spent["repeated_steps"] == sum("loss" in row for row in taken) - 6


def gang(*arguments: str) -> list[str]:
    """Two processes of four devices."""
    launch = [sys.executable, "-m", "launch.local", "--processes", "2", "--devices", "4"]
    return [*launch, *arguments, "--"]


def test_two_processes_of_four_devices_train_as_one_of_eight(tiny_run, tmp_path):
    workdir, _, cache = tiny_run
    process = start(tmp_path, cache, *gang())
    output, _ = process.communicate()
    assert process.returncode == 0, output
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["processes"] == 2 and run["devices"]["count"] == 8
    np.testing.assert_allclose(losses(tmp_path), losses(workdir), rtol=1e-5)
    for mine, theirs in zip(read_metrics(tmp_path), read_metrics(workdir), strict=True):
        assert mine.get("heldout/accuracy") == theirs.get("heldout/accuracy")


@pytest.mark.slow
def test_two_slices_train_as_one(tiny_run, tmp_path):
    workdir, _, cache = tiny_run
    process = start(tmp_path, cache, *gang("--slices", "2"), flags=["--config.mesh.fsdp=4"])
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert json.loads((tmp_path / "run.json").read_text())["mesh"] == dict(data=2, fsdp=4, tensor=1)
    # Data that is planned the same way: the losses of other pairs would be others.
    np.testing.assert_allclose(losses(tmp_path), losses(workdir), rtol=1e-5)
    across = start(tmp_path, cache, *gang("--slices", "2"), flags=["--config.mesh.fsdp=8"])
    output, _ = across.communicate()
    assert across.returncode == 2 and "must be a multiple of the 2 slices" in output


def refused_job(tmp_path, flags: str) -> tuple[str, float]:
    """What two processes say, and for how long, that are refused; $REWARDJAX_PROCESS_ID differs."""
    train = f"exec {shlex.join(COMMAND)} {flags}"
    launch = [sys.executable, "-m", "launch.local", "--processes", "2", "--devices", "1", "--"]
    started = time.monotonic()
    ended = subprocess.run(
        [*launch, "bash", "-c", train], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert not list(tmp_path.rglob("checkpoints"))
    return ended.stdout + ended.stderr, time.monotonic() - started


def test_hosts_with_different_configs_are_refused_before_they_train(tmp_path):
    flags = f"--workdir={tmp_path}/run --config.seed=$REWARDJAX_PROCESS_ID"
    said, _ = refused_job(tmp_path, flags)
    assert "the hosts differ in config.seed: 0 on process 0" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_all_that_hosts_do_not_have_in_common_is_told_at_once(tmp_path):
    flags = (
        f"--workdir={tmp_path}/run$REWARDJAX_PROCESS_ID "
        "--config.schedule.peak=0.0$((REWARDJAX_PROCESS_ID + 1)) "
        "--config.batch.pairs=$((32 - 33 * REWARDJAX_PROCESS_ID))"
    )
    said, seconds = refused_job(tmp_path, flags)
    assert "the hosts differ in config.schedule.peak: 0.01 on process 0" in said
    assert "batch.pairs = -1 must be at least 1" in said
    assert "--workdir: what process 0 writes there is not seen by process 1" in said
    assert seconds < 300, "Orbax waits for 20 minutes"


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"schedule.peak": 2e-2}, r"config\.schedule\.peak: 0\.01 -> 0\.02"),
        ({"seed": 1}, r"config\.seed"),
        ({"data.source": "world:train?num=161"}, r"data: "),
        ({"loss.name": "hinge"}, r"config\.loss\.name"),
    ],
)
def test_a_changed_run_is_refused_by_the_name_of_the_field(tiny_run, changes, field):
    workdir, _, cache = tiny_run
    with pytest.raises(ValueError, match=field):
        loop.run(tiny_config(cache, **changes), workdir)


@pytest.mark.parametrize(
    "section, message",
    [
        ("loss", r"'loss\.gama' does not exist \(did you mean 'gamma'\?\)"),
        ("evals.heldout", r"'evals\.heldout\.gama' does not exist"),
    ],
)
def test_a_field_that_nothing_reads_is_refused(section, message, tmp_path):
    """The lock of a config cannot see it where a config file replaces a whole section."""
    config = tiny_config(tmp_path)
    with config.unlocked():
        inner = config
        for name in section.split("."):
            inner = inner[name]
        inner.gama = 2.0
    with pytest.raises(ValueError, match=message):
        loop.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_changed_tokenizer_is_refused(tiny_run, tmp_path):
    workdir, _, cache = tiny_run
    other = tmp_path / "tokenizer"
    tokenizer = build.load_tokenizer("assets:world")
    tokenizer.save(other)
    config = json.loads((other / "tokenizer_config.json").read_text())
    config["chat_template"] = config["chat_template"].replace("<|im_start|>", "<|im_start|> ")
    (other / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(resume.ResumeRefused, match="chat_template"):
        loop.run(tiny_config(cache, **{"tokenizer.folder": str(other)}), workdir)


def test_how_it_is_computed_may_change_at_resume(tiny_run, tmp_path):
    """A finished run asked for again with other rows and another mesh does nothing but finish."""
    workdir, _, cache = tiny_run
    before = final_state(workdir)
    loop.run(
        tiny_config(cache, **{"batch.rows": 16, "mesh.fsdp": 4, "compute.remat": "none"}), workdir
    )
    assert final_state(workdir) == before


def test_each_step_is_compiled_once_and_saved_with_its_own_figures_or_none(
    tiny_run, tmp_path, monkeypatch
):
    """Whatever a step hands to the next, sharded or not, has the type that the compiled function
    was made for.

    A checkpoint between two evaluations must not be saved with the figures of the one before: it
    could be kept as the best for what other weights have reached.
    """
    _, _, cache = tiny_run
    functions, real = [], loop.make_step
    saved, save = {}, checkpoints.Checkpoints.save

    def recorded(*args):
        functions.extend(real(*args))
        return functions

    def saving(self, step, trees, meta, figures):
        saved[step] = figures
        save(self, step, trees, meta, figures)

    monkeypatch.setattr(loop, "make_step", recorded)
    monkeypatch.setattr(checkpoints.Checkpoints, "save", saving)
    changes = {"steps": 4, "mesh.fsdp": 2, "checkpoint.every": 1, "eval_every": 2}
    loop.run(tiny_config(cache, **changes), tmp_path)
    assert [function._cache_size() for function in functions] == [1, 1]
    assert {step: figures is not None for step, figures in saved.items()} == {
        1: False,
        2: True,
        3: False,
        4: True,
    }


def test_a_frozen_weight_keeps_its_bits_and_costs_no_optimizer_state(
    tiny_run, tmp_path, monkeypatch, capsys
):
    """The same run records two of its steps, and says beforehand what it will do."""
    _, _, cache = tiny_run
    saved, real = [], loop.state_of
    monkeypatch.setattr(loop, "state_of", lambda *parts: saved.append(real(*parts)) or saved[-1])
    freeze = ("^decoder/embed$", "norm$")
    changes = {"steps": 3, "optimizer.freeze": freeze, "log.profile": "2:3", "checkpoint.every": 0}
    config = tiny_config(cache, **changes)
    loop.run(config, tmp_path)
    state = jax.device_get(saved[-1])

    initial = by_path(state_at_the_start(config))
    same = {
        name for name, x in initial.items() if np.array_equal(x, by_path(state["params"])[name])
    }
    assert same == {name for name in initial if name == "decoder/embed" or name.endswith("norm")}
    moments = {name for name in by_path(state["opt"]) if "/mu/" in name or "/nu/" in name}
    assert len(moments) == 2 * (len(initial) - len(same))

    assert list((tmp_path / "profile").rglob("*.xplane.pb")), "no record for TensorBoard"
    said = capsys.readouterr().err
    assert "3 steps of 32 pairs, 0.6 epochs of 160 pairs (5 steps each)" in said
    assert "mesh: data 8, fsdp 1, tensor 1" in said
    assert f"frozen      {sum(initial[name].size for name in same):,} parameters" in said

    before = final_state(tmp_path)
    loop.run(config, tmp_path)  # a finished run is read back, frozen parts and all
    assert final_state(tmp_path) == before
    assert "continuing" in capsys.readouterr().err


def by_path(tree) -> dict[str, np.ndarray]:
    return {
        trainable.path_of(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def state_at_the_start(config) -> nnx.State:
    with jax.set_mesh(make_mesh(**config.mesh)):
        model = build.build_model(Compute(**config.compute), Layout(), config.seed, **config.model)
        return nnx.split(model, nnx.Param)[1]


def test_an_array_that_slips_in_from_the_host_is_refused(tiny_run, tmp_path, monkeypatch):
    _, _, cache = tiny_run
    real = loop.total_of

    def on_the_host(*arguments):
        total = real(*arguments)
        return total | {"sums": jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), total["sums"])}

    monkeypatch.setattr(loop, "total_of", on_the_host)
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        loop.run(tiny_config(cache), tmp_path)


def test_a_model_learns_the_preferences_of_the_world(tmp_path):
    """384 honest pairs take the shipped backbone, which has read the world but no label, far
    beyond chance.
    """
    changes = {
        "steps": 12,
        "batch.pairs": 32,
        "eval_every": 12,
        "checkpoint.every": 0,
        "log.writers.tensorboard": False,
        "data.cache": str(tmp_path / "cache"),
        "evals.heldout.cache": str(tmp_path / "cache"),
        "evals.heldout.source": "world:heldout?num=200",
    }
    config = config_lib.load(ROOT / "configs/quickstart.py:num=384", changes)
    summary = loop.run(config, tmp_path / "run")
    assert summary["heldout/accuracy"] > 0.7, "chance is 0.5; it reaches about 0.85"
    assert losses(tmp_path / "run")[-1] < 0.6, "ln 2 = 0.69 is the loss without any knowledge"


def test_a_loss_that_is_not_finite_stops_the_run(tiny_run, tmp_path):
    _, _, cache = tiny_run
    config = tiny_config(cache, **{"schedule.peak": 1e30, "schedule.warmup_fraction": 0.0})
    reason = "step 4: the update is not finite.*the 4. in a row.*records [0-9, ]+ and [0-9]+ more"
    with pytest.raises(NotFinite, match=reason):
        loop.run(config, tmp_path)
    (row,) = [row for row in read_metrics(tmp_path) if row["step"] == 2]
    assert row["skipped"] == 1 and len(row["skipped_records"].split()) == 32
    # Nothing that is not finite was saved: the weights are those that the run began with.
    initial = tree_fingerprint.of_tree(state_at_the_start(config))
    with checkpoints.reading(tmp_path / "checkpoints") as saved:
        assert saved.newest_meta()["fingerprints"]["params"] == initial


def test_a_tokenizer_that_outgrows_the_table_is_refused(tmp_path):
    config = tiny_config(tmp_path)
    with config.unlocked():
        config.model.changes.vocab_size = 64
    with pytest.raises(ValueError, match="embedding table 64.*set model.changes.vocab_size"):
        loop.run(config, tmp_path)


def test_a_folder_must_hold_the_variant_that_is_named_with_it():
    shipped = build.decoder_config(folder=WORLD)
    assert build.decoder_config(folder=WORLD, variant="qwen3-0.6b") == variants.get(
        "qwen3-0.6b"
    )  # no folder is opened
    build.refuse_other_decoder(WORLD, shipped)
    with pytest.raises(ValueError, match=f"width is {shipped.width}, expected 1024"):
        build.refuse_other_decoder(WORLD, variants.get("qwen3-0.6b"))
    with pytest.raises(ValueError, match="give `folder`"):
        build.decoder_config()
