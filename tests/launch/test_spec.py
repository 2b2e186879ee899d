"""What a job may be, and the command that renders it."""

import dataclasses

import pytest
import yaml

from launch.__main__ import default_name, main
from launch.accelerators import Slice
from launch.spec import NAME_LIMIT, JobSpec

GOOD = dict(
    name="rm",
    tpu=Slice.parse("v5e:4x4"),
    image="rewardjax:1",
    config="configs/x.py",
    workdir="gs://bucket/run",
)

CONFIG = """
from ml_collections import ConfigDict

def get_config(arg=None):
    return ConfigDict(dict(lr=1.0, optim=dict(name="a"), arg=arg or ""))
"""


@pytest.mark.parametrize(
    "field, value",
    [
        ("name", ""),
        ("name", "RM"),
        ("name", "rm_8b"),
        ("name", "-rm"),
        ("name", "rm-"),
        ("name", "8b"),
        ("name", "a.b"),
        ("name", "rm\n"),
        ("name", "a" * (NAME_LIMIT + 1)),
        ("queue", "Team"),
        ("queue", ""),
        ("queue", "a" * 64),
        ("image", "rewardjax"),
        ("image", "re ward:1"),
        ("image", "rewardjax@sha256:12"),
        ("image", "--privileged:1"),
        ("config", "configs/x"),
        ("config", "/etc/x.py"),
        ("config", "../x.py"),
        ("workdir", "runs/x"),
        ("workdir", "s3://bucket"),
        ("slices", 0),
        ("slices", True),
        ("restarts", -1),
        ("grace_seconds", 0),
        ("grace_seconds", 1.5),
        ("env", {"A-B": "1"}),
        ("env", {"A": 1}),
    ],
)
def test_a_field_no_cluster_would_take_is_named(field, value):
    with pytest.raises(ValueError, match=f"^job {field} "):
        JobSpec(**GOOD | {field: value})


def test_longest_name_still_fits_what_kubernetes_appends():
    spec = JobSpec(**GOOD | {"name": "a" * NAME_LIMIT})
    assert len(f"{spec.name}-slice-999-9999-abcde") <= 63


def test_a_spec_cannot_change_after_its_checks():
    overrides = {"lr": 1.0}
    spec = JobSpec(**GOOD, overrides=overrides)
    overrides["lr"] = 2.0
    assert spec.command()[-1] == "--config.lr=1.0"
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "x"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        spec.env["A"] = "1"  # pyright: ignore[reportIndexIssue]


@pytest.mark.parametrize(
    "config, name",
    [
        ("configs/qwen3_8b.py:tiny", "qwen3-8b"),
        ("configs/X__y.py", "x-y"),
        ("a" * 60 + ".py", "a" * NAME_LIMIT),
    ],
)
def test_default_name_is_a_legal_one(config, name):
    assert default_name(config) == name
    JobSpec(**GOOD | {"name": name})


# ------------------------------------------------------------------ python -m launch


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "rm_8b.py").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


ARGS = [
    "--backend",
    "jobset",
    "--topology",
    "v5p:2x2x4",
    "--config",
    "configs/rm_8b.py:x",
    "--workdir",
    "gs://bucket/run",
]


def test_dry_run_prints_the_manifest_and_writes_nothing(here, capsys):
    assert (
        main(
            [
                *ARGS,
                "--dry_run",
                "--slices",
                "2",
                "--config.lr=0.5",
                "--config.optim.name=a=b",
                "--env",
                "A=b=c",
            ]
        )
        == 0
    )
    manifest = yaml.safe_load(capsys.readouterr().out)
    assert manifest["metadata"]["name"] == "rm-8b"
    container = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"][
        "containers"
    ][0]
    assert container["command"][-4:] == [
        "--config=configs/rm_8b.py:x",
        "--workdir=/gcs/bucket/run",
        "--config.lr=0.5",
        "--config.optim.name=a=b",
    ]
    assert {"name": "A", "value": "b=c"} in container["env"]
    assert [path.name for path in here.iterdir()] == ["configs"]


@pytest.mark.parametrize(
    "args, message",
    [
        (["--config.lrr=1.0"], "did you mean 'lr'"),
        (["--config.lr=fast"], "'fast' is not a float"),
        (["--config.lr"], "unknown arguments: --config.lr"),
        (["--topologyy=x"], "unknown arguments"),
        (["--topology", "v5p:4x4"], "v5p has no topology '4x4'"),
        (["--name", "RM"], "job name 'RM'"),
        (["--config", "configs/none.py"], "no config file at configs/none.py"),
        (["--env", "A-B=1"], "job env"),
    ],
)
def test_a_mistake_ends_before_anything_is_rendered(here, capsys, args, message):
    with pytest.raises(SystemExit) as exit_info:
        main([*ARGS, *args, "--dry_run"])
    out, err = capsys.readouterr()
    assert exit_info.value.code == 2 and out == "" and message in err


def test_submitting_needs_an_image(here, capsys):
    with pytest.raises(SystemExit):
        main(ARGS)
    assert "submitting needs --image" in capsys.readouterr().err


def test_submitting_writes_the_manifest_and_calls_kubectl_with_it(here, monkeypatch, capsys):
    (here / "bin").mkdir()
    kubectl = here / "bin" / "kubectl"
    kubectl.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > kubectl.args\nexit 7\n')
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{here / 'bin'}:/usr/bin:/bin")
    assert main([*ARGS, "--image", "rewardjax:1"]) == 7
    assert (here / "kubectl.args").read_text().split() == ["create", "-f", "runs/launch/rm-8b.yaml"]
    assert yaml.safe_load((here / "runs" / "launch" / "rm-8b.yaml").read_text())["kind"] == "JobSet"
    assert "kubectl create -f runs/launch/rm-8b.yaml" in capsys.readouterr().err
