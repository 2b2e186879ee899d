"""The stages of the loop as data: what their shards are called, in which ledgers, and as of when.

A shard is `LEDGER/STAGE.UNIT`. Nothing else in the package spells such a name: the stages append
under a `Stage` of this file, and `curate run --plan` and the reports ask the same object what is
done. The names are stored in every workspace: another name makes its work look undone.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from rewardjax.curation.ledger.manifests import Manifest
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.ledger.tables import Tables

# As Arrow where there may be millions: a list of as many Python texts takes five times the memory.
PairIds = Sequence[str] | pa.Array | pa.ChunkedArray

VOTES = 2**13  # read at a time

WHOLE = "all"  # the unit of a stage that is written at once
UNIT = 500  # pairs in a unit of work: what is done again after a kill
# In a manifest's inputs: the pairs that the unit is about and has no row for.
WITHOUT_ROW = "without a row"

# Decisions of one iteration about one pool, in order: the highest counts.
ASKING, DECIDING = 0, 1


def as_of(iteration: int) -> int:
    """The iteration whose outcome the work of `iteration` starts from: the one before.

    What an iteration itself appends must not steer it: a run that was killed and starts again would
    then see more than the first try saw.
    """
    return iteration - 1


# Pools as of this are those that cleaning left, before anybody labeled anything.
IMPORTED = as_of(0)


@dataclasses.dataclass(frozen=True)
class Stage:
    """One step of the loop."""

    name: str
    iteration: int
    # Where it appends, in the order in which it does: only what the last one has is done.
    ledgers: tuple[str, ...]
    # Whether it is written in units of UNIT pairs, or at once.
    sliced: bool = False

    @property
    def as_of(self) -> int:
        """The state of the pools that this stage reads."""
        return as_of(self.iteration)

    def has(self, store: Store, unit: str = WHOLE) -> bool:
        """Whether a unit is finished in every ledger of this stage."""
        return all(store.has(ledger, self.name, unit) for ledger in self.ledgers)

    def missing(self, store: Store, pair_ids: PairIds) -> pa.Array | pa.ChunkedArray:
        """Those of these pairs that no finished unit is about, in the same order."""
        ids = as_array(pair_ids)
        without = [m["inputs"].get(WITHOUT_ROW, ()) for m in self.manifests(store)]
        places = pa.table({"pair_id": ids, "place": np.arange(len(ids))})
        rowless = pa.array(itertools.chain.from_iterable(without), pa.string())
        ledger = self.ledgers[-1]
        # An anti-join, whatever stands where in the list. It gives no order: the places do.
        sql = f"""
            select place from places
            anti join (select pair_id from {ledger} where stage = $stage) using (pair_id)
            anti join rowless using (pair_id)
            order by place"""
        with store.connect(ledgers=[ledger]) as connection:
            connection.register("places", places)
            connection.register("rowless", pa.table({"pair_id": rowless}))
            rows = connection.sql(sql, params={"stage": self.name}).to_arrow_table()
        return ids.take(rows.column("place").combine_chunks())

    def open_units(self, store: Store, pair_ids: PairIds) -> Iterator[tuple[str, list[str]]]:
        """What is left to do about these pairs, in units, each with its pairs.

        The pairs are those that no unit is about, whatever others there were when it was made: more
        of them may come at any time. A run that was killed gets the same units, as long as the
        pairs are the same, in the same order.
        """
        if not self.sliced:
            if not self.has(store):
                yield WHOLE, _as_list(pair_ids)
            return
        finished = self._finished(store)
        self._forget_halves(store, finished)
        missing = self.missing(store, pair_ids)
        yield from zip(_free(finished), in_slices(missing, UNIT), strict=False)

    def free_unit(self, store: Store) -> str:
        """The name of one more unit of a stage whose units are all finished."""
        return next(_free(self._finished(store)))

    def manifests(self, store: Store) -> list[Manifest]:
        """Of its finished units, in the last of its ledgers."""
        return [m for m in store.manifests(self.ledgers[-1]) if m["stage"] == self.name]

    def finished(self, store: Store, pairs: int) -> bool:
        """Whether so many pairs are done."""
        if not self.sliced:
            return self.has(store)
        ledger = self.ledgers[-1]
        sql = f"select count(distinct pair_id) from {ledger} where stage = ?"
        done = store.query(sql, [self.name]).column(0)[0].as_py()
        without = sum(len(m["inputs"].get(WITHOUT_ROW, ())) for m in self.manifests(store))
        return done + without >= pairs

    def _finished(self, store: Store) -> set[str]:
        """The units that the last of the stage's ledgers has."""
        return {manifest["unit"] for manifest in self.manifests(store)}

    def _forget_halves(self, store: Store, finished: set[str]) -> None:
        """Remove what a killed run left of units that are not in all of the stage's ledgers."""
        # Pairs may have come since, and the unit of this name may be about others now.
        for ledger in self.ledgers[:-1]:
            for manifest in store.manifests(ledger):
                if manifest["stage"] == self.name and manifest["unit"] not in finished:
                    store.forget(ledger, self.name, manifest["unit"])

    def append(
        self,
        store: Store,
        ledger: str,
        rows: Iterable[Mapping[str, Any]] | pa.Table | Tables,
        unit: str = WHOLE,
        about: Sequence[str] = (),
    ) -> None:
        """Write a unit in `ledger`; `about` are the pairs of the unit.

        Raises ValueError for a ledger that is not one of the stage's own.
        """
        if ledger not in self.ledgers:
            raise ValueError(f"stage {self.name} writes {', '.join(self.ledgers)}, not {ledger}")
        inputs = {}
        if about:
            if not isinstance(rows, pa.Table):
                rows = list(rows)
            # Kept, because a pair that nobody could say anything about is done as well.
            without = sorted(set(about) - _pairs_of(rows))
            if without:
                inputs[WITHOUT_ROW] = without
        store.append(ledger, self.name, unit, rows, iteration=self.iteration, inputs=inputs)
        if self.sliced and ledger == self.ledgers[-1]:
            # While the stage goes on and not at its end: the next unit looks at what was said
            # before it. Only finished units: half of one may have to be forgotten.
            for each in self.ledgers:
                store.compact(each, self.name)

    def votes(self, store: Store) -> Iterator[list[Any]]:
        """What this stage voted, some thousand votes at a time, each with all about its pairs.

        By pair, voter and sample; without the evidence, which is most of a vote.
        """
        columns = "pair_id, voter, kind, value, sample, shown, unit"
        sql = f"select {columns} from votes where stage = ? order by pair_id, voter, sample"
        rows: list[Any] = []
        with store.stream(sql, [self.name], VOTES) as batches:
            for batch in batches:
                rows += batch.to_pylist()
                # The last pair may go on in the next batch.
                last = rows[-1]["pair_id"]
                whole = len(rows)
                while whole and rows[whole - 1]["pair_id"] == last:
                    whole -= 1
                if whole:
                    yield rows[:whole]
                rows = rows[whole:]
        if rows:
            yield rows

    def rows(self, store: Store, ledger: str, order: str = "pair_id") -> list[Any]:
        """What this stage wrote into `ledger`, ordered by these columns."""
        sql = f"select * from {ledger} where stage = ? order by {order}"
        return store.query(sql, [self.name]).to_pylist()


