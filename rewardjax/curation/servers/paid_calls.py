"""The ledger of paid requests: a cache of answers and a hard budget, in one SQLite file.

A request is known by the hash of everything that could change its answer. Before it is sent, a row
reserves the most it can cost; when the answer comes the row takes the answer and the real cost. So

- an answered request is never sent again, by whichever process asks;
- booked money (costs, plus reservations of what is still out) never exceeds the budget, whatever
  the number of requests in flight;
- what was in flight when a process died stays booked at its reservation: nobody can know whether
  the server charged for it.

The file wants a local disk (SQLite's write-ahead log does not work on network file systems).
"""

import json
import pathlib
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rewardjax.curation.servers.requests import Answer, Request, cost
from rewardjax.curation.transactions import transaction

# Answers of a judge that tell what its next ones cost: all of a large ledger would take minutes.
LATEST = 20_000


class BudgetExceeded(Exception):
    """The next request could cost more than what is left of the budget."""


class InBatch(NamedTuple):
    """The row of a request that stands in a batch file and whose result was not read yet."""

    row: int
    voter: str
    subject: str
    purpose: str
    sample: int
    attempt: int
    shown: str | None
    batch: str  # full path of the file
    booked: float  # dollars


class Ending(NamedTuple):
    """How a question stands.

    state: answered, unreadable, refused or open. problem: why there is no answer. mercies:
    liberties that reading the answer took.
    """

    state: str
    problem: str = ""
    mercies: tuple[str, ...] = ()


_TABLES = """
CREATE TABLE IF NOT EXISTS calls (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, voter TEXT NOT NULL, subject TEXT NOT NULL,
  purpose TEXT NOT NULL, sample INTEGER NOT NULL, attempt INTEGER NOT NULL, shown TEXT, batch TEXT,
  state TEXT NOT NULL, booked REAL NOT NULL, text TEXT, finish TEXT, prompt_tokens INTEGER,
  cached_tokens INTEGER, completion_tokens INTEGER, counted INTEGER, seconds REAL, tries INTEGER,
  mercies TEXT, question TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS answers ON calls (key) WHERE state IN ('answered', 'rejected');
CREATE INDEX IF NOT EXISTS out ON calls (key) WHERE state = 'sent';
CREATE TABLE IF NOT EXISTS booked (
  only INTEGER PRIMARY KEY CHECK (only = 0), dollars REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS formats (model TEXT PRIMARY KEY, format TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS endings (
  purpose TEXT NOT NULL, voter TEXT NOT NULL, task TEXT NOT NULL, subject TEXT NOT NULL,
  sample INTEGER NOT NULL, state TEXT NOT NULL, problem TEXT NOT NULL, mercies TEXT NOT NULL,
  PRIMARY KEY (purpose, voter, task, subject, sample)
) WITHOUT ROWID;
INSERT OR IGNORE INTO booked VALUES (0, 0);
"""
# Columns that ledgers of earlier releases do not have.
_NEW_COLUMNS = ("mercies", "question")
_ANSWER = (
    "text, finish, prompt_tokens, cached_tokens, completion_tokens, counted, state, "
    "coalesce(mercies, '[]'), key"
)
_ANSWERED = "state IN ('answered', 'rejected')"


