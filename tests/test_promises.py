"""Everything that the docs tell a user to type, set, open or follow is so."""

import collections

import promises
import pytest
from tiny import ROOT

# Fewer than these would mean that an extractor has stopped finding what is there.
LEAST = {"commands": 100, "names": 250, "files": 200, "links": 10}


def test_every_promise_is_kept(capsys):
    counts = collections.Counter()
    complaints = []
    for document in promises.documents():
        complaints += promises.broken_promises(document, counts)
    with capsys.disabled():
        print(
            "\npromises checked: " + ", ".join(f"{counts[kind]} {kind}" for kind in promises.KINDS)
        )
    assert not complaints, "\n" + "\n".join(complaints)
    assert all(counts[kind] >= least for kind, least in LEAST.items()), counts


# (what breaks, the text, what is replaced, by what, the promise that is named)
BREAKS = {
    "a renamed field": (
        "README.md",
        "--set schedule.peak=",
        "--set schedule.peek=",
        "schedule.peek",
    ),
    "a missing module": (
        "README.md",
        "python -m rewardjax.train --config=configs/quickstart.py",
        "python -m rewardjax.trains --config=configs/quickstart.py",
        "rewardjax.trains",
    ),
    "a wrong flag": (
        "README.md",
        "--data pairs.jsonl --output",
        "--inputs pairs.jsonl --output",
        "--inputs",
    ),
    "a wrong argument of a config": (
        "README.md",
        "quickstart.py:tiny --workdir",
        "quickstart.py:tinny --workdir",
        "tinny",
    ),
    "a missing file": (
        "README.md",
        "rewardjax/training/loop.py",
        "rewardjax/training/loops.py",
        "loops.py",
    ),
    "a wrong anchor": ("README.md", "docs/data.md#formats", "docs/data.md#shapes", "#shapes"),
    "a make target": ("README.md", "make quickstart", "make quickstep", "quickstep"),
    "a field in a code block": (
        "docs/curation.md",
        "stage2.table = ",
        "stage2.tabel = ",
        "stage2.tabel",
    ),
    "a field in a table": (
        "docs/architecture.md",
        "| `schedule` ",
        "| `schedule.name.x` ",
        "schedule.name.x",
    ),
    "a field in a docstring": (
        "rewardjax/config.py",
        "schedule.peak",
        "schedule.peek",
        "schedule.peek",
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_promise_is_named(broken):
    place, promise, instead, named = BREAKS[broken]
    text = (ROOT / place).read_text(encoding="utf-8")
    assert promise in text, f"{place} no longer says {promise!r}; plant this break elsewhere"
    for words, complaints in ((text, 0), (text.replace(promise, instead), 1)):
        if place.endswith(".py"):
            documents = promises.of_source(place, words, ROOT)
        else:
            documents = [promises.Document(place, words, folder=(ROOT / place).parent)]
        lines = [line for document in documents for line in promises.broken_promises(document)]
        assert bool(lines) == bool(complaints), lines
        assert all(named in line for line in lines)
