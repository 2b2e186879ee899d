"""A fixture for the tests of figures."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Run a drawing function; returns its figure after checking that the file is an image.

    An image has more than one color: a blank page would have every artist and show none.
    """
    sheets = []
    save = Figure.savefig

    def remember(sheet, *args, **kwargs):
        sheets.append(sheet)
        save(sheet, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", remember)

    def draw(function, *args, **kwargs):
        path = tmp_path / "figure.png"
        function(*args, path=path, **kwargs)
        assert np.ptp(matplotlib.image.imread(path)) > 0.5
        return sheets[-1]

    return draw
