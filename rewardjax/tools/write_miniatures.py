"""A few rows in each benchmark's original format, made from the preference world.

For tests, the quickstart and the report.

    python -m rewardjax.tools.write_miniatures      writes assets/benchmarks/ of the package again

The problems are of the world's held-out split, so a model trained on the world has not met them.
Names of files, fields and subsets are the benchmarks' own; the texts are not, and neither are the
numbers that a model gets here.
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax import assets
from rewardjax.command import errors
from rewardjax.data.world import TASKS, style
from rewardjax.data.world.draw import Draw
from rewardjax.data.world.pairs import Problem, problem, respond
from rewardjax.evaluators.benchmarks import (
    judgebench,
    llmbar,
    ppe_correctness,
    rewardbench,
    rewardbench2,
)

Record = dict[str, Any]
CODE, NUMBERS = ("code",), ("add", "next", "order", "extreme", "count")
WORDS = tuple(name for name in TASKS if name not in CODE + NUMBERS)


class Source:
    """Problems one after another, none twice, and responses to them."""

    def __init__(self, name: str):
        self._name, self._count = name, 0

    def problem(self, tasks: Sequence[str] = WORDS) -> Problem:
        """The next problem, of one of `tasks`."""
        self._count += 1
        # A seed of its own, as ids spell it.
        seed = 9000 + len(self._name)
        task = Draw("miniature", self._name, self._count).pick(tasks)
        return problem("heldout", seed, self._count, task)

    def response(self, item: Problem, correct: bool, number: int = 0) -> str:
        """A right or wrong response; `number` tells several to one problem apart."""
        draw = Draw("miniature", self._name, item.id, correct, number)
        return respond(item, correct, draw, near=draw.chance(0.5)).text

    def pair(self, tasks: Sequence[str] = WORDS) -> tuple[str, str, str]:
        """Prompt, right response, wrong response."""
        item = self.problem(tasks)
        return item.prompt, self.response(item, True), self.response(item, False)

    def styled(self, item: Problem, correct: bool) -> list[str]:
        """A response in RM-Bench's three styles: concise, detailed, detailed markdown."""
        draw = Draw("miniature", self._name, item.id, correct)
        answer = respond(item, correct, draw, plain=True).answer
        wordy = {"opener", "hedge", "filler", "closer"}
        responses = []
        for features in (set(), wordy, wordy | {"emphasis", "bullets"}):
            switches = {feature: feature in features for feature in style.FEATURES}
            # The same draw each time, so that the three differ in style alone.
            responses.append(style.dress(answer, switches, draw.copy()))
        return responses


def _tasks(name: str) -> Sequence[str]:
    """Tasks that suit a subset of this name."""
    name = name.lower()
    if any(word in name for word in ("hep-", "code", "coding", "mbpp")):
        return CODE
    if any(word in name for word in ("math", "reasoning")):
        return NUMBERS
    return WORDS


def _rewardbench() -> dict[str, list[Record]]:
    source, rows = Source("rewardbench"), []
    for subset in rewardbench.EXPECTED:
        for _ in range(3):
            prompt, chosen, rejected = source.pair(_tasks(subset))
            rows.append(
                {
                    "prompt": prompt,
                    "chosen": chosen,
                    "rejected": rejected,
                    "chosen_model": "writer-a",
                    "rejected_model": "writer-b",
                    "subset": subset,
                    "id": len(rows),
                }
            )
    # Equal texts have equal rewards: a tie, which is wrong.
    rows[0]["rejected"] = rows[0]["chosen"]
    return {"rewardbench/data/filtered-00000-of-00001.parquet": rows}


