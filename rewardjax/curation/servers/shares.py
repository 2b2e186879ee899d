"""Parts of a ledger of calls, for tasks on other machines: dealt out, and taken back.

SQLite wants one machine, so each task has a file of its own: with an equal share of the money that
is left, how the models want to be asked, and the answers to its questions that were paid before,
those in batch files included. The shares together never exceed what is left, so the budget holds
whatever the tasks do; what a task did not spend, less than one of its requests where it ran out, is
dealt anew in the next round. Killed and started again, a task finds its answers in its file; what
was in flight stays booked at the most that it can cost.
"""

import contextlib
import pathlib
import sqlite3
from collections.abc import Mapping, Sequence

from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.transactions import transaction

_SHARE = """
CREATE TABLE IF NOT EXISTS share (
  only INTEGER PRIMARY KEY CHECK (only = 0), dollars REAL, first INTEGER NOT NULL
)"""
_SETTLED = "CREATE TABLE IF NOT EXISTS settled (share TEXT PRIMARY KEY)"
# Of a call, all but its number.
_COLUMNS = (
    "key, voter, subject, purpose, sample, attempt, shown, batch, state, booked, text, finish,"
    " prompt_tokens, cached_tokens, completion_tokens, counted, seconds, tries, mercies, question"
)
_MARKS = ", ".join("?" * len(_COLUMNS.split(",")))
_BOOKED = _COLUMNS.split(", ").index("booked")


def deal(ledger: CallLedger, subjects: Mapping[pathlib.Path, Sequence[str]]) -> None:
    """Make a ledger for each task.

    Args:
        ledger: whose money and answers are dealt.
        subjects: a task's file -> the pairs that it asks about.
    """
    dollars = None
    if ledger.budget is not None:
        dollars = max(0.0, ledger.budget - ledger.spent()) / len(subjects)
    with contextlib.closing(sqlite3.connect(ledger.path)) as whole:
        formats = whole.execute("SELECT model, format FROM formats").fetchall()
        # One pass over all calls and not one for each task.
        whole.execute("CREATE TEMP TABLE asked (subject TEXT PRIMARY KEY, path TEXT)")
        for path, pair_ids in subjects.items():
            rows = [(pair_id, str(path)) for pair_id in pair_ids]
            whole.executemany("INSERT OR REPLACE INTO temp.asked VALUES (?, ?)", rows)
        for path in subjects:
            sql = f"""SELECT {_COLUMNS} FROM calls WHERE subject IN
                (SELECT subject FROM temp.asked WHERE path = ?)
                AND (state IN ('answered', 'rejected') OR (state = 'sent' AND batch IS NOT NULL))"""
            _write(path, whole.execute(sql, [str(path)]).fetchall(), formats, dollars)


def _write(path: pathlib.Path, calls: list, formats: list, dollars: float | None) -> None:
    CallLedger(path).close()
    with contextlib.closing(sqlite3.connect(path)) as share, share:
        share.execute(_SHARE)
        share.executemany("INSERT INTO formats VALUES (?, ?)", formats)
        share.executemany(f"INSERT INTO calls ({_COLUMNS}) VALUES ({_MARKS})", calls)
        # They are booked in the whole ledger already.
        share.execute("UPDATE calls SET booked = 0")
        share.execute("INSERT INTO share VALUES (0, ?, ?)", [dollars, len(calls) + 1])


def opened(path: pathlib.Path) -> CallLedger:
    """A task's ledger, for the task."""
    with contextlib.closing(sqlite3.connect(path)) as share:
        (dollars,) = share.execute("SELECT dollars FROM share").fetchone()
    # Alone, because it may lie on a file system of the network.
    return CallLedger(path, dollars, alone=True)


def settle(ledger: CallLedger, path: pathlib.Path, name: str) -> None:
    """Take what a task paid and learned into the whole ledger, and delete its file.

    Args:
        ledger: the whole one.
        path: the task's file. Where there is none nothing is done.
        name: of the share; one that was settled before a kill is not counted twice.
    """
    if not path.exists():
        return
    with contextlib.closing(sqlite3.connect(path)) as share:
        (first,) = share.execute("SELECT first FROM share").fetchone()
        calls = share.execute(f"SELECT {_COLUMNS} FROM calls WHERE id >= ?", [first]).fetchall()
        endings = share.execute("SELECT * FROM endings").fetchall()
        formats = share.execute("SELECT model, format FROM formats").fetchall()
    with contextlib.closing(sqlite3.connect(ledger.path, isolation_level=None)) as whole:
        whole.execute(_SETTLED)
        with transaction(whole):
            is_new = whole.execute("INSERT OR IGNORE INTO settled VALUES (?)", [name]).rowcount
            if is_new:
                # Two tasks may have asked the same first question; both were paid, one counts.
                sql = f"INSERT OR IGNORE INTO calls ({_COLUMNS}) VALUES ({_MARKS})"
                for call in calls:
                    if not whole.execute(sql, call).rowcount:
                        whole.execute(sql, _as_duplicate(call))
                paid = sum(call[_BOOKED] for call in calls)
                whole.execute("UPDATE booked SET dollars = dollars + ?", [paid])
                marks = "?, ?, ?, ?, ?, ?, ?, ?"
                whole.executemany(f"INSERT OR REPLACE INTO endings VALUES ({marks})", endings)
                whole.executemany("INSERT OR IGNORE INTO formats VALUES (?, ?)", formats)
    for file in (path, *path.parent.glob(f"{path.name}-*")):
        file.unlink(missing_ok=True)


def _as_duplicate(call: Sequence) -> list:
    values = dict(zip(_COLUMNS.split(", "), call, strict=True))
    return list((values | {"state": "duplicate"}).values())
