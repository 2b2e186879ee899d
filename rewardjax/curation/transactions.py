"""Statements on a SQLite file that several processes share, all of them or none."""

import contextlib
import sqlite3
from collections.abc import Iterator


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """One process at a time reads and writes in the block; where it raises, nothing was written.

    The connection has no isolation level of its own: what belongs together is said here.
    """
    # IMMEDIATE takes the write lock at once: a deferred transaction reads first, and fails where
    # another has written in between.
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