def _rewardbench2() -> dict[str, list[Record]]:
    source, rows = Source("rewardbench2"), []

    def add(id: str, subset: str, item: Problem, right: int, wrong: int) -> None:
        rows.append(
            {
                "id": id,
                "prompt": item.prompt,
                "chosen": [source.response(item, True, k) for k in range(right)],
                "rejected": [source.response(item, False, k) for k in range(wrong)],
                "num_correct": right,
                "num_incorrect": wrong,
                "total_completions": right + wrong,
                "subset": subset,
            }
        )

    for subset in rewardbench2.EXPECTED:
        for i in range(4):
            item = source.problem(_tasks(subset))
            if subset != "Ties":
                add(f"{subset.lower().replace(' ', '-')}-{i}", subset, item, 1, 3)
                continue
            add(f"ref:{i}", subset, item, 1, 5)
            # Its sibling has several right answers, which only open tasks do.
            add(f"tied:{i}", subset, source.problem(("brainstorm", "write")), 2 + i, 5)
    return {"rewardbench2/data/test-00000-of-00001.parquet": rows}


GERMAN = (
    "Wie viele Beine hat eine Spinne?",
    "Eine Spinne hat acht Beine.",
    "Eine Spinne hat sechs Beine, wie alle Insekten, und manchmal auch mehr.",
)


def _ppe_preference() -> dict[str, list[Record]]:
    source, rows = Source("ppe_preference"), []
    winners = (
        "model_a",
        "model_b",
        "model_a",
        "model_b",
        "tie",
        "model_b",
        "model_a",
        "tie (bothbad)",
    )
    for i, winner in enumerate(winners * 3):
        tasks = (WORDS, CODE, NUMBERS)[i % 3]
        language = "English"
        # One vote in another language; its problem is not drawn, so the others stay the same.
        if i == 5:
            language = "German"
            prompt, right, wrong = GERMAN
        else:
            prompt, right, wrong = source.pair(tasks)
        first, second = right, wrong
        if winner != "model_a":
            first, second = wrong, right
        rows.append(
            {
                "question_id": f"vote-{i}",
                "model_a": "writer-a",
                "model_b": "writer-b",
                "winner": winner,
                "language": language,
                "prompt": prompt,
                "response_1": first,
                "response_2": second,
                "is_code": tasks == CODE,
                "is_refusal": False,
                "hard_prompt": i % 4 == 0,
                "easy_prompt": i % 4 == 1,
                "if_prompt": tasks == WORDS,
                "math_prompt": tasks == NUMBERS,
                "length_a": len(first),
                "length_b": len(second),
                "conv_metadata": {"turns": 1},
            }
        )
    return {"ppe_preference/data/test-00000-of-00001.parquet": rows}


def _ppe_correctness() -> dict[str, list[Record]]:
    source, files = Source("ppe_correctness"), {}
    for name in ppe_correctness.EXPECTED:
        rows = []
        for i in range(4):
            item, draw = source.problem(_tasks(name)), Draw("miniature", name, i)
            # A third of 32 responses is right, in any order.
            scores = draw.shuffled([k % 3 == 0 for k in range(32)])
            responses = {
                f"response_{k + 1}": source.response(item, right, k)
                for k, right in enumerate(scores)
            }
            right = [k for k in range(32) if scores[k]]
            wrong = [k for k in range(32) if not scores[k]]
            pairs = [draw.shuffled([draw.pick(right), draw.pick(wrong)]) for _ in range(5)]
            rows.append(
                {
                    "question_id": i,
                    "prompt": item.prompt,
                    "model_name": "writer",
                    **responses,
                    "scores": scores,
                    "sampled_conflict_pairs": pairs,
                }
            )
        files[f"ppe_correctness/PPE-{name}-Best-of-K/data/train-00000-of-00001.parquet"] = rows
    return files


