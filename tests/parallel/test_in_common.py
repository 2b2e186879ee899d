"""What hosts of a job have in common, compared without a job; test_local.py does it with one."""

import threading

import pytest

from rewardjax.command import errors
from rewardjax.parallel import in_common
from rewardjax.parallel.in_common import Report, compare

SAME = Report("host-a", [], {"config.schedule.peak": "0.01", "jax": "0.10.2"}, [])


def test_hosts_that_have_the_same_are_not_complained_of():
    assert compare([SAME, SAME._replace(host="host-b")]) == []


def test_another_learning_rate_is_named_with_who_has_which():
    other = SAME._replace(host="host-b", values=SAME.values | {"config.schedule.peak": "0.02"})
    assert compare([SAME, other]) == [
        "the hosts differ in config.schedule.peak: 0.01 on process 0 (host-a), 0.02 on process 1 "
        "(host-b); start all of them from the same code, files and flags"
    ]
    (among_three,) = compare([SAME, other, SAME])
    assert "0.01 on processes 0, 2, 0.02 on process 1 (host-b)" in among_three


def test_what_a_host_has_not_looked_at_is_no_difference():
    busy = SAME._replace(values={"jax": "0.10.2"})
    assert compare([SAME, busy]) == []


def test_a_complaint_of_all_is_told_once_and_one_of_a_host_with_its_name():
    reports = [
        SAME._replace(complaints=["steps = -1"]),
        SAME._replace(host="host-b", complaints=["steps = -1", "the disk is full"]),
    ]
    assert compare(reports) == ["steps = -1", "process 1 (host-b): the disk is full"]


def test_a_folder_that_is_not_shared_is_named_with_the_hosts_that_do_not_see_it():
    apart = SAME._replace(unseen=["--workdir"])
    (sentence,) = compare([SAME, apart, apart])
    assert "--workdir: what process 0 writes there is not seen by processes 1, 2;" in sentence


def test_everything_is_told_at_once():
    other = Report("host-b", ["no device"], {"jax": "0.12.0"}, ["--workdir"])
    complaint, difference, folder = compare([SAME, other])
    assert "no device" in complaint and "differ in jax" in difference and "--workdir" in folder


def test_a_process_alone_is_refused_what_it_complains_of():
    in_common.refuse(errors.Complaints(), {}, {}, dict)
    complaints = errors.Complaints()
    complaints.add(["steps = -1"])
    with pytest.raises(errors.Refusal, match="steps = -1"):
        in_common.refuse(complaints, {}, {}, dict)


def test_a_token_is_seen_in_the_same_folder_only_and_nothing_of_it_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(in_common, "SEEN_WITHIN", 0.1)
    workdir, other = tmp_path / "runs" / "a", tmp_path / "runs" / "b"
    with in_common._tokens_in({"--workdir": workdir}) as tokens:
        assert list(in_common._unseen(tokens, {"--workdir": workdir})) == []
        assert list(in_common._unseen(tokens, {"--workdir": other})) == ["--workdir"]
    assert not list(tmp_path.iterdir())
    # Folders that were there, or are in use, stay.
    workdir.mkdir(parents=True)
    with in_common._tokens_in({"--workdir": workdir}):
        (workdir / "config.json").touch()
    assert [path.name for path in workdir.iterdir()] == ["config.json"]


def test_a_token_that_is_seen_late_is_waited_for(tmp_path):
    """As on a network file system, which shows another host's new file after a while."""
    late = threading.Timer(0.3, (tmp_path / "token").touch)
    late.start()
    assert list(in_common._unseen({"--workdir": "token"}, {"--workdir": tmp_path})) == []
    late.join()


def test_the_values_of_a_process_name_its_code_and_libraries():
    values = in_common._of_this_process()
    assert set(in_common.LIBRARIES) < set(values)
    assert values["devices"].startswith("8 x ")
