"""Data sets of other places than reward-model trainers: chat logs, judges, exports of forms.

Each has the fields and types of its card or file, with texts of our own. The list is the table in
docs/data_sets.md.
"""

import csv
import json
import pathlib
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewardjax import check
from rewardjax.data import formats, sources
from rewardjax.data.groups import Group, Pair
from rewardjax.data.groups import check as check_group

DOCS = pathlib.Path(__file__).parents[3] / "docs" / "data_sets.md"

Q, GOOD, BAD = "Which floats, a cork or a coin?", "A cork floats.", "A coin floats."
TIE = Pair(0, 1, target=0.5, tie=True)


def user(text, **more):
    return {"role": "user", "content": text} | more


def bot(text, **more):
    return {"role": "assistant", "content": text} | more


class DataSet(NamedTuple):
    """A public data set: where its fields are from, and how its records are read.

    pairs: of each record, with the responses GOOD and BAD in this order. prompt: contents of the
    prompt's messages. refused: the words of the message, for those that are not read. flags: what
    has to be said with data.columns and data.labels.
    """

    name: str
    source: str
    layout: str
    how: str
    records: list[dict[str, Any]]
    pairs: list[list[Pair]] = []
    prompt: list[str] = [Q]
    refused: str | None = None
    columns: dict[str, str] = {}
    labels: dict[Any, str] = {}


def mt_bench(turn, winner="model_a"):
    sides = {}
    for name, text in (("conversation_a", GOOD), ("conversation_b", BAD)):
        sides[name] = [user(Q), bot(text), user("Why?"), bot(f"{text} It is light.")]
    ids = {"question_id": 81, "model_a": "m", "model_b": "n", "winner": winner, "judge": "expert_0"}
    return ids | sides | {"turn": turn}


def alpaca_farm(preference):
    record = {"instruction": "Decide.", "input": Q, "output_1": GOOD, "output_2": BAD}
    return record | {"preference": preference, "raw_preference": 4}


def orca(status):
    record = {"system": "Be brief.", "input": Q, "chosen": GOOD, "rejected": BAD}
    judged = {"generations": [BAD, GOOD], "order": ["rejected", "chosen"], "rating": [3.0, 9.0]}
    judged |= {"labelling_model": "m", "raw_labelling_response": "x", "rationale": "r"}
    return record | judged | {"status": status, "chosen_score": 9.0, "in_gsm8k_train": False}


PANDALM = {"instruction": "Decide.", "input": Q, "response1": GOOD, "response2": BAD} | {
    "annotator1": 2,
    "annotator2": 0,
    "annotator3": 2,
    "cmp_key": "m_n",
    "reference_response": "",
}
PREFERENCE_COLLECTION = {
    "orig_instruction": Q,
    "orig_response_A": GOOD,
    "orig_response_B": BAD,
    "orig_preference": "B",
    "orig_score_A": "3",
    "orig_score_B": "5",
    "orig_criteria": "Is it right?",
    "instruction": f"### Task: judge. {Q}",
    "output": "Feedback: B is worse. [RESULT] B",
}
CAPYBARA = {
    "source": "x",
    "conversation": [{"input": "Hello?", "output": "Hi."}, {"input": Q, "output": "A stone."}],
    "original_response": "A stone.",
    "generation_prompt": ["..."],
    "chosen": [user("Hello?"), bot("Hi."), user(Q), bot(GOOD)],
    "rejected": [user("Hello?"), bot("Hi."), user(Q), bot(BAD)],
    "rating_chosen": 5,
    "rating_rejected": 4,
}
WILDCHAT = {
    "conversation_hash": "h",
    "model": "m",
    "conversation": [
        user(Q, country="x", header={"user-agent": "y"}, redacted=False, turn_identifier=1),
        bot(GOOD, country=None, redacted=False, turn_identifier=1),
    ],
    "turn": 1,
    "openai_moderation": [{"flagged": False}],
    "toxic": False,
    "hashed_ip": "h",
}
OPENAI = {
    "input": {
        "messages": [{"role": "system", "content": "Be brief."}, user(Q)],
        "tools": [{"type": "function", "function": {"name": "density"}}],
        "parallel_tool_calls": True,
    },
    "preferred_output": [bot(GOOD)],
    "non_preferred_output": [bot(BAD)],
}
PRM800K = {
    "labeler": "l",
    "question": {"problem": Q, "ground_truth_solution": GOOD, "ground_truth_answer": "cork"},
    "label": {
        "steps": [{"completions": [{"text": GOOD, "rating": 1}], "chosen_completion": 0}],
        "finish_reason": "solution",
    },
}
LABEL_STUDIO_ANSWERS = [{"result": [{"type": "pairwise", "value": {"selected": "left"}}]}]

