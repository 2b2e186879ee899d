"""Some benchmarks, some of their categories, some of their examples: for a first look.

Numbers of a part are not the benchmark's: whatever was selected within a benchmark is named in its
result, and takes the headline away.
"""

import dataclasses
import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence

from rewardjax import evaluators, fingerprint
from rewardjax.data import accounting
from rewardjax.evaluators import reading
from rewardjax.evaluators.benchmarks import HasCategories
from rewardjax.evaluators.records import Examples, Item, Result

# Of a benchmark's examples: what fits a short row is easier than the rest, and no sample of it.
LEAST_SHARE = 0.5
# Names that an error lists: RMB alone has 98 categories.
SHOWN = 12


def benchmarks(names: Collection[str], only: Sequence[str]) -> dict[str, list[str]]:
    """The categories wanted of each benchmark that is selected; none means all of them.

    names: of the config's benchmarks. only: NAME or NAME/CATEGORY; all benchmarks if it is empty.
    Raises ValueError for a name that is not there, with its neighbors.
    """
    if not only:
        return {name: [] for name in names}
    selected: dict[str, list[str]] = {}
    for entry in only:
        name, _, category = entry.partition("/")
        if name not in names:
            raise ValueError(f"only: no benchmark is called {name!r}{_neighbors(name, names)}")
        categories = selected.setdefault(name, [])
        if category:
            categories.append(category)
    # NAME beside NAME/CATEGORY asks for the whole.
    for name in set(only) & set(selected):
        selected[name] = []
    return selected


def select(examples: Examples, categories: Sequence[str], limit: int) -> Examples:
    """The examples of some categories, and at most `limit` of those, in their order.

    A category is a subset, what the names of several begin with, up to a slash, or one of
    `HasCategories`. limit: 0 for
    all; else subsets take turns until there are so many, so that none is left out while another
    has several. Raises ValueError for a category that is not there, with its neighbors, and for a
    negative limit.
    """
    if limit < 0:
        raise ValueError(f"limit = {limit}: examples of each benchmark, 0 for all")
    indices = list(range(len(examples.items)))
    if categories:
        indices = _of_categories(examples, categories)
    if limit:
        indices = sorted(_in_turns(examples.items, indices)[:limit])
    if len(indices) == len(examples.items):
        return examples
    return dataclasses.replace(
        examples,
        items=[examples.items[i] for i in indices],
        groups=[examples.groups[i] for i in indices],
        # Scores of a part are kept apart from those of the whole.
        fingerprint=fingerprint.of_json([examples.fingerprint, indices]),
        part_of=len(examples.items),
        # Counted over all of them, of which the repeated ones need not be here.
        repeated=0,
    )


def marked(result: Result, examples: Examples) -> Result:
    """The result of examples that were selected, without a headline and saying so."""
    if examples.part_of is None:
        return result
    note = (
        f"no headline: {len(examples.items):,} of {examples.part_of:,} examples were selected "
        "(--limit, --only)"
    )
    return dataclasses.replace(result, headline=None, notes=[*result.notes, note])


def marked_unread(result: Result, examples: Examples) -> Result:
    """The result of examples of which some could not be read, counted as missing from its part.

    Where a benchmark has published counts, these say it already.
    """
    unusable = [row for row in examples.left_out if row["reason"] not in accounting.APART]
    if not unusable:
        return result
    parts = dict(result.parts)
    if len(parts) == 1:
        (name, part) = next(iter(parts.items()))
        if part.expected is None:
            read = part.n + part.unused + part.unscored
            parts[name] = dataclasses.replace(part, expected=read + len(unusable))
    notes = [*result.notes, reading.unread(unusable)]
    return dataclasses.replace(result, parts=parts, notes=notes)


def without_a_headline_of_few(result: Result, remedy: str) -> Result:
    """The result, its headline taken away where fewer than LEAST_SHARE of its examples count.

    remedy: why the others do not, and what helps.
    """
    counted = result.counted
    read = counted + sum(part.unscored for part in result.parts.values())
    if result.headline is None or counted >= LEAST_SHARE * read:
        return result
    note = (
        f"no headline: only {counted:,} of {read:,} examples have a score, and it takes "
        f"{LEAST_SHARE:.0%}; {remedy}"
    )
    return dataclasses.replace(result, headline=None, notes=[*result.notes, note])


def _of_categories(examples: Examples, categories: Sequence[str]) -> list[int]:
    module = evaluators.get(examples.name)
    wanted: dict[str, list[int]] = {category: [] for category in categories}
    names: set[str] = set()
    for i, item in enumerate(examples.items):
        of_item = [item.subset]
        if isinstance(module, HasCategories):
            of_item += module.categories(item)
        names.update(of_item)
        for category in categories:
            if any(_is_in(name, category) for name in of_item):
                wanted[category].append(i)
    for category, indices in wanted.items():
        if not indices:
            raise ValueError(
                f"only: {examples.name} has no category {category!r}{_neighbors(category, names)}"
            )
    return sorted(set().union(*wanted.values()))


def _is_in(subset: str, category: str) -> bool:
    return subset == category or subset.startswith(f"{category}/")


def _in_turns(items: Sequence[Item], indices: Iterable[int]) -> list[int]:
    """The indices, the first of each subset before the second of any."""
    times: dict[str, int] = {}
    turns = []
    for i in indices:
        turn = times.get(items[i].subset, 0)
        times[items[i].subset] = turn + 1
        turns.append((turn, i))
    return [i for _, i in sorted(turns)]


def _neighbors(name: str, names: Collection[str]) -> str:
    """The names that are most alike, or all where none is."""
    alike = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    if alike:
        return f"; there is {', '.join(alike)}"
    listed = sorted(names)
    more = ""
    if len(listed) > SHOWN:
        more = f" and {len(listed) - SHOWN} more"
    return f"; there are {', '.join(listed[:SHOWN])}{more}"


def parts(loaded: Mapping[str, Examples]) -> dict[str, str]:
    """How much of each benchmark was selected, for those of which it is not all."""
    return {
        name: f"{len(examples.items):,} of {examples.part_of:,} examples"
        for name, examples in loaded.items()
        if examples.part_of is not None
    }