def _rmb() -> dict[str, list[Record]]:
    source, files = Source("rmb"), {}
    places = (
        "Helpfulness/Brainstorming/Idea Development",
        "Helpfulness/Code/Code Creation",
        "Harmlessness/S1",
        "Harmlessness/multi",
    )
    for place in places:
        pairs, lists = [], []
        for i in range(6):
            item = source.problem(_tasks(place))
            turns = [_turn("user", item.prompt)]
            # A conversation: another problem, solved, comes first.
            if i % 3 == 2:
                before, solved, _ = source.pair()
                turns = [_turn("user", before), _turn("assistant", solved), *turns]
            best = _answer(source.response(item, True))
            losers = [_answer(source.response(item, False, k)) for k in range(2 + i % 3)]
            if i < 3:
                pairs.append(
                    {
                        "pair_uid": f"{place}-{i}",
                        "conversation_input": turns,
                        "category_path": f"Pairwise_set/{place}",
                        "chosen": best,
                        "reject": losers[0],
                    }
                )
            else:
                lists.append(
                    {
                        "bon_uid": f"{place}-{i}",
                        "conversation_input": turns,
                        "category_path": f"BoN_set/{place}",
                        "bon_best": best,
                        "loser_list": losers,
                    }
                )
        files[f"rmb/RMB_dataset/Pairwise_set/{place}.json"] = pairs
        files[f"rmb/RMB_dataset/BoN_set/{place}.json"] = lists
    return files


def _turn(role: str, content: str) -> Record:
    return {"role": role, "content": content, "language": "English"}


def _answer(text: str) -> Record:
    return {"llm_name": "writer", "answer": text}


def _rm_bench() -> dict[str, list[Record]]:
    source, rows = Source("rm_bench"), []
    for domain in ("chat", "code", "math", "safety-refuse", "safety-response"):
        for i in range(4):
            item = source.problem(_tasks(domain))
            rows.append(
                {
                    "id": f"{domain}/{i}",
                    "prompt": item.prompt,
                    "chosen": source.styled(item, True),
                    "rejected": source.styled(item, False),
                    "domain": domain,
                }
            )
    return {"rm_bench/total_dataset.json": rows}


def _judgebench() -> dict[str, list[Record]]:
    source, files = Source("judgebench"), {}
    for model, per_category in (("gpt-4o-2024-05-13", 6), ("claude-3-5-sonnet-20240620", 2)):
        rows = []
        for category, prefix in judgebench.PREFIXES.items():
            for i in range(per_category):
                question, right, wrong = source.pair(_tasks(category))
                label, first, second = "A>B", right, wrong
                # Both labels occur: the rule treats equal rewards differently under them.
                if i % 2:
                    label, first, second = "B>A", wrong, right
                rows.append(
                    {
                        "pair_id": f"{model[:3]}-{len(rows)}",
                        "original_id": i,
                        "source": f"{prefix}-miniature",
                        "question": question,
                        "response_model": model,
                        "response_A": first,
                        "response_B": second,
                        "label": label,
                    }
                )
        files[f"judgebench/data/dataset=judgebench,response_model={model}.jsonl"] = rows
    return files


def _llmbar() -> dict[str, list[Record]]:
    source, files = Source("llmbar"), {}
    for name in llmbar.SUBSETS:
        rows = []
        for i in range(4):
            question, right, wrong = source.pair()
            label, first, second = 1, right, wrong
            if i % 2:
                label, first, second = 2, wrong, right
            rows.append({"input": question, "output_1": first, "output_2": second, "label": label})
        files[f"llmbar/{name}.json"] = rows
    return files


MAKERS = (
    _rewardbench,
    _rewardbench2,
    _ppe_preference,
    _ppe_correctness,
    _rmb,
    _rm_bench,
    _judgebench,
    _llmbar,
)


def files() -> dict[str, list[Record]]:
    """The records of every file, by its path below assets/benchmarks/."""
    by_path: dict[str, list[Record]] = {}
    for make in MAKERS:
        by_path |= make()
    return by_path


def write(folder: pathlib.Path) -> None:
    """Write all of them below `folder`."""
    for path, rows in files().items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(rows), file, compression="zstd")
        elif path.endswith(".jsonl"):
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            file.write_text("".join(lines), encoding="utf-8")
        else:
            file.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


@errors.one_line("rewardjax.tools.write_miniatures")
def main() -> None:
    """Run the command."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.tools.write_miniatures",
        description="Write the miniature benchmarks.",
    )
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path(assets.__file__).parent / "benchmarks"
    )
    write(parser.parse_args().output)


if __name__ == "__main__":
    main()