SETS = [
    DataSet(
        "MT-Bench human judgments",
        "card of lmsys/mt_bench_human_judgments; turn: "
        "argilla-io/distilabel:examples/benchmark_preference_tasks.py",
        "Chatbot Arena conversations",
        "each conversation up to its answer number `turn`; `tie (inconsistent)` is a tie",
        [mt_bench(1), mt_bench(1, "model_b"), mt_bench(1, "tie (inconsistent)")],
        [[Pair(0, 1)], [Pair(1, 0)], [TIE]],
    ),
    DataSet(
        "AlpacaFarm preferences",
        "hub, tatsu-lab/alpaca_farm:alpaca_farm.py",
        "two responses and a verdict",
        "`preference` is 1 or 2, the number of the output; `input` is part of the prompt",
        [alpaca_farm(2), alpaca_farm(1)],
        [[Pair(1, 0)], [Pair(0, 1)]],
        [f"Decide.\n{Q}"],
    ),
    DataSet(
        "PandaLM test set, as it is",
        "WeOpenML/PandaLM:data/compute_metrics.py",
        "refused",
        "numbers with a 0 among them: one line asks for `data.labels`",
        [PANDALM],
        refused=r"annotator1 = 2: which response is that\?.*data\.labels=",
    ),
    DataSet(
        "PandaLM test set, labels named",
        "WeOpenML/PandaLM:data/compute_metrics.py",
        "two responses and a verdict",
        "`data.labels={0: tie, 1: first, 2: second}`; the target is the share of three votes",
        [PANDALM],
        [[Pair(1, 0, target=1 - 0.5 / 3)]],
        [f"Decide.\n{Q}"],
        labels={0: "tie", 1: "first", 2: "second"},
    ),
    DataSet(
        "Preference Collection (Prometheus 2)",
        "pathcosmos/EVAFRILL-Mo:data/prepare_preference_combined.py",
        "two responses and a verdict",
        "`data.columns` names the `orig_` columns; unnamed, a judge's prompt and verdict are one "
        "conversation without a pair",
        [PREFERENCE_COLLECTION],
        [[Pair(1, 0)]],
        columns={
            "prompt": "orig_instruction",
            "response_a": "orig_response_A",
            "response_b": "orig_response_B",
            "winner": "orig_preference",
            "instruction": "",
        },
    ),
    DataSet(
        "UltraInteract pairs",
        "card of openbmb/UltraInteract_pair",
        "pairs of texts",
        "`trajectory` is the prompt, all of its turns",
        [
            {
                "task": "Math",
                "dataset": "d",
                "trajectory": [
                    {"from": "user", "value": "Hello?"},
                    {"from": "assistant", "value": "Hi."},
                    {"from": "user", "value": Q},
                ],
                "chosen": GOOD,
                "rejected": BAD,
                "id": "1",
                "parent_id": "0",
            }
        ],
        [[Pair(0, 1)]],
        ["Hello?", "Hi.", Q],
    ),
    DataSet(
        "CodeUltraFeedback",
        "card of coseal/CodeUltraFeedback",
        "CodeUltraFeedback",
        "`annotations` rate the responses of the same model; `preference` names the aspect",
        [
            {
                "instruction": Q,
                "preference": "code-readability",
                "models": ["m", "n"],
                "responses": [{"model": "m", "response": GOOD}, {"model": "n", "response": BAD}],
                "annotations": [
                    {"model": "n", "rating": "2", "rationale": "r"},
                    {"model": "m", "rating": "5", "rationale": "r"},
                ],
            }
        ],
        [[Pair(0, 1, margin=3.0)]],
    ),
    DataSet(
        "Math-Step-DPO-10K",
        "dvlab-research/Step-DPO:train.py",
        "pairs of texts",
        "both responses begin with `initial_reason_steps`",
        [
            {
                "dataset": "d",
                "prompt": Q,
                "initial_reason_steps": "",
                "chosen": GOOD,
                "rejected": BAD,
                "full_chosen": GOOD,
                "full_rejected": BAD,
                "answer": "cork",
            }
        ],
        [[Pair(0, 1)]],
    ),
    DataSet(
        "PRM800K",
        "openai/prm800k:README.md",
        "refused",
        "labels of single steps: one line says what to write instead",
        [PRM800K],
        refused=r"labels of single steps \(PRM800K\)",
    ),
    DataSet(
        "OpenAI preference fine-tuning",
        "OpenAI guide to direct preference optimization; Fireworks docs dpo-fine-tuning",
        "OpenAI preference pairs",
        "`input.messages` is the prompt, with `input.tools`",
        [OPENAI],
        [[Pair(0, 1)]],
        ["Be brief.", Q],
    ),
    DataSet(
        "Intel Orca pairs, judged again",
        "HandsOnLLM/Hands-On-Large-Language-Models chapter12 (status, chosen_score)",
        "pairs of texts",
        "`system` and `input` are the prompt; `status: tie` is a tie",
        [orca("unchanged"), orca("swapped"), orca("tie")],
        [[Pair(0, 1)], [Pair(0, 1)], [TIE]],
        ["Be brief.", Q],
    ),
    DataSet(
        "Capybara DPO",
        "dataset_config.yml of lilacai/distilabel-capybara-dpo-7k-binarized",
        "TRL conversational pairs",
        "`conversation` repeats the prompt; the answer at its end is not compared",
        [CAPYBARA],
        [[Pair(0, 1, margin=1.0)]],
        ["Hello?", "Hi.", Q],
    ),
    DataSet(
        "WildChat-1M",
        "card of allenai/WildChat-1M",
        "conversations",
        "a conversation to be scored; its last turn is the response",
        [WILDCHAT],
        [[]],
    ),
    DataSet(
        "Auto-J pairwise",
        "prometheus-eval/prometheus-eval:eval/benchmark/data_loader.py",
        "two responses and a verdict",
        "`data.columns={response_1: response 1, response_2: response 2}`, "
        "`data.labels={0: first, 1: second, 2: tie}`; asked for where they are not said",
        [
            {"prompt": Q, "response 1": GOOD, "response 2": BAD, "label": 1},
            {"prompt": Q, "response 1": GOOD, "response 2": BAD, "label": 2},
        ],
        [[Pair(1, 0)], [TIE]],
        columns={"response_1": "response 1", "response_2": "response 2"},
        labels={0: "first", 1: "second", 2: "tie"},
    ),
    DataSet(
        "CValues-Comparison (Chinese)",
        "card of mxz/CValues",
        "pairs of texts",
        "`pos_resp` over `neg_resp`",
        [{"prompt": Q, "pos_resp": GOOD, "neg_resp": BAD, "pos_type": "x", "neg_type": "y"}],
        [[Pair(0, 1)]],
    ),
    DataSet(
        "Stack Exchange preferences",
        "michaelnny/InstructLLaMA:instruct_llama/build_rm_comparison_datasets.py",
        "responses of one prompt",
        "`pm_score` of each answer is its score",
        [
            {
                "qid": 1,
                "question": Q,
                "answers": [
                    {"answer_id": 1, "author": "x", "pm_score": 3, "selected": True, "text": GOOD},
                    {"answer_id": 2, "author": "y", "pm_score": 0, "selected": False, "text": BAD},
                ],
                "date": "2014/11/18",
                "metadata": ["u"],
            }
        ],
        [[Pair(0, 1, margin=3.0)]],
    ),
    DataSet(
        "Argilla rankings",
        "card of nataliaElv/oasst_response_comparison",
        "Argilla rankings",
        "the mean rank of the submitted answers; suggestions and drafts are not used",
        [
            {
                "prompt": Q,
                "reply_1": GOOD,
                "reply_2": BAD,
                "reply-ranking": [
                    {
                        "user_id": "u",
                        "value": {"rank": [2, 1], "value": ["reply_1", "reply_2"]},
                        "status": "submitted",
                    },
                    {
                        "user_id": "v",
                        "value": {"rank": [1, 2], "value": ["reply_1", "reply_2"]},
                        "status": "discarded",
                    },
                ],
                "reply-ranking-suggestion": None,
                "external_id": None,
                "metadata": "{}",
            }
        ],
        [[Pair(1, 0)]],
    ),
    DataSet(
        "Label Studio, full export",
        "modelscope/data-juicer:tests/ops/mapper/annotation/"
        "test_human_preference_annotation_mapper.py",
        "refused",
        "which text is `left` is not in the file: one line says how to export",
        [
            {
                "id": 1,
                "data": {"prompt": Q, "answer1": GOOD, "answer2": BAD},
                "annotations": LABEL_STUDIO_ANSWERS,
            }
        ],
        refused="tasks of Label Studio: .* export JSON-MIN",
    ),
    DataSet(
        "Label Studio, JSON-MIN",
        "modelscope/data-juicer, human_preference_annotation_mapper (keys)",
        "two responses and a verdict",
        "`data.columns={winner: comparison}`, `data.labels={left: first, right: second}`",
        [{"id": 1, "prompt": Q, "answer1": GOOD, "answer2": BAD, "comparison": "right"}],
        [[Pair(1, 0)]],
        columns={"winner": "comparison"},
        labels={"left": "first", "right": "second"},
    ),
]


