"""RM-Bench (arXiv 2410.16184): 1,327 prompts with right and wrong responses in three styles each.

So style and substance come apart. Styles, in this order: concise, detailed plain text, detailed
markdown. Cell [i, j] of the 3 x 3 matrix is how often the right response in style i scores strictly
above the wrong one in style j. Hard is where the right one is plainer (above the diagonal), normal
the diagonal, easy below it; a domain scores the mean of the nine, and the headline is the plain
mean of the four domains.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rewardjax.data.groups import BadRecord, Group
from rewardjax.evaluators import finder, reading, rules, uncertainty
from rewardjax.evaluators.benchmarks import Draw, Evaluated, Published, Truncation
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards
from rewardjax.reporting.labels import legend_below, with_legend, wrapped
from rewardjax.reporting.page import Section
from rewardjax.reporting.plots import COLORS, GRAY, MARKERS, figure

TITLE = "RM-Bench"
HUB = "hf://THU-KEG/RM-Bench"
SOURCE = f"{HUB}, or data/total_dataset.json of github.com/THU-KEG/RM-Bench (no license file)"
CHANCE = 0.5
# run_rm of the repository THU-KEG/RM-Bench.
TRUNCATION = Truncation("left", 2048)
# Prompts by domain, as published.
EXPECTED = {"chat": 129, "math": 529, "code": 228, "safety": 441}
# Files tell two kinds of safety apart; the headline does not.
DOMAINS = ("chat", "math", "code", "safety-refuse", "safety-response")
STYLES = ("concise", "detailed", "markdown")
LEVELS = {
    "easy": np.tril_indices(3, -1),
    "normal": np.diag_indices(3),
    "hard": np.triu_indices(3, 1),
}

# Easy, normal and hard as arXiv 2507.01352 prints them, in percent.
PUBLISHED = {
    "V2-Llama-3.1-8B-40M": (97.6, 96.9, 93.5),
    "V2-Llama-3.1-8B": (97.0, 95.0, 86.5),
    "V2-Qwen3-8B": (91.9, 85.7, 70.1),
    "V2-Qwen3-0.6B": (90.3, 78.0, 54.8),
    "INF-ORM-70B": (92.1, 80.0, 54.0),
    "Skywork-Reward-27B-v0.2": (88.9, 71.9, 42.1),
}


# ------------------------------------------------------------------ the rule


def wins(rewards: Any) -> np.ndarray:
    """Whether right response i beats wrong response j, [..., 3, 3] bool.

    rewards: [..., 6], of three right responses, then of three wrong ones. Equal rewards are a loss.
    """
    rewards = np.asarray(rewards, np.float64)
    return rewards[..., :3, None] > rewards[..., None, 3:]


def levels(matrix: Any) -> dict[str, float]:
    """Easy, normal and hard: the means of the cells [3, 3] below, on and above the diagonal."""
    return {name: float(np.asarray(matrix)[cells].mean()) for name, cells in LEVELS.items()}


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """Each of the three right responses, which come first, over each wrong one."""
    return rules.first_better(3, responses)


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """The four domains as parts, their levels below; both parts of safety are pooled.

    Ties count cells. `other`: levels over the domains, the matrices, and the mean over all prompts.
    """
    rewards_by_domain: dict[str, list[np.ndarray]] = {domain: [] for domain in EXPECTED}
    for item, rewards_of_item in zip(items, rewards, strict=True):
        # The two kinds of safety are one domain, in which all prompts count alike.
        domain = item.subset.partition("-")[0]
        rewards_by_domain[domain].append(np.asarray(rewards_of_item, np.float64))
    parts: dict[str, Part] = {}
    subsets: dict[str, Part] = {}
    matrices: dict[str, list[list[float]]] = {}
    for domain, expected in EXPECTED.items():
        whole = [row for row in rewards_by_domain[domain] if rules.is_scored(row)]
        unscored = len(rewards_by_domain[domain]) - len(whole)
        if not whole:
            parts[domain] = Part(None, 0, 0, expected, unscored)
            continue
        scored = np.array(whole)  # [N, 6]
        equal = scored[:, :3, None] == scored[:, None, 3:]  # [N, 3, 3]
        matrix = wins(scored).mean(0)  # [3, 3]
        parts[domain] = Part(
            float(matrix.mean()), len(scored), int(equal.sum()), expected, unscored
        )
        matrices[domain] = matrix.tolist()
        for level, value in levels(matrix).items():
            ties = int(equal[(slice(None), *LEVELS[level])].sum())
            subsets[f"{domain}/{level}"] = Part(value, len(scored), ties, expected, unscored)
    other: dict[str, Any] = {}
    for level in LEVELS:
        # Over domains, as the paper's table has it; over prompts math would count most.
        by_domain = [part.value for name, part in subsets.items() if name.endswith(level)]
        other[level] = rules.average(by_domain)
    other |= {"matrix": matrices, "mean over prompts": rules.pool(parts.values()).value}
    return Result(
        "rm_bench",
        rules.average(part.value for part in parts.values()),
        "unweighted mean of 4 domains, each the mean of its 9 cells",
        CHANCE,
        parts,
        subsets,
        other,
    )


# ------------------------------------------------------------------ the files


# A folder may hold the whole and the files of single domains: every prompt would be read twice.
LAYOUT = finder.Layout([("prompt", "chosen", "rejected")], prefer="total_dataset.json")


def load(path: str | pathlib.Path) -> Examples:
    """total_dataset.json, a folder that has it (or files of single domains), or the hub."""
    # Files of single domains have no such field: their name says it.
    return finder.load("rm_bench", [path], LAYOUT, _read, lambda unit: {"domain": unit.place.name})


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    name = reading.text(record, "domain")
    domain = next((domain for domain in DOMAINS if name.startswith(domain)), None)
    if domain is None:
        raise BadRecord(
            "bad_schema", f"domain = {name!r}: it begins with one of {', '.join(DOMAINS)}"
        )
    responses = reading.texts(record, "chosen", 3) + reading.texts(record, "rejected", 3)
    identity = str(record.get("id"))
    # Files of single domains number their prompts from 0 each.
    if "/" not in identity:
        identity = f"{domain}/{identity}"
    prompt = reading.user(reading.text(record, "prompt"))
    return reading.example(identity, domain, {}, prompt, responses)


def published(record: dict[str, Any]) -> Published | None:
    """A record of the files that the repository's run_rm writes, which hold the texts too."""
    if not {"domain", "score_chosen", "score_rejected"} <= set(record):
        return None
    item, group = _read(record)
    scores = [*record["score_chosen"], *record["score_rejected"]]
    return Published(item.id, [float(score) for score in scores], record.get("model"), group)