class CallLedger:
    """The ledger in file `path`, which several processes may share.

    budget: dollars that all its requests together may cost, those of earlier runs included; None:
    no limit. alone: whether no other process may open it meanwhile, so that it needs no memory that
    processes share, which file systems of a network do not have.
    """

    def __init__(
        self, path: str | pathlib.Path, budget: float | None = None, *, alone: bool = False
    ):
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path, self.budget = pathlib.Path(path), budget
        # No isolation level: `transaction` begins and ends each transaction itself, and says which
        # statements belong together.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
        if alone:
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        # A power cut may undo the last commits (synchronous=NORMAL), a kill may not: answers are
        # cheap to ask again, and waiting for the disk at each one is not.
        self._db.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_TABLES}")
        columns = {row[1] for row in self._db.execute("PRAGMA table_info(calls)")}
        for column in _NEW_COLUMNS:
            if column not in columns:
                self._db.execute(f"ALTER TABLE calls ADD COLUMN {column} TEXT")
        self._db.execute("CREATE INDEX IF NOT EXISTS questions ON calls (question)")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def lookup(self, request: Request) -> Answer | None:
        """The answer to a request, None where there is none yet.

        An answer that was complete within another limit of its length serves as well.
        """
        sql = f"SELECT {_ANSWER} FROM calls WHERE key = ? AND {_ANSWERED}"
        row = self._db.execute(sql, [request.key]).fetchone()
        if row is None:
            sql = (
                f"SELECT {_ANSWER} FROM calls WHERE question = ? AND state = 'answered'"
                " AND finish <> 'length' ORDER BY id LIMIT 1"
            )
            row = self._db.execute(sql, [request.question]).fetchone()
        if row is None:
            return None
        mercies = tuple(json.loads(row[7]))
        return Answer(*row[:5], counted=bool(row[5]), status=row[6], mercies=mercies, key=row[8])

    def reserve(
        self, request: Request, *, batch: str | None = None, discount: float = 1.0
    ) -> int | None:
        """Book the most that `request` can cost and return its row; None where too little is left.

        batch: full path of the batch file that the request goes to. discount: what is charged of
        the price.
        """
        most = request.most() * discount
        # Within one transaction: two processes that both saw room for one request would both send
        # it.
        with transaction(self._db):
            if self.budget is not None and most > 0 and self.spent() + most > self.budget:
                return None
            values = (
                request.key,
                request.voter,
                request.subject,
                request.purpose,
                request.sample,
                request.attempt,
                request.shown,
                request.question,
            )
            cursor = self._db.execute(
                "INSERT INTO calls"
                " (key, voter, subject, purpose, sample, attempt, shown, question, batch, state,"
                " booked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'sent', ?)",
                [*values, batch, most],
            )
            self._book(most)
            return cursor.lastrowid

    def settle(
        self,
        row: int,
        request: Request,
        answer: Answer,
        *,
        seconds: float | None = None,
        tries: int = 1,
        lost: int = 0,
        discount: float = 1.0,
    ) -> None:
        """Put the answer in its row, with what it cost in place of the reservation.

        lost: how many tries timed out, each of which may have been charged and is booked in full.
        """
        dollars = cost(request, answer, discount) + lost * request.most() * discount
        usage = (answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens)
        fields = [answer.text, answer.finish, *usage, answer.counted, json.dumps(answer.mercies)]
        sql = (
            "UPDATE calls SET state = ?, booked = ?, text = ?, finish = ?, prompt_tokens = ?,"
            " cached_tokens = ?, completion_tokens = ?, counted = ?, mercies = ?, seconds = ?,"
            " tries = ? WHERE id = ?"
        )
        with transaction(self._db):
            state = answer.status
            # Another process may have answered the same request meanwhile. Both were paid, and the
            # first answer stays, since votes may already follow from it.
            if self._has_answer(request.key):
                state = "duplicate"
            self._book(dollars - self._reserved(row))
            self._db.execute(sql, [state, dollars, *fields, seconds, tries, row])

    def _has_answer(self, key: str) -> bool:
        sql = f"SELECT 1 FROM calls WHERE key = ? AND {_ANSWERED}"
        return self._db.execute(sql, [key]).fetchone() is not None

    def abandon(self, row: int, request: Request, *, tries: int, lost: int, reason: str) -> None:
        """No answer came, and `reason` says why; the request may be sent again later.

        What was reserved is free again, but for tries that timed out.
        """
        dollars = lost * request.most()
        with transaction(self._db):
            self._book(dollars - self._reserved(row))
            self._db.execute(
                "UPDATE calls SET state = 'failed', booked = ?, tries = ?, text = ? WHERE id = ?",
                [dollars, tries, reason, row],
            )

    def in_batch(self, key: str) -> InBatch | None:
        """A request that was written to a batch file and whose result was not read yet."""
        row = self._db.execute(
            "SELECT id, voter, subject, purpose, sample, attempt, shown, batch, booked FROM calls"
            " WHERE key = ? AND state = 'sent' AND batch IS NOT NULL",
            [key],
        ).fetchone()
        if row is None:
            return None
        return InBatch(*row)

    def in_batches(self) -> dict[str, int]:
        """Batch file (full path) -> its requests whose results were not read yet."""
        sql = """SELECT batch, count(*) AS requests FROM calls
            WHERE state = 'sent' AND batch IS NOT NULL GROUP BY batch ORDER BY batch"""
        return {row["batch"]: row["requests"] for row in self._as_dicts(sql)}

    def tokens_per_question(self, voter: str, task: str) -> list[tuple[int, int, int]]:
        """Tokens of a judge's latest questions: prompt, cached ones among them, completion.

        Each of a question with all its requests.
        """
        sql = """SELECT sum(coalesce(prompt_tokens, 0)), sum(coalesce(cached_tokens, 0)),
                sum(coalesce(completion_tokens, 0))
            FROM (SELECT * FROM calls WHERE voter = ? AND state = 'answered' AND counted
                ORDER BY id DESC LIMIT ?) AS latest
            JOIN endings USING (purpose, voter, subject, sample)
            WHERE task = ? GROUP BY purpose, subject, sample"""
        return self._db.execute(sql, [voter, LATEST, task]).fetchall()

    def about(self, subject: str) -> list[dict[str, Any]]:
        """Every request about a pair, in the order of asking, with what came back as `text`."""
        sql = """SELECT voter, purpose, sample, attempt, shown, state, text, finish, prompt_tokens,
            completion_tokens, seconds, booked AS dollars FROM calls WHERE subject = ?
            ORDER BY purpose, voter, sample, attempt, id"""
        return self._as_dicts(sql, [subject])

    def release(self, batch: str) -> int:
        """Forget the requests of a batch file (its full path) whose results will never come.

        Their reservations are free again. Returns how many they were.
        """
        with transaction(self._db):
            where = "batch = ? AND state = 'sent'"
            count, freed = self._db.execute(
                f"SELECT count(*), coalesce(sum(booked), 0) FROM calls WHERE {where}", [batch]
            ).fetchone()
            self._db.execute(
                f"UPDATE calls SET state = 'failed', booked = 0, tries = 0 WHERE {where}", [batch]
            )
            self._book(-freed)
        return count

    def spent(self) -> float:
        """Dollars booked: costs, and reservations of what is out or was when a process died."""
        return self._db.execute("SELECT dollars FROM booked").fetchone()[0]

    def dialect_of(self, model: str) -> str | None:
        """How a model is asked, as probed once (`Dialect.text`); `model` is any name of it."""
        row = self._db.execute("SELECT format FROM formats WHERE model = ?", [model]).fetchone()
        if row is None:
            return None
        return row[0]

    def set_dialect(self, model: str, text: str) -> None:
        """Remember how a model is asked."""
        self._db.execute("INSERT OR REPLACE INTO formats VALUES (?, ?)", [model, text])

    def last_failure(self, key: str) -> str:
        """Why a request was given up the last time; empty where it never was."""
        row = self._db.execute(
            "SELECT coalesce(text, '') FROM calls WHERE key = ? AND state = 'failed'"
            " ORDER BY id DESC LIMIT 1",
            [key],
        ).fetchone()
        if row is None:
            return ""
        return row[0]

    def note_ending(
        self, *, purpose: str, voter: str, task: str, subject: str, sample: int, ending: Ending
    ) -> None:
        """Keep how a question stands, in place of how it stood before."""
        self._db.execute(
            "INSERT OR REPLACE INTO endings VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [purpose, voter, task, subject, sample, *ending[:2], json.dumps(ending.mercies)],
        )

    def endings(self, purpose: str | None = None, task: str | None = None) -> list[dict[str, Any]]:
        """How the questions ended: a row per (purpose, task, voter), of which two may be given.

        It holds how many were answered, unreadable, refused and open, how many answers were read
        with a mercy, and the most frequent problem.
        """
        sql = """SELECT purpose, task, voter, sum(state = 'answered') AS answered,
            sum(state = 'unreadable') AS unreadable, sum(state = 'refused') AS refused,
            sum(state = 'open') AS open, sum(mercies <> '[]') AS with_mercy,
            coalesce((SELECT problem FROM endings AS other
                WHERE (other.purpose, other.task, other.voter)
                    = (endings.purpose, endings.task, endings.voter) AND problem <> ''
                GROUP BY problem ORDER BY count(*) DESC, problem LIMIT 1), '') AS problem
            FROM endings WHERE purpose = coalesce(?, purpose) AND task = coalesce(?, task)
            GROUP BY purpose, task, voter ORDER BY purpose, task, voter"""
        return self._as_dicts(sql, [purpose, task])

    def voters_per_pair(
        self, purpose: str, task: str, voters: Sequence[str]
    ) -> list[tuple[int, int]]:
        """For each pair how many of these judges were asked about it, and how many answered."""
        marks = ", ".join("?" * len(voters))
        sql = f"""SELECT count(DISTINCT voter) AS asked,
            count(DISTINCT CASE WHEN state = 'answered' THEN voter END) AS answered
            FROM endings WHERE purpose = ? AND task = ? AND voter IN ({marks}) GROUP BY subject"""
        rows = self._as_dicts(sql, [purpose, task, *voters])
        return [(row["asked"], row["answered"]) for row in rows]

    def unanswered(self, purpose: str, task: str, voter: str) -> set[str]:
        """The pairs about which some question to a judge came to no answer."""
        sql = """SELECT DISTINCT subject FROM endings
            WHERE purpose = ? AND task = ? AND voter = ? AND state <> 'answered'"""
        return {row["subject"] for row in self._as_dicts(sql, [purpose, task, voter])}

    def mercies(self) -> list[dict[str, Any]]:
        """Which liberties were taken with each voter's answers, and how often."""
        sql = """SELECT voter, mercy.value AS mercy, count(*) AS answers
            FROM endings, json_each(endings.mercies) AS mercy
            GROUP BY voter, mercy.value ORDER BY voter, answers DESC, mercy.value"""
        return self._as_dicts(sql)

    def _as_dicts(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        rows = self._db.execute(sql, values)
        names = [column[0] for column in rows.description]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def erase(self, subjects: Iterable[str]) -> int:
        """Erase what was answered about pairs, also from the file's free pages; how many answers.

        That they were asked, answered and paid stays.
        """
        self._db.execute("PRAGMA secure_delete = ON")
        count = 0
        with transaction(self._db):
            for subject in subjects:
                sql = "UPDATE calls SET text = '' WHERE subject = ? AND text <> ''"
                count += self._db.execute(sql, [subject]).rowcount
                # A problem quotes the answer.
                self._db.execute("UPDATE endings SET problem = '' WHERE subject = ?", [subject])
        self._db.execute("VACUUM")
        # The log of what was written before has the texts too.
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    def costs(self) -> list[dict[str, Any]]:
        """The cost ledger: a row per (purpose, voter).

        It holds counts of requests by what became of them, tokens and dollars. `in_doubt` is the
        part of `dollars` that is reserved for requests without an answer.
        """
        sql = """SELECT purpose, voter,
            sum(state IN ('answered', 'duplicate')) AS answered,
            sum(state = 'rejected') AS rejected,
            sum(state = 'failed') AS failed, sum(state = 'sent') AS out,
            coalesce(sum(prompt_tokens), 0) AS prompt_tokens,
            coalesce(sum(cached_tokens), 0) AS cached_tokens,
            coalesce(sum(completion_tokens), 0) AS completion_tokens, sum(booked) AS dollars,
            sum(CASE WHEN state IN ('sent', 'failed') THEN booked ELSE 0 END) AS in_doubt
            FROM calls GROUP BY purpose, voter ORDER BY purpose, voter"""
        return self._as_dicts(sql)

    def _reserved(self, row: int) -> float:
        return self._db.execute("SELECT booked FROM calls WHERE id = ?", [row]).fetchone()[0]

    def _book(self, dollars: float) -> None:
        # A running sum and not a sum over all rows: every reservation asks for it.
        self._db.execute("UPDATE booked SET dollars = dollars + ?", [dollars])
