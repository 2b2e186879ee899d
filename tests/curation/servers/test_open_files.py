"""Each request in flight is a connection, and each connection an open file."""

import resource

import pytest
from judging import judge_at, world_items

from rewardjax.curation.judges import asking
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.servers import open_files
from rewardjax.curation.servers.paid_calls import CallLedger


@pytest.fixture
def limits(monkeypatch):
    """The limits of a process, as it reads and sets them."""
    now = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: now[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: now.append(limit))
    return now


def test_the_limit_is_raised_as_far_as_needed_and_only_then(limits):
    open_files.make_room(100)
    assert limits == [(1024, 4096)]
    open_files.make_room(3000)
    assert limits[-1] == (3000 + open_files.OTHERS, 4096)


def test_more_than_the_system_allows_is_refused_before_anything_is_paid(tmp_path, limits):
    items, _, truth = world_items(2)
    ledger = CallLedger(tmp_path / "calls.sqlite")
    with serve({"m": Behavior()}, truth) as server:
        judges = [judge_at(server, "m", max_in_flight=2000, base_url=f"{server.url},{server.url}")]
        with pytest.raises(ValueError, match="servers is 4000, but this process may have 4096"):
            asking.ask(items, judges, ledger)
        assert not server.paid
