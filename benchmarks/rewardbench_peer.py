"""The peer's side of rewardbench_parity: random tables in, what the `rewardbench` package's own
functions make of them out, as JSON.

Run by an interpreter that has the package; it imports nothing of rewardjax. The package's `utils`
pulls in model libraries that the pure functions never call: empty modules stand in for them.
"""

import importlib.util
import json
import sys
import types
import warnings
from importlib import metadata

NEVER_CALLED = {
    "torch": ["float16", "bfloat16", "float32", "float64", "dtype"],
    "transformers": ["PreTrainedTokenizer"],
    "fastchat": [],
    "fastchat.conversation": ["Conversation"],
    "rewardbench": [],
    "rewardbench.models": ["REWARD_MODEL_CONFIG"],
}


def load_package() -> tuple[types.ModuleType, types.ModuleType]:
    """The installed package's `utils` and `constants`, unchanged."""
    for name, attributes in NEVER_CALLED.items():
        module = types.ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, type(attribute, (), {}))
        sys.modules[name] = module
    loaded = []
    for name in ("utils", "constants"):
        path = next(
            file
            for file in metadata.files("rewardbench") or []
            if file.as_posix() == f"rewardbench/{name}.py"
        ).locate()
        spec = importlib.util.spec_from_file_location(f"rewardbench_{name}", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        loaded.append(module)
    for name in NEVER_CALLED:
        del sys.modules[name]  # or `datasets` takes them for the real ones
    return loaded[0], loaded[1]


def main() -> None:
    warnings.simplefilter("ignore")
    from datasets import (
        Dataset,
        disable_progress_bars,
    )  # before the stand-ins, which it would ask for their versions

    disable_progress_bars()
    utils, constants = load_package()
    tables = json.load(open(sys.argv[1]))
    sections = lambda metrics: utils.calculate_scores_per_section(
        constants.EXAMPLE_COUNTS, constants.SUBSET_MAPPING, metrics
    )
    results = {
        "version": metadata.version("rewardbench"),
        "sections": [],
        "pairs": [],
        "best": [],
        "ties": [],
    }
    results["sections"] = [sections(metrics) for metrics in tables["sections"]]
    for table in tables["pairs"]:
        accuracy = {
            subset: sum(int(c > r) for c, r in pairs) / len(pairs)
            for subset, pairs in table.items()
        }
        results["pairs"].append(sections(accuracy))
    for groups in tables["best"]:
        flat = [score for scores in groups for score in scores]
        dataset = Dataset.from_dict({"text": [str(i) for i in range(len(flat))], "scores": flat})
        results["best"].append(
            list(
                utils.reroll_and_score_dataset(dataset, [len(scores) for scores in groups])[
                    "results"
                ]
            )
        )
    for questions in tables["ties"]:
        results["ties"].append(float(utils.process_single_model(Dataset.from_list(questions))[1]))
    json.dump(results, open(sys.argv[2], "w"))


if __name__ == "__main__":
    main()
