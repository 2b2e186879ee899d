"""The notebook runs from top to bottom on the tiny config, and is stored as people should find
it.
"""

import os
import pathlib

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[1]
PATH = ROOT / "notebooks" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(PATH, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_stored_clean_and_opens_in_colab(notebook):
    nbformat.validate(notebook)
    badge = notebook.cells[0].source
    assert (
        "https://colab.research.google.com/github/" in badge
        and "/notebooks/quickstart.ipynb)" in badge
    )
    for cell in code_cells(notebook):
        assert cell.source.startswith("# @title "), cell.source[:60]
        assert cell.outputs == [] and cell.execution_count is None


def test_it_runs_from_top_to_bottom(notebook, tmp_path, monkeypatch):
    # The kernel imports this checkout and writes outside of it: configs and notebook are seen
    # through links.
    for name in ("configs", "notebooks", "rewardjax", "setup.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    done = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    printed = [
        "".join(output.get("text", "") for output in cell.outputs) for cell in code_cells(done)
    ]
    assert "configs/quickstart.py:tiny" in printed[0]
    assert "honest       1.00" in printed[1]
    assert "accuracy" in code_cells(done)[2].outputs[-1]["data"]["text/plain"]
    assert any("image/png" in output.get("data", {}) for output in code_cells(done)[3].outputs)
    assert len(printed[4].splitlines()) == 2
    assert os.path.exists(tmp_path / "runs" / "notebook" / "summary.json")