def read(data_set: DataSet) -> list[Group]:
    """The groups of a data set's records, as one file of them is read."""
    source = _Records(data_set.records)
    groups = formats.groups_of(source, data_set.columns, data_set.labels)
    return [check_group(group)[0] for _, _, group in groups]


class _Records(list):
    name = "records"


NAMES = [data_set.name for data_set in SETS]


@pytest.mark.parametrize("data_set", SETS, ids=NAMES)
def test_a_public_data_set(data_set):
    if data_set.refused is not None:
        with pytest.raises(ValueError, match=data_set.refused):
            read(data_set)
        return
    groups = read(data_set)
    (reading,) = formats.readings(_Records(data_set.records), data_set.columns, data_set.labels)
    assert reading.layouts == (data_set.layout,)
    assert [group.pairs for group in groups] == data_set.pairs
    for group in groups:
        assert [message["content"] for message in group.prompt] == data_set.prompt
        responses = [[message["content"] for message in response] for response in group.responses]
        assert responses == [[GOOD], [BAD]][: len(group.responses)]


def test_the_documented_table_is_this_list():
    rows = [
        f"| {data_set.name} | {data_set.source} | {data_set.layout} | {data_set.how} |"
        for data_set in SETS
    ]
    table = [line for line in DOCS.read_text().splitlines() if line.startswith("|")]
    start = table.index("| data set | source of the shape | layout | how it is read |")
    assert table[start + 2 : start + 2 + len(rows)] == rows


