"""Conversations that branch (OASST): each message with the replies that people ranked.

An export holds them nested, one tree per record, or flat, one message per row with the id of the
message that it answers. `reply_lists` turns both into one record per message that was answered: its
replies are a ranked group, and the way to it from the root is the prompt. So do the data's makers
where they train reward models
(Open-Assistant:model/model_training/custom_datasets/oasst_dataset.py, mode "rm").
"""

import collections
from collections.abc import Iterable, Iterator, Sequence

from rewardjax.data.groups import BadRecord
from rewardjax.data.layouts import fields, ranked, turns
from rewardjax.data.layouts.fields import Record
from rewardjax.data.layouts.layout import Content, Layout
from rewardjax.data.sources.broken import Broken

# Rows of one tree are gathered before it is read; the largest of OASST has a few hundred. A table
# that calls all of its rows one tree must not be gathered whole.
MOST_ROWS = 10_000
# Of a message, what the record of its replies says in other words.
IN_RECORD = ("message_id", "parent_id", "text", "role", "rank", "replies")


def reply_lists(records: Iterable[Record]) -> Iterator[Record]:
    """Records as they are, but trees of messages as one record per message that was answered.

    Such a record has an `id` (the message's), a `path` (messages from the root to it) and its
    `replies`. A row whose tree is not whole is passed on, for its layout to refuse.
    """
    rows: list[Record] = []
    for record in records:
        # It has no tree, and the rows on both sides of it may be of one.
        if isinstance(record, Broken):
            yield record
            continue
        if _is_row(record):
            if rows and (_is_of_another_tree(record, rows[-1]) or len(rows) >= MOST_ROWS):
                yield from _of_rows(rows)
                rows = []
            rows.append(record)
            continue
        yield from _of_rows(rows)
        rows = []
        if _is_tree(record):
            whole = {name: value for name, value in record.items() if name != "prompt"}
            yield from _of_tree(whole | record["prompt"])
        else:
            yield record
    yield from _of_rows(rows)


# ------------------------------------------------------------------ flat rows -> a tree


def _is_row(record: Record) -> bool:
    names = ("message_id", "text", "role")
    return all(record.get(name) is not None for name in names)


def _is_of_another_tree(row: Record, before: Record) -> bool:
    # Rows that do not name their tree begin another one with each root.
    if row.get("message_tree_id") is None:
        return row.get("parent_id") is None
    return row["message_tree_id"] != before.get("message_tree_id")


def _of_rows(rows: Sequence[Record]) -> Iterator[Record]:
    """The reply lists of one tree's rows, then the rows that no root leads to."""
    answers: dict[str | None, list[Record]] = collections.defaultdict(list)
    for row in rows:
        answers[row.get("parent_id")].append(row | {"replies": []})
    roots = answers.pop(None, [])
    # Parents before their replies, whatever the order of the rows.
    reached, waiting = set(), list(roots)
    while waiting:
        message = waiting.pop()
        reached.add(message["message_id"])
        # Taken out: an id that occurs twice could otherwise lead around in circles.
        message["replies"] = answers.pop(message["message_id"], [])
        waiting.extend(message["replies"])
    for root in roots:
        yield from _of_tree(root)
    yield from (row for row in rows if row["message_id"] not in reached)


# ------------------------------------------------------------------ a tree -> reply lists


def _is_tree(record: Record) -> bool:
    # A tree of one message lacks the replies: they are null, and nulls inside of records go.
    root = record.get("prompt")
    return isinstance(root, dict) and ("replies" in root or "message_tree_id" in record)


def _of_tree(root: Record) -> Iterator[Record]:
    """The replies to each message of a tree, from the root downward."""
    # A list and no recursion: data set the depth, and Python's is limited.
    waiting = [(root, [])]
    while waiting:
        message, before = waiting.pop()
        path = [*before, {"role": _role(message, before), "content": message.get("text")}]
        replies = [reply for reply in message.get("replies") or () if isinstance(reply, dict)]
        waiting.extend((reply, path) for reply in reversed(replies))
        # What users say next is ranked too, but is nothing that a reward model compares.
        answers = [reply for reply in replies if _role(reply, path) == "assistant"]
        others = {name: value for name, value in message.items() if name not in IN_RECORD}
        for together in _ranked_apart(answers):
            yield others | {"id": message.get("message_id"), "path": path, "replies": together}


def _role(message: Record, before: Sequence[Record]) -> str:
    """Who speaks; the two take turns, should a message not say it."""
    role = message.get("role") or ("prompter", "assistant")[len(before) % 2]
    return turns.ROLES.get(role, role)


def _ranked_apart(answers: list[Record]) -> Iterator[list[Record]]:
    """The ranked answers, and those without a rank; all in one list if none can be compared."""
    with_rank = [answer for answer in answers if answer.get("rank") is not None]
    if len(with_rank) < 2:
        yield from filter(None, [answers])
        return
    yield with_rank
    # They can still be scored, and stand in the counts as what they are: without pairs.
    yield from filter(None, [[answer for answer in answers if answer.get("rank") is None]])


# ------------------------------------------------------------------ the layouts


def _is_reply_list(record: Record) -> bool:
    return record.get("path") is not None and record.get("replies") is not None


def _read_reply_list(record: Record) -> Content:
    """Ranks that all replies have order them; see `_ranked_apart`."""
    path = fields.text_or_messages(record["path"], "path")
    texts = [{"text": reply.get("text")} for reply in record["replies"]]
    ranks = [reply.get("rank") for reply in record["replies"]]
    if None in ranks:
        return ranked.labeled(path, texts, {})
    return ranked.labeled(path, texts, {"ranks": ranks})


def _read_row(record: Record) -> Content:
    raise BadRecord(
        "bad_schema",
        f"message {record['message_id']}: the message that it answers (parent_id = "
        f"{record.get('parent_id')}) is not among the rows of its tree that stand together: sort "
        "the rows by message_tree_id",
    )


LAYOUTS = (
    Layout(
        "OASST message trees; a record is the replies to one message",
        _is_reply_list,
        _read_reply_list,
    ),
    Layout("OASST messages without their tree", _is_row, _read_row),
)
