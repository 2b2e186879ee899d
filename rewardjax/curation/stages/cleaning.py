"""Cleaning as a step of the loop: before anybody is asked, and again for what came in since."""

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.curation.cleaning import coverage
from rewardjax.curation.cleaning.clean import clean
from rewardjax.curation.workspace import Paused, Workspace
from rewardjax.engine.executors import Engine
from rewardjax.engine.jobs import Unfinished
from rewardjax.io import own_files


def clean_new(ws: Workspace) -> bool:
    """Look through every pair that was not cleaned yet, and say what came of it.

    Returns whether there was anything new. Raises Paused while tasks on other machines have not
    reported: pairs that nobody looked through must not reach people, judges and reward models.
    """
    engine = Engine(**ws.config.engine.to_dict())
    try:
        clean(ws.store, **ws.config.clean.to_dict(), engine=engine, running=ws.running)
    except Unfinished as error:
        raise Paused(str(error)) from error
    looked = [m["content"] for m in ws.store.manifests("findings") if "checks" in m["inputs"]]
    # Kept in a file: tasks on other machines report while no run is there to tell.
    record, state = ws.folder / "store" / "work" / "reported.json", fingerprint.of_json(looked)
    if record.exists() and own_files.read_value(record, "remove it") == state:
        return False
    record.parent.mkdir(exist_ok=True)
    config_lib.write_json(record, state)
    for line in coverage.lines(ws.store):
        print(line, flush=True)
    return True