# ------------------------------------------------------------------ the picture


def sections(evaluated: Sequence[Evaluated], draw: Draw) -> list[Section]:
    """How far each model falls from easy to hard, beside published models, and its matrix."""
    accuracies: dict[str, dict[str, uncertainty.Estimate]] = {}
    matrices: dict[str, np.ndarray] = {}
    rows: list[dict[str, str]] = []
    for entry in evaluated:
        if entry.result.headline is None:
            continue
        accuracies[entry.model] = {
            level: uncertainty.estimate(_accuracy_at(level), entry.scores) for level in LEVELS
        }
        matrices[entry.model] = np.mean(list(entry.result.other["matrix"].values()), axis=0)
        percent = [100 * entry.result.other[level] for level in LEVELS]
        rows.append(_table_row(entry.model, percent))
    if not accuracies:
        return []
    published: dict[str, Any] = {}
    text = (
        "Hard: the right response is written more plainly than the wrong one, so a model that pays "
        "for style falls from easy to hard. Above the diagonal of the matrix is hard, below it "
        "easy."
    )
    # Beside a part of the benchmark they would compare what cannot be compared.
    if all(entry.result.comparable for entry in evaluated):
        published = PUBLISHED
        text += " Gray lines are published."
    rows += [_table_row(f"{name} (published)", percent) for name, percent in published.items()]
    picture = draw("rm_bench", difficulty, accuracies, published, matrices)
    caption = "Accuracy by difficulty, and by style of both responses"
    return [Section("RM-Bench: the difficulty gap", [text], {caption: picture}, {"": rows})]


def _accuracy_at(level: str) -> uncertainty.Statistic:
    return lambda items, rewards: summarize(items, rewards).other[level]


def _table_row(model: str, percent: Sequence[float]) -> dict[str, str]:
    """percent: easy, normal, hard."""
    easy, _, hard = percent
    by_level = {level: f"{value:.1f}" for level, value in zip(LEVELS, percent, strict=True)}
    return {"model": model, **by_level, "easy - hard, points": f"{easy - hard:.1f}"}


