"""The Sankey plot: no item is lost between two columns, and names of one column do not overlap."""

import pytest

from rewardjax.reporting import flow_plot

BANDS = [
    {("file", "pool"): 90, ("file", "held"): 10, ("more", "pool"): 1},
    {("pool", "kept"): 60, ("pool", "pool"): 31},
]


def test_a_column_has_what_comes_in():
    first, second, third = flow_plot._columns(BANDS)
    assert first == {"file": 100, "more": 1}
    assert second == {"pool": 91, "held": 10} and third == {"kept": 60, "pool": 31}


def test_boxes_lie_below_each_other():
    bottoms = flow_plot._bottoms({"large": 90, "small": 1, "none": 0}, 100)
    assert bottoms["large"] > bottoms["small"] + 0.01 > bottoms["none"] + 0.04


@pytest.mark.parametrize("bands", [BANDS, [{}], []])
def test_a_picture_is_written(tmp_path, bands):
    path = tmp_path / "flow.png"
    flow_plot.sankey(bands, path, "What became of the pairs", ["imported", "pool", "fate"])
    assert path.read_bytes().startswith(b"\x89PNG")
