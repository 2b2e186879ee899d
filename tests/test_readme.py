"""The README as a newcomer follows it: its commands, pasted, in a clone with nothing beside it."""

import json
import pathlib
import re
import subprocess

import pytest
from tiny import ROOT

# What a newcomer has instead: this test may not have the hub.
INSTEAD = {"Qwen/Qwen3-0.6B": "runs/quickstart/hf"}
OF_THE_TESTS = ("PYTHONPATH", "VIRTUAL_ENV", "XLA_FLAGS", "JAX_PLATFORMS")
NOT_HERE = {"rewardjax compile": "needs the TPU compiler"}


def commands(readme: str, heading: str) -> list[str]:
    """The commands under a heading, in order; comments and line ends with a backslash are gone."""
    section = readme.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = re.sub(r"\\\n\s+", "", section).splitlines()
    pasted = [line.strip() for line in lines if re.match(r"    \S", line)]
    return [
        re.split(r"\s+#", line)[0]
        for line in pasted
        if re.match(r"(\.venv/bin/)?(rewardjax|make|python) ", line)
    ]


def test_commands_are_read_as_they_are_pasted():
    readme = (ROOT / "README.md").read_text()
    start, use = commands(readme, "Start"), commands(readme, "Use")
    assert start[0] == "make quickstart" and len(start) == 3
    assert "--held-out 5% --output runs/first" in start[1] and "\\" not in start[1]
    assert any(command.startswith("rewardjax evaluate") for command in use)
    for name in NOT_HERE:
        assert any(name in command for command in use), name


@pytest.mark.slow
def test_every_command_runs_in_a_fresh_clone(tmp_path):
    clone = tmp_path / "rewardjax"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    readme = (clone / "README.md").read_text()
    for command in commands(readme, "Start"):
        paste(command, clone)
    assert json.loads((clone / "runs/quickstart/summary.json").read_text())["accuracy"] > 0.8
    scores = (clone / "runs/scores.jsonl").read_text().splitlines()
    assert len(scores) > 3000
    for name in re.findall(r"^\| `([\w./]+)`", readme, re.MULTILINE):
        assert (clone / "runs/quickstart" / name).exists(), name

    write_pairs(clone / "pairs.jsonl")
    for command in commands(readme, "Use"):
        if not any(name in command for name in NOT_HERE):
            for name, instead in INSTEAD.items():
                command = command.replace(name, instead)
            paste(command, clone)


def write_pairs(path: pathlib.Path) -> None:
    """A file of one's own."""
    with path.open("w") as file:
        for a in range(40):
            for b in range(5):
                pair = {"prompt": f"What is {a} + {b}?", "chosen": str(a + b), "rejected": "none"}
                file.write(json.dumps(pair) + "\n")


def paste(command: str, folder: pathlib.Path) -> None:
    """Run a line as it stands, with `.venv/bin` on the path; a failure shows what it printed."""
    # As in a newcomer's shell, and not as the tests run.
    shell = f'PATH="$PWD/.venv/bin:$PATH"; unset {" ".join(OF_THE_TESTS)}; {command}'
    done = subprocess.run(["bash", "-c", shell], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