def test_check_says_how_each_is_read(tmp_path, capsys):
    for number, data_set in enumerate(SETS):
        path = tmp_path / f"{number}.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in data_set.records))
        flags = ["--columns", json.dumps(data_set.columns), "--labels", json.dumps(data_set.labels)]
        if data_set.refused is not None:
            with pytest.raises(SystemExit):
                check.main([str(path), *flags])
            assert capsys.readouterr().err.count("\n") == 1
            continue
        check.main([str(path), *flags])
        text = capsys.readouterr().out
        assert text.startswith(f"{number}.jsonl: {data_set.layout}")


# ------------------------------------------------------------------ one kind of fault at a time


def one(record, **names):
    return read(DataSet("", "", "", "", [record], **names))[0]


def test_a_verdict_of_the_second_turn_is_of_the_whole_conversation():
    group = one(mt_bench(2))
    texts = [message["content"] for message in group.responses[1]]
    assert texts == [BAD, "Why?", f"{BAD} It is light."]
    # A table of texts, or one with a missing value, spells the number differently.
    assert one(mt_bench("2")) == one(mt_bench(2.0)) == group
    with pytest.raises(ValueError, match="turn = 0, and the conversation has 2 answers"):
        one(mt_bench(0))


def test_steps_that_both_responses_begin_with_are_part_of_them():
    record = {"prompt": Q, "chosen": " cork.", "rejected": " coin."}
    group = one(record | {"initial_reason_steps": "Wood is light.\nStep 2: The"})
    assert group.responses[0] == [bot("Wood is light.\nStep 2: The cork.")]
    assert group.responses[1] == [bot("Wood is light.\nStep 2: The coin.")]
    for name in ("prefix", "prefill", "chat_history", "dialogue", "passage"):
        with pytest.raises(ValueError, match=f"`{name}` may be part of the prompt"):
            one(record | {name: "Wood is light."})


