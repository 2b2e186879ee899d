"""Cleaning as a step of the loop: before anybody is asked, and again for what came in since."""

from rewardjax.curation.ledger import coverage
from rewardjax.curation.ledger.clean import clean
from rewardjax.curation.ledger.cleaning_jobs import Unfinished
from rewardjax.curation.workspace import Paused, Workspace


def clean_new(ws: Workspace) -> bool:
    """Look through every pair that was not cleaned yet, and say what came of it.

    Returns whether there was anything to look at. Raises Paused while tasks on other machines have
    not reported: pairs that nobody looked through must not reach people, judges and reward models.
    """
    before = ws.store.fingerprint("findings")
    try:
        clean(ws.store, **ws.config.clean.to_dict())
    except Unfinished as error:
        raise Paused(str(error)) from error
    if ws.store.fingerprint("findings") == before:
        return False
    for line in coverage.lines(ws.store):
        print(line, flush=True)
    return True