def in_slices(pair_ids: PairIds, size: int) -> Iterator[list[str]]:
    """The pairs in order, `size` at a time."""
    for start in range(0, len(pair_ids), size):
        yield _as_list(pair_ids[start : start + size])


def as_array(pair_ids: PairIds) -> pa.Array | pa.ChunkedArray:
    """The pairs as Arrow."""
    if isinstance(pair_ids, Sequence):
        return pa.array(pair_ids, pa.string())
    return pair_ids


def _pairs_of(rows: pa.Table | list[Mapping[str, Any]]) -> set[str]:
    """The pairs that rows are about."""
    if isinstance(rows, list):
        return {row["pair_id"] for row in rows}
    return set(rows.column("pair_id").to_pylist())


def _free(finished: set[str]) -> Iterator[str]:
    """Names of units that are not taken, without end."""
    for number in itertools.count():
        if f"{number:05d}" not in finished:
            yield f"{number:05d}"


def _as_list(pair_ids: PairIds) -> list[str]:
    if isinstance(pair_ids, Sequence):
        return list(pair_ids)
    return pair_ids.to_pylist()


# ------------------------------------------------------------------ before the first iteration


def imported(source: str) -> Stage:
    """Records of a source taken in (`intake.take_in`, whose units are rows of the source)."""
    return Stage(f"import-{source}", 0, ("pairs",), sliced=True)


