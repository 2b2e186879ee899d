"""The workspace of `answering`."""

import pytest
from answering import Board


@pytest.fixture
def board(tmp_path, capsys):
    return Board(tmp_path, capsys)