@pytest.mark.parametrize(
    "answers",
    [
        {"output": GOOD},
        {"chosen": GOOD, "rejected": BAD},
        {"chosen": [bot(GOOD)], "rejected": [bot(BAD)]},
        {"responses": [GOOD, BAD], "scores": [1, 0]},
        {"response_a": GOOD, "response_b": BAD, "winner": "model_a"},
    ],
    ids=lambda answers: "+".join(answers),
)
def test_a_conversation_that_ends_with_the_response_is_not_answered_twice(answers):
    whole = {"messages": [user(Q), bot(GOOD)]}
    group = one(whole | answers)
    assert group.prompt == [user(Q)] and group.responses[0] == [bot(GOOD)]
    # Another answer is no part of the question.
    with pytest.raises(ValueError, match="the prompt ends with an answer, 'A stone.', and the"):
        one({"messages": [user(Q), bot("A stone.")]} | answers)


def test_a_conversation_beside_the_prompt_must_repeat_it():
    pair = {"prompt": Q, "chosen": GOOD, "rejected": BAD}
    for column in ([user(Q)], [user(Q), bot("A stone.")], Q, [{"said": Q}]):
        assert one(pair | {"conversation": column}) == one(pair)
    for column in ([user("Hello?")], [user(Q), bot("So?"), user("Why?")], "So?", [{"said": "So?"}]):
        with pytest.raises(ValueError, match="`conversation` may be part of the prompt"):
            one(pair | {"conversation": column})


def test_tools_of_a_request_are_the_conversations():
    assert one(OPENAI).tools == OPENAI["input"]["tools"]
    assert one(OPENAI | {"input": json.dumps(OPENAI["input"])}) == one(OPENAI)
    # The shorter form of the same: a list in place of the request.
    short = one(OPENAI | {"input": OPENAI["input"]["messages"]})
    assert (short.prompt, short.responses) == (one(OPENAI).prompt, one(OPENAI).responses)


def test_ratings_of_models_that_are_not_there_are_refused():
    (record,) = next(data_set for data_set in SETS if data_set.name == "CodeUltraFeedback").records
    lacking = record | {"annotations": record["annotations"][:1]}
    with pytest.raises(ValueError, match="annotations are of the models"):
        one(lacking)


def test_the_ranks_of_several_people_are_averaged_and_must_be_of_the_same_responses():
    (record,) = next(data_set for data_set in SETS if data_set.name == "Argilla rankings").records

    def ranked(*rankings):
        answers = []
        for ranking in rankings:
            places = [{"rank": rank, "value": name} for name, rank in ranking.items()]
            answers.append({"user_id": "u", "value": places, "status": "submitted"})
        return one(record | {"reply-ranking": answers})

    one_way, other_way = {"reply_1": 1, "reply_2": 2}, {"reply_1": 2, "reply_2": 1}
    assert ranked(one_way, one_way, other_way).pairs == [Pair(0, 1)]
    assert ranked(one_way, other_way).pairs == [TIE]
    with pytest.raises(ValueError, match="reply-ranking ranks .'reply_1'., the columns are"):
        ranked(one_way, {"reply_1": 1})


def test_a_sequence_of_messages_that_is_stored_by_columns():
    turns = {"role": ["user", "assistant"], "content": [Q, GOOD]}
    assert one({"messages": turns}) == one({"messages": [user(Q), bot(GOOD)]})
    answers = {"chosen": {"role": ["assistant"], "content": [GOOD]}}
    answers |= {"rejected": {"role": ["assistant"], "content": [BAD]}}
    assert one({"prompt": Q} | answers).responses == [[bot(GOOD)], [bot(BAD)]]


def test_columns_that_are_spelled_otherwise_are_named_in_the_message():
    with pytest.raises(ValueError, match=r"data.columns=\{prompt: Prompt, chosen: Chosen\}"):
        one({"Prompt": Q, "Chosen": GOOD, "Worse": BAD})
    with pytest.raises(ValueError, match=r"\{response_1: response 1, response_2: response 2\}"):
        one({"prompt": Q, "response 1": GOOD, "response 2": BAD, "label": 0})  # Auto-J
    # A list of turns is a likelier prompt than a text.
    turns = [{"speaker": "a", "text": Q}]
    with pytest.raises(ValueError, match=r"data.columns=\{prompt: talk\}"):
        one({"kind": "x", "talk": turns, "chosen": GOOD, "rejected": BAD})


# ------------------------------------------------------------------ one data set, several files

