"""What a person says about findings: which pairs are held or flagged and why, and letting them in.

A restore is a row like any other: nothing is changed, so decisions that were made before it can be
made again from the ledger. It is about the evidence that the reviewer saw: what is found later is
asked about again.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax import fingerprint
from rewardjax.curation.cleaning import coverage, judge_directed, personal_data
from rewardjax.curation.cleaning.clean import CHECKS
from rewardjax.curation.ledger import pair_texts
from rewardjax.curation.ledger.decisions import STANDING_FINDINGS
from rewardjax.curation.ledger.rows import FindingRow
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import explain

STAGE = "review"
# Characters of a text on either side of what was found in it.
AROUND = 60
# Of the first that is listed of a text in which nothing can be shown.
EXCERPT = 160

_OPEN = f"""
select pair_id, finding, if(bool_or(action = 'hold'), 'hold', 'flag') as action,
    list(distinct evidence order by evidence) as evidence, any_value(source) as source
from ({STANDING_FINDINGS}) join (select pair_id, source from pairs) using (pair_id)
anti join (select pair_id, finding from findings where action = 'drop') using (pair_id, finding)
where finding in (select unnest($checks))
group by pair_id, finding"""
_RESTORED = """
select pair_id, finding, max(evidence) as evidence from findings
where action = 'restore' and pair_id in (select unnest($ids)) group by all"""


class Finding(NamedTuple):
    """A finding that nobody has reviewed."""

    pair_id: str
    source: str
    finding: str
    # "hold": out until reviewed; "flag": only noted.
    action: str
    # What is behind it, one line per piece of evidence, with the text where it is.
    evidence: list[str]


def counts(store: Store) -> dict[str, dict[str, int]]:
    """Open findings by check and action."""
    sql = f"select finding, action, count(*) as pairs from ({_OPEN}) group by all order by all"
    result: dict[str, dict[str, int]] = {}
    for row in store.query(sql, {"checks": list(CHECKS)}).to_pylist():
        result.setdefault(row["finding"], {})[row["action"]] = row["pairs"]
    return result


def listed(store: Store, limit: int, checks: Sequence[str] = CHECKS) -> list[Finding]:
    """The first open findings: held pairs before flagged ones, each with its evidence.

    limit: how many at most; 0 for all.
    """
    sql = f"select * from ({_OPEN}) order by action = 'flag', finding, pair_id"
    if limit:
        sql += f" limit {limit}"
    rows = store.query(sql, {"checks": list(checks)}).to_pylist()
    ids = sorted({row["pair_id"] for row in rows})
    texts = dict(zip(ids, store.texts(ids), strict=True))
    restored = {}
    for row in store.query(_RESTORED, {"ids": ids}).to_pylist():
        restored[row["pair_id"], row["finding"]] = json.loads(row["evidence"] or "{}").get("reason")
    findings = []
    for row in rows:
        pair = pair_texts.of_row(texts[row["pair_id"]])
        evidence = []
        for item in row["evidence"]:
            evidence += _evidence(store, pair, row["finding"], json.loads(item or "null"))
        reason = restored.get((row["pair_id"], row["finding"]))
        if reason is not None:
            evidence.append(f"let in before, on other evidence: {reason}")
        findings.append(
            Finding(row["pair_id"], row["source"], row["finding"], row["action"], evidence)
        )
    return findings


def as_text(store: Store, limit: int) -> list[str]:
    """The first open findings as lines, how many more there are, and what was never looked for."""
    lines = []
    for finding in listed(store, limit):
        lines.append(f"{finding.action} {finding.pair_id} of {finding.source}: {finding.finding}")
        lines += [f"    {line}" for line in finding.evidence]
    total = sum(sum(by_action.values()) for by_action in counts(store).values())
    if limit and total > limit:
        lines.append(f"... and {total - limit} more: --limit 0 shows all")
    if not total:
        lines.append("nothing is held or flagged")
    return [*lines, *coverage.lines(store)]


def restore(store: Store, pair_ids: Sequence[str], reason: str) -> dict[str, list[str]]:
    """Let pairs in again: whatever was found about them no longer holds them.

    Returns "restored" and "restored before" (whose rows are there already), ids of pairs. All or
    none: an id that is no pair, or of which nothing was found, restores nothing.

    Args:
        store: it is given a `restore` for each open finding.
        pair_ids: or the beginnings of them.
        reason: why, for whoever reads the ledger later.

    Raises:
        KeyError: for an id that no pair, or more than one, begins with.
        ValueError: for a pair without findings, or an empty reason.
    """
    if not reason.strip():
        raise ValueError("--reason is empty: say why these pairs may come in")
    outcome: dict[str, list[str]] = {"restored": [], "restored before": []}
    rows = []
    for pair_id in dict.fromkeys(explain.pair_named(store, prefix) for prefix in pair_ids):
        (about,) = store.query(
            "select count(*) as findings from findings "
            "where pair_id = ? and finding in (select unnest(?))",
            [pair_id, list(CHECKS)],
        ).to_pylist()
        if not about["findings"]:
            raise ValueError(
                f"{pair_id}: cleaning found nothing about this pair, so there is nothing to "
                "restore; `curate review` lists what is held"
            )
        standing = store.query(
            "select finding, list(distinct md5(coalesce(evidence, ''))) as hashes "
            f"from ({STANDING_FINDINGS}) where pair_id = ? and finding in (select unnest(?)) "
            "group by finding order by finding",
            [pair_id, list(CHECKS)],
        ).to_pylist()
        fate = "restored before"
        if standing:
            fate = "restored"
        outcome[fate].append(pair_id)
        for row in standing:
            evidence = json.dumps(
                {"reason": reason, "evidence": sorted(row["hashes"])}, ensure_ascii=False
            )
            rows.append(
                FindingRow(
                    pair_id=pair_id, finding=row["finding"], action="restore", evidence=evidence
                )
            )
    if rows:
        # Named after what it says: the same command again is the same shard.
        store.append("findings", STAGE, fingerprint.of_json(rows), rows)
    return outcome


# ------------------------------------------------------------------ evidence in words


def _evidence(store: Store, pair: pair_texts.Texts, check: str, evidence: Any) -> list[str]:
    """What was found, in words, with the place in the pair's text."""
    if check == "contaminated":
        return [_hit(pair, hit) for hit in evidence]
    if check == "near_duplicate":
        (original,) = store.texts([evidence["of"]])
        return [
            f"similarity {evidence['similarity']} to {evidence['of']}, which stays: "
            f"{pair_texts.text(original['prompt'])[:EXCERPT]!r} | this pair: "
            f"{pair_texts.text(pair.prompt)[:EXCERPT]!r}"
        ]
    return [
        f"{', '.join(kinds)} in {side}: {_where(check, pair_texts.text(getattr(pair, side)))!r}"
        for side, kinds in evidence.items()
    ]


def _hit(pair: pair_texts.Texts, hit: Mapping[str, Any]) -> str:
    """A shared n-gram and the pair's text around it."""
    prompt = pair_texts.of_users(pair.prompt)
    # As written in the pair, where its words are cut by other characters than blanks.
    start = max(0, prompt.lower().find(hit["ngram"].split()[0]))
    if hit["ngram"] in prompt.lower():
        start = prompt.lower().index(hit["ngram"])
    excerpt = prompt[max(0, start - AROUND) : start + len(hit["ngram"]) + AROUND]
    return (
        f"{hit['benchmark']} {hit['id']}: {hit['shared']} shared n-grams ({hit['mode']}), "
        f"{hit['coverage']:.0%} of that prompt, such as {hit['ngram']!r}, in {excerpt!r}"
    )


def _where(check: str, text: str) -> str:
    """The words in which something was found; the beginning where the patterns no longer see it."""
    if check == "judge_directed":
        words = list(judge_directed.find(text).values())
    else:
        words = personal_data.matches(text)
    if not words:
        return text[:EXCERPT]
    return " ... ".join(word[:EXCERPT] for word in words[:3])
