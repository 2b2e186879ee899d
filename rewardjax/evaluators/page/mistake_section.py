"""The page's section of the most confident mistakes, with their texts."""

from collections.abc import Mapping
from typing import Any

from rewardjax.evaluators.page.drawing import Draw
from rewardjax.evaluators.page.evaluation import Evaluation
from rewardjax.reporting.page import Section


def mistakes(model: Evaluation, draw: Draw) -> Section | None:
    """For each benchmark, wrong pairs with the largest margins; nothing to draw."""
    text = [
        "Of each benchmark, the pairs on which the reward contradicts the label by the largest "
        "margin, one of each item. Chosen is the response that the label prefers. Read some before "
        "believing a number: labels are wrong too."
    ]
    examples: dict[str, list[dict[str, Any]]] = {}
    tables: dict[str, list[dict[str, Any]]] = {}
    for name, rows in model.mistakes.items():
        if name not in model.results:
            continue
        title = model.title(name)
        withheld = [row for row in rows if row["prompt"] is None]
        if withheld:
            heading = f"{title}: texts that must not be shown"
            tables[heading] = [_table_row(row) for row in withheld]
        shown = [_example(row) for row in rows if row["prompt"] is not None]
        if shown:
            examples[title] = shown
    if not examples and not tables:
        return None
    return Section("Most confident mistakes", text, {}, tables, examples)


def _example(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt": row["prompt"],
        "chosen": row["chosen"],
        "rejected": row["rejected"],
        "chosen_reward": row["better_reward"],
        "rejected_reward": row["worse_reward"],
        "note": f"{row['subset']}: {row['id']}, responses {row['better']} and {row['worse']}",
    }


def _table_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "category": row["subset"],
        "id": row["id"],
        "responses": f"{row['better']} and {row['worse']}",
        "reward of the better": row["better_reward"],
        "of the worse": row["worse_reward"],
    }