# Records of one layout in every kind of file; a table has one type per column.
IN_FILES = {
    "pairs": [
        {"prompt": Q, "chosen": GOOD, "rejected": BAD, "margin": 2.5, "system": "Be brief."},
        {"prompt": "7 + 1?", "chosen": "8", "rejected": "9", "margin": -1.0, "system": None},
    ],
    "conversations with tools": [
        {
            "prompt": [user(Q)],
            "chosen": [bot("", tool_calls=[{"function": {"name": "f", "arguments": {"x": 1}}}])],
            "rejected": [bot(BAD)],
            "tools": json.dumps([{"type": "function", "function": {"name": "f"}}]),
        }
    ],
    "sharegpt": [
        {
            "conversations": [{"from": "human", "value": Q}],
            "chosen": {"from": "gpt", "value": GOOD},
            "rejected": {"from": "gpt", "value": BAD},
        }
    ],
    "verdicts": [
        {"prompt": Q, "response_1": GOOD, "response_2": BAD, "label": 2},
        {"prompt": Q, "response_1": GOOD, "response_2": BAD, "label": 1},
    ],
    "strengths": [{"prompt": Q, "response_1": GOOD, "response_2": BAD, "preference_strength": -3}],
    "arena": [mt_bench(1), mt_bench(2, "tie (bothbad)")],
    "one-hot winners": [
        {"prompt": json.dumps([Q]), "response_a": json.dumps([GOOD])}
        | {"response_b": json.dumps([BAD]), "winner_model_a": 0}
        | {"winner_model_b": 1, "winner_tie": 0}
    ],
    "scores": [{"prompt": Q, "responses": [GOOD, BAD, "8"], "scores": [1.0, 0.5, 0.5]}],
    "correctness": [{"prompt": Q, "responses": [GOOD, BAD], "correct": [True, False]}],
    "answers with ranks": [
        {
            "prompt": f"\n\nHuman: {Q}\n\nAssistant: ",
            "answers": [{"answer": GOOD, "rank": 1}, {"answer": BAD, "rank": 2}],
        }
    ],
    "ultrafeedback": [
        {
            "instruction": Q,
            "completions": [
                {"response": text, "annotations": {"honesty": {"Rating": rating}}}
                for text, rating in ((GOOD, "4"), (BAD, "2"))
            ],
        }
    ],
    "webgpt": [
        {"question": {"dataset": "eli5", "full_text": Q}, "answer_0": GOOD, "answer_1": BAD}
        | {"score_0": 1.0, "score_1": -1.0}
    ],
    "summaries": [{"info": {"post": Q}, "summaries": [{"text": GOOD}, {"text": BAD}], "choice": 1}],
    "history": [
        {"history": [["Hello?", "Hi."]], "instruction": "Decide.", "input": Q}
        | {"chosen": GOOD, "rejected": BAD, "tie": False}
    ],
    "shp": [{"history": Q, "human_ref_A": GOOD, "human_ref_B": BAD, "labels": 0}],
}


def write_file(path: pathlib.Path, records: list[dict]) -> pathlib.Path:
    """The records in the kind of file that the path's suffix names."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif path.suffix == ".json":
        path.write_text(json.dumps(records, indent=1))
    elif path.suffix in (".csv", ".tsv"):
        delimiter = {".csv": ",", ".tsv": "\t"}[path.suffix]
        with path.open("w", newline="") as file:
            rows = csv.writer(file, delimiter=delimiter)
            rows.writerow(records[0])
            for record in records:
                rows.writerow([cell(value) for value in record.values()])
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        table = pa.Table.from_pylist(records)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as batches:
            batches.write_table(table)
    return path


def cell(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return value


@pytest.mark.parametrize("layout", IN_FILES)
def test_the_same_data_are_the_same_groups_from_every_kind_of_file(layout, tmp_path):
    by_suffix = {}
    for suffix in (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow"):
        source = sources.open_source(write_file(tmp_path / f"data{suffix}", IN_FILES[layout]))
        groups = [group for _, _, group in formats.groups_of(source)]
        by_suffix[suffix] = [check_group(group)[0] for group in groups]
    for suffix, groups in by_suffix.items():
        assert groups == by_suffix[".jsonl"], suffix


def test_lists_as_python_prints_them_in_a_cell(tmp_path):
    record = IN_FILES["correctness"][0]
    path = tmp_path / "data.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(record)
        rows.writerow([str(value) for value in record.values()])
    (group,) = [group for _, _, group in formats.groups_of(sources.open_source(path))]
    assert group.correct == [True, False] and group.pairs == [Pair(0, 1)]
