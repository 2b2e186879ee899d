"""The parity command without its network half:

the tables have the edges that it promises, and differences are not swallowed.
"""

import math

import numpy as np

from benchmarks.rewardbench_parity import difference, ours, random_tables
from rewardjax.evaluators.benchmarks import rewardbench


def test_the_tables_have_every_edge():
    tables = random_tables(np.random.default_rng(0), 60)
    found = ours(tables)
    assert {name: len(rows) for name, rows in found.items()} == dict.fromkeys(tables, 60)
    assert any(math.isnan(value) for table in tables["sections"] for value in table.values())
    assert any(0 < len(table) < len(rewardbench.EXPECTED) for table in tables["pairs"]), (
        "missing subsets"
    )
    assert any(len(pairs) == 1 for table in tables["pairs"] for pairs in table.values()), (
        "single items"
    )
    assert any(a == b for table in tables["pairs"] for pairs in table.values() for a, b in pairs), (
        "ties"
    )
    kinds = [{question["id"] for question in questions} for questions in tables["ties"]]
    assert any((f"ref:{n}" in ids) != (f"tied:{n}" in ids) for ids in kinds for n in range(8)), (
        "questions without their sibling"
    )
    assert difference(found, ours(tables)) == 0.0


def test_unlike_is_infinitely_different():
    assert difference({"a": [1.0, math.nan]}, {"a": [1.5, math.nan]}) == 0.5
    assert (
        difference({"a": 1.0}, {"b": 1.0})
        == difference([1.0], [])
        == difference([math.nan], [1.0])
        == math.inf
    )
