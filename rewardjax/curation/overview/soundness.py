"""Whether a store is what was written: its files, and the pairs that rows are about."""

from rewardjax import fingerprint
from rewardjax.curation.ledger.rows import SCHEMAS
from rewardjax.curation.ledger.store import Store
from rewardjax.io import own_files


def problems(store: Store) -> list[str]:
    """Say what is wrong with the store, in sentences; empty where it is sound.

    Looks for damaged shards, and for rows about pairs that the store does not have.
    """
    problems = damaged_shards(store)
    # A damaged shard cannot be queried.
    if problems:
        return problems
    for ledger in SCHEMAS.keys() - {"pairs", "rejects", "gates"}:
        orphans = store.query(
            f"select count(*) from (select distinct pair_id from {ledger}) "
            "anti join pairs using (pair_id)"
        )
        count = orphans.column(0)[0].as_py()
        if count:
            problems.append(f"{ledger}: {count} pairs that `pairs` does not have")
    return problems


def damaged_shards(store: Store) -> list[str]:
    """Say which files are not what was written, in sentences."""
    problems = []
    for ledger in SCHEMAS:
        for path in store.files_of(ledger):
            record = own_files.read(path.with_suffix(".json"))
            content = None
            if path.is_file():
                content = fingerprint.of_file(path)
            if content in record.get("erased_from", ()):
                problems.append(
                    f"{path}: has texts that were to be erased; run `curate erase` again for "
                    "the same pairs"
                )
            elif content != record["content"]:
                stage = path.name.partition(".")[0]
                problems.append(
                    f"{path}: missing or changed since it was written; "
                    f"delete it and its .json, and run {stage} again"
                )
    return problems
