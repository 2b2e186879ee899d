"""The section of mistakes shows texts with rewards, and only ids of what must not be shown."""

from evaluations import Drawn, evaluation, result

from rewardjax.evaluators.page import mistake_section

ROW = {
    "id": "7",
    "subset": "Math",
    "better": 0,
    "worse": 2,
    "better_reward": -1.0,
    "worse_reward": 2.0,
}


def test_mistakes_have_their_category_id_and_rewards():
    texts = {"prompt": "p", "chosen": "c", "rejected": "r"}
    secret = {**ROW, "id": "8", "subset": "GPQA", **dict.fromkeys(texts)}
    model = evaluation(results={"set": result("pairs", 0.5, 2, 2)})
    model.mistakes["set"] = [{**ROW, **texts}, secret]
    section = mistake_section.mistakes(model, Drawn())
    [(title, [shown])] = section.examples.items()
    assert title == "title of set: set"
    assert (shown["chosen_reward"], shown["rejected_reward"]) == (-1.0, 2.0)
    assert shown["note"] == "Math: 7, responses 0 and 2"
    [[hidden]] = section.tables.values()
    assert hidden["id"] == "8" and hidden["category"] == "GPQA"


def test_without_mistakes_there_is_no_section():
    assert mistake_section.mistakes(evaluation(), Drawn()) is None