def difficulty(
    models: Mapping[str, Mapping[str, uncertainty.Estimate]],
    published: Mapping[str, Sequence[float]],
    matrices: Mapping[str, np.ndarray],
    path: str | pathlib.Path,
) -> None:
    """Draw accuracy by level of difficulty, and by the styles of both responses.

    models: by name, the accuracy at each of LEVELS in [0, 1]. published: by name, one percentage
    per level. matrices: by name [3, 3], style of the right response by style of the wrong one,
    averaged over domains; one panel each.
    """
    count = 1 + len(matrices)
    # Three panels of this size are as wide as a page shows without shrinking their text.
    shape = (-(-count // 3), min(count, 3))
    size = with_legend((4.4, 4.0), shape, list(models))
    with figure(path, *shape, size=size) as grid:
        axes = list(grid.flat)
        for ax in axes[count:]:
            ax.set_axis_off()
        _difficulty_lines(axes[0], models, published)
        # Below all panels: in the first one it would lie on the lines.
        legend_below(axes[0], *axes[0].get_legend_handles_labels())
        for ax, (name, matrix) in zip(axes[1:], matrices.items(), strict=False):
            _style_matrix(ax, name, matrix)


def _difficulty_lines(
    ax: Axes,
    models: Mapping[str, Mapping[str, uncertainty.Estimate]],
    published: Mapping[str, Sequence[float]],
) -> None:
    # The names stand at hard, where models lie close together: 4.6 points are a line of text.
    heights = _spread([accuracy[2] for accuracy in published.values()], 4.6)
    for (name, accuracy), height in zip(published.items(), heights, strict=True):
        ax.plot(range(3), accuracy, color="#c4c8ce", linewidth=1, zorder=1)
        ax.text(2.1, height, name, fontsize=6.5, color=GRAY, va="center")
    for i, (name, by_level) in enumerate(models.items()):
        # [3 levels, (value, low, high)]; None becomes NaN where there is no interval.
        table = 100 * np.array([by_level[level] for level in LEVELS], np.float64)
        accuracy, low, high = table.T
        reach = None
        if not np.isnan(table).any():
            reach = (accuracy - low, high - accuracy)
        # Models stand side by side, since error bars on one place would cover each other.
        place = np.arange(3) + 0.05 * (i - (len(models) - 1) / 2)
        style: dict[str, Any] = {
            "color": COLORS[i % len(COLORS)],
            "marker": MARKERS[i % len(MARKERS)],
        }
        ax.errorbar(place, accuracy, yerr=reach, capsize=2.5, label=name, **style)
    ax.plot([-0.2, 2.05], [50, 50], color="#333333", linestyle=":", linewidth=1)
    ax.set_xticks(range(3), list(LEVELS))
    ax.set(title="Accuracy by difficulty", ylabel="accuracy, % (dotted: chance)", ylim=(0, 102))
    # Room on the right for the names of published models.
    ax.set_xlim(-0.2, 3.25 if published else 2.2)


def _style_matrix(ax: Axes, name: str, matrix: np.ndarray) -> None:
    """matrix: [3, 3]."""
    ax.imshow(matrix, vmin=0, vmax=1, cmap="RdBu")
    for i, j in np.ndindex(3, 3):
        # Both ends of the color map are dark.
        color = "#333333" if 0.15 < matrix[i, j] < 0.85 else "white"
        percent = f"{100 * matrix[i, j]:.0f}"
        ax.text(j, i, percent, ha="center", va="center", color=color, fontsize=11)
    ax.set_xticks(range(3), STYLES)
    ax.set_yticks(range(3), STYLES)
    ax.set(
        xlabel="style of the wrong response",
        ylabel="style of the right response",
    )
    ax.set_title(wrapped(f"{name}: right beats wrong, %", 36), fontsize=9)
    ax.grid(visible=False)


def _spread(values: Sequence[float], least: float) -> np.ndarray:
    """Places for labels: the values [N], lowered where needed to be `least` apart, from the top."""
    places, order = np.array(values, np.float64), np.argsort(values)[::-1]
    for above, below in zip(order[:-1], order[1:], strict=True):
        places[below] = min(places[below], places[above] - least)
    return places