TAG = Stage("tag", 0, ("attributes",), sliced=True)
EMBED = Stage("embed", 0, ("embeddings",), sliced=True)


# ------------------------------------------------------------------ one iteration of Stage 1


def picks(iteration: int) -> Stage:
    """The pairs to label, by whom."""
    return Stage(f"pick-{iteration}", iteration, ("picks",))


def people(iteration: int) -> Stage:
    """What people said, and the attributes that they corrected."""
    # The attributes come last: the queue is ordered by attributes, so a run that is killed between
    # the two must find them as they were.
    return Stage(f"people-{iteration}", iteration, ("votes", "attributes"))


def judges(iteration: int) -> Stage:
    """What each judge said."""
    return Stage(f"label-{iteration}-judges", iteration, ("votes",), sliced=True)


def panel(iteration: int) -> Stage:
    """The judges merged."""
    return Stage(f"label-{iteration}-panel", iteration, ("votes",))


def decided(iteration: int) -> str:
    """The decisions about the unverified pool; their units are ranges of ids, not slices."""
    return f"stage1-{iteration}"


def trained(seat: str, iteration: int, fold: int | None = None) -> Stage:
    """The training pairs of a seat's reward model; its workdir is named after the stage too.

    fold: of the model that was trained without this fold of them.
    """
    name = f"{seat}-{iteration}"
    if fold is not None:
        name += f"-fold-{fold}"
    return Stage(name, iteration, ("training",))


def uncertainty(iteration: int) -> Stage:
    """Rewards of the unverified pool by the best RM, to pick the pairs that it is unsure of."""
    return Stage(f"uncertain-{iteration}", iteration, ("findings", "scores"), sliced=True)


def scored_gold(iteration: int) -> Stage:
    """Rewards of the gold pairs by the best RM: where it errs."""
    return Stage(f"gold-{iteration}", iteration, ("findings", "scores"), sliced=True)


def cross_fitted(seat: str, iteration: int, fold: int) -> Stage:
    """Rewards of one fold of a seat's own training pairs, by the model trained without it."""
    name = trained(seat, iteration, fold).name
    return Stage(name, iteration, ("findings", "scores"), sliced=True)


# ------------------------------------------------------------------ Stage 2
# With its number in each name: where Stage 1 goes on, Stage 2 comes again, and decides anew.


def scored_wild(seat: str, iteration: int) -> Stage:
    """Rewards of the wild pool by a seat's reward model."""
    return Stage(f"wild-{iteration}-{seat}", iteration, ("findings", "scores"), sliced=True)


def tag_wild(iteration: int) -> Stage:
    """Attributes of the wild pairs that judges are asked about."""
    return Stage(f"tag-wild-{iteration}", iteration, ("attributes",), sliced=True)


def embed_wild(iteration: int) -> Stage:
    """Their vectors."""
    return Stage(f"embed-wild-{iteration}", iteration, ("embeddings",), sliced=True)


def judges_wild(iteration: int) -> Stage:
    """What each judge said about them."""
    return Stage(f"label-wild-{iteration}-judges", iteration, ("votes",), sliced=True)


def panel_wild(iteration: int) -> Stage:
    """The judges merged."""
    return Stage(f"label-wild-{iteration}-panel", iteration, ("votes",))


def audited(iteration: int, pairs: int) -> Stage:
    """What people said about the audit's sample, of at most `pairs` for each kind of decision."""
    # By its size: a larger sample asks about what it has beyond a smaller one.
    return Stage(f"{AUDIT}-{iteration}-{pairs}", iteration, ("votes", "attributes"))


AUDIT = "audit"


def asked_wild(iteration: int) -> str:
    """The decisions which wild pairs judges are asked about; their units are ranges of ids."""
    return f"{GATES_ASK}-{iteration}"


def decided_wild(iteration: int) -> str:
    """The decisions what becomes of each wild pair."""
    return f"{GATES_DECIDE}-{iteration}"


# Where gates stand: before the wild pool is scored, before judges are asked, before it is decided.
GATES_SCORE, GATES_ASK, GATES_DECIDE = "stage2-score", "stage2-ask", "stage2-final"
