"""Public data sets of repositories that train reward models, a few rows of each.

Fields and types are those of the named file, card or documentation; the texts are ours. The list is
the table of docs/data_sets.md.
"""

import json
from typing import Any, NamedTuple

from rewardjax.data.groups import Message, Pair

Q, GOOD, BAD = "Which floats, a cork or a coin?", "A cork floats.", "A coin floats."


class TrainingSet(NamedTuple):
    """A public data set: where its fields are from, and how its records are read.

    groups: of each record that is read the contents of its prompt, of its responses, and its pairs.
    refused: the words of the message, where none is read. columns, labels: what has to be said.
    """

    name: str
    source: str
    layout: str
    how: str
    records: list[dict[str, Any]]
    groups: list[tuple[list[str], list[str], list[Pair]]] = []
    refused: str | None = None
    columns: dict[str, str] = {}
    labels: dict[str, str] = {}


FIRST = [([Q], [GOOD, BAD], [Pair(0, 1)])]
SECOND = [([Q], [GOOD, BAD], [Pair(1, 0)])]
UNLABELED = [([Q], [GOOD], [])]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def bot(text: str) -> Message:
    return {"role": "assistant", "content": text}


def colossal(speaker: str, text: str) -> dict[str, str]:
    return {"from": speaker, "content": text}


def oasst(name: str, parent: str | None, role: str, text: str, rank: int | None) -> dict[str, Any]:
    """A row as datasets prints it: what the export holds by name is a list there."""
    row = {"message_id": name, "parent_id": parent, "user_id": "u", "created_date": "2023-02-09"}
    row |= {"text": text, "role": role, "lang": "en", "review_count": 3, "review_result": True}
    row |= {"deleted": False, "rank": rank, "synthetic": False, "model_name": None}
    row |= {"detoxify": None, "message_tree_id": "q", "tree_state": "ready_for_export"}
    row |= {"emojis": {"name": ["+1"], "count": [2]}}
    return row | {"labels": {"name": ["quality"], "value": [0.75], "count": [3]}}


OASST_ROWS = [
    oasst("q", None, "prompter", Q, None),
    oasst("a", "q", "assistant", GOOD, 0),
    oasst("why", "a", "prompter", "Why?", None),
    oasst("light", "why", "assistant", "It is light.", 1),
    oasst("air", "why", "assistant", "It holds air.", 0),
    oasst("b", "q", "assistant", BAD, 1),
]
OASST = [
    ([Q], [GOOD, BAD], [Pair(0, 1)]),
    ([Q, GOOD, "Why?"], ["It is light.", "It holds air."], [Pair(1, 0)]),
]


def nested(name: str) -> dict[str, Any]:
    """The message of that name with its replies inside."""
    names = ("message_id", "text", "role", "lang", "rank")
    (row,) = (row for row in OASST_ROWS if row["message_id"] == name)
    replies = [nested(reply["message_id"]) for reply in OASST_ROWS if reply["parent_id"] == name]
    return {key: row[key] for key in names} | {"replies": replies}


def candidate(text: str, bleu: float) -> dict[str, Any]:
    scores = {"logprobs": -0.02, "bleu": bleu, "bertscore": 0.75, "rouge1": 0.28}
    return {"decoding_method": "top_p_sampling", "model": "m", "text": text, "scores": scores}


MIX_INSTRUCT = {
    "id": "unified_chip2/1",
    "instruction": "",
    "input": Q,
    "output": "Corks do.",
    "candidates": [candidate(GOOD, 5.5), candidate(BAD, 3.0)],
}
ALIGN_ANYTHING = {"question": Q, "response_1": GOOD, "response_2": BAD}
GRADED = {"prompt": Q, "answers": [GOOD, BAD, BAD], "labels": [1, 0, 0]}
TORCHTUNE = {
    "chosen_conversations": [user(Q), bot(GOOD)],
    "rejected_conversations": [user(Q), bot(BAD)],
}
HH_STRENGTH = {
    "chosen": ["Hi", "Hello", Q, GOOD],
    "rejected": ["Hi", "Hello", Q, BAD],
    "GPT4 label": 1,
    "mean preference difference": -0.5,
    "std preference difference": 1.25,
    "chosen score list": [0.5, 1.0],
    "rejected score list": [1.0, 1.5],
}
EMOJI = {"question": Q, "answer_zh": GOOD, "answer_en": BAD}
CALL = {"role": "tool_call", "content": json.dumps({"name": "dip", "arguments": {"what": "cork"}})}

SETS = [
    TrainingSet(
        "rm-static, full-hh-rlhf",
        "deepspeedai/DeepSpeedExamples:dschat/utils/data/raw_datasets.py",
        "pairs of texts",
        "the prompt is a transcript that ends with an empty `Assistant:` turn",
        [{"prompt": f"\n\nHuman: {Q}\n\nAssistant:", "chosen": GOOD, "rejected": BAD}],
        FIRST,
    ),
    TrainingSet(
        "rlhf-reward-datasets",
        "deepspeedai/DeepSpeedExamples:dschat/utils/data/raw_datasets.py",
        "pairs of texts",
        "`Assistant:` before a response is the label of its turn and not part of it",
        [
            {
                "prompt": f"\n\nHuman: {Q}\n\n",
                "chosen": f"Assistant: {GOOD}",
                "rejected": f"Assistant: {BAD}",
            }
        ],
        FIRST,
    ),
    TrainingSet(
        "openai_summarize_comparisons",
        "CarperAI/trlx:examples/summarize_rlhf/reward_model/train_reward_model_gptj.py",
        "pairs of texts",
        "the post is the prompt",
        [{"prompt": Q, "chosen": GOOD, "rejected": BAD}],
        FIRST,
    ),
    TrainingSet(
        "orca_dpo_pairs",
        "InternLM/xtuner:docs/zh_cn/legacy/reward_model/preference_data.md",
        "pairs of texts",
        "`system` and `question` are the prompt; an empty `system` is none",
        [
            {"system": "Be brief.", "question": Q, "chosen": GOOD, "rejected": BAD},
            {"system": "", "question": Q, "chosen": GOOD, "rejected": BAD},
        ],
        [(["Be brief.", Q], [GOOD, BAD], [Pair(0, 1)]), *FIRST],
    ),
    TrainingSet(
        "XTuner preference data",
        "InternLM/xtuner:docs/zh_cn/legacy/reward_model/preference_data.md",
        "TRL conversational pairs",
        "all three columns are messages; the responses follow the prompt",
        [
            {
                "prompt": [{"role": "system", "content": "Be brief."}, user(Q)],
                "chosen": [bot(GOOD)],
                "rejected": [bot(BAD)],
            }
        ],
        [(["Be brief.", Q], [GOOD, BAD], [Pair(0, 1)])],
    ),
    TrainingSet(
        "ultrafeedback-binarized-preferences",
        "axolotl-ai-cloud/axolotl:docs/rlhf.qmd (chatml.argilla)",
        "LLaMA-Factory alpaca ranking",
        "`chosen_response` over `rejected_response`, `system` is part of the prompt",
        [
            {
                "system": "Be brief.",
                "instruction": Q,
                "chosen_response": GOOD,
                "rejected_response": BAD,
            }
        ],
        [(["Be brief.", Q], [GOOD, BAD], [Pair(0, 1)])],
    ),
    TrainingSet(
        "ColossalChat preference data",
        "hpcaitech/ColossalAI:ColossalChat/tests/test_data/dpo/test_dpo_data.jsonl",
        "TRL conversational pairs",
        "messages are `from` and `content`; `context` is the prompt",
        [
            {
                "context": [colossal("user", Q)],
                "chosen": [colossal("assistant", GOOD)],
                "rejected": [colossal("assistant", BAD)],
            }
        ],
        FIRST,
    ),
    TrainingSet(
        "ColossalChat KTO data",
        "hpcaitech/ColossalAI:ColossalChat/tests/test_data/kto/test_kto_data.jsonl",
        "prompts with one response",
        "a response to be scored; `label` compares nothing and is named as not used",
        [
            {
                "prompt": [colossal("user", Q)],
                "completion": colossal("assistant", GOOD),
                "label": True,
            }
        ],
        UNLABELED,
    ),
    TrainingSet(
        "LLaMA-Factory KTO demo",
        "hiyouga/LLaMA-Factory:data/kto_en_demo.json",
        "conversations",
        "a conversation to be scored; `label` compares nothing and is named as not used",
        [{"messages": [user(Q), bot(GOOD)], "label": True}],
        UNLABELED,
    ),
    TrainingSet(
        "Align-Anything, as it is",
        "PKU-Alignment/align-anything:docs/source/training/dataset_custom.rst",
        "refused",
        "no column is known to hold a verdict: one line names `overall_response`",
        [ALIGN_ANYTHING | {"overall_response": 2}],
        refused=r"without a verdict: .*data.columns=\{label: overall_response\}",
    ),
    TrainingSet(
        "Align-Anything, text alone",
        "PKU-Alignment/align-anything:docs/source/training/dataset_custom.rst",
        "two responses and a verdict",
        "`data.columns={label: overall_response}`; 1 and 2 are the numbers of the responses",
        [ALIGN_ANYTHING | {"overall_response": 1}, ALIGN_ANYTHING | {"overall_response": 2}],
        FIRST + SECOND,
        columns={"label": "overall_response"},
    ),
    TrainingSet(
        "Align-Anything, with sound",
        "PKU-Alignment/align-anything:align_anything/configs/format_dataset.py (AA_TA2T)",
        "refused",
        "`audio_path` is part of what was asked",
        [
            ALIGN_ANYTHING
            | {"overall_response": 1, "audio_path": {"array": [0.5], "sampling_rate": 16000}}
        ],
        refused="`audio_path` may be part of the prompt and is not read",
        columns={"label": "overall_response"},
        labels={"1": "first", "2": "second"},
    ),
    TrainingSet(
        "Deepseek-GSM8K-Test, as it is",
        "RLHFlow/RLHF-Reward-Modeling:math-rm/README.md",
        "refused",
        "`labels` may be ranks, scores or right and wrong: one line asks which",
        [GRADED],
        refused=r"labels = \[1, 0, 0\]: name what they are, as in data.columns=\{scores: labels\}",
    ),
    TrainingSet(
        "Deepseek-GSM8K-Test, labels named",
        "RLHFlow/RLHF-Reward-Modeling:math-rm/README.md",
        "responses of one prompt",
        "`data.columns={correct: labels}`; every right answer over every wrong one",
        [GRADED],
        [([Q], [GOOD, BAD, BAD], [Pair(0, 1), Pair(0, 2)])],
        columns={"correct": "labels"},
    ),
    TrainingSet(
        "pair-preference data",
        "RLHFlow/RLHF-Reward-Modeling:pair-pm/process_pair_data.py",
        "conversations",
        "a judge's question about both responses and its answer: one conversation, no pair",
        [{"messages": [user(Q), bot(GOOD)]}],
        UNLABELED,
    ),
    TrainingSet(
        "stepwise supervision (math_shepherd)",
        "huggingface/trl:docs/source/dataset_formats.md",
        "refused",
        "steps of one answer are no answers to compare: one line asks what `labels` are",
        [{"prompt": Q, "completions": ["Cork is light.", BAD], "labels": [True, False]}],
        refused="labels of the steps of one answer compare no answers",
    ),
    TrainingSet(
        "torchtune preference data, as it is",
        "pytorch/torchtune:docs/source/basics/preference_datasets.rst",
        "refused",
        "unknown columns whose names suggest what they are: one line has the mapping",
        [TORCHTUNE],
        refused=r"\{chosen: chosen_conversations, rejected: rejected_conversations\}",
    ),
    TrainingSet(
        "torchtune preference data, columns named",
        "pytorch/torchtune:docs/source/basics/preference_datasets.rst",
        "TRL conversational pairs",
        "`data.columns={chosen: chosen_conversations, rejected: rejected_conversations}`",
        [TORCHTUNE],
        FIRST,
        columns={"chosen": "chosen_conversations", "rejected": "rejected_conversations"},
    ),
    TrainingSet(
        "Unified-Feedback",
        "jdf-prog/UnifiedFeedback:process_and_upload_dataset.py",
        "two responses with a score each",
        "the difference of `conv_A_rating` and `conv_B_rating` is the margin",
        [
            {
                "id": f"hh-rlhf_{rating}",
                "conv_A": [user(Q), bot(GOOD)],
                "conv_B": [user(Q), bot(BAD)],
                "conv_A_rating": rating,
                "conv_B_rating": 1.0 - rating,
            }
            for rating in (1.0, 0.0)
        ],
        [
            ([Q], [GOOD, BAD], [Pair(0, 1, margin=1.0)]),
            ([Q], [GOOD, BAD], [Pair(1, 0, margin=1.0)]),
        ],
    ),
    TrainingSet(
        "MixInstruct, as it is",
        "card of llm-blender/mix-instruct; yuchenlin/LLM-Blender:llm_blender/pair_ranker/data.py",
        "refused",
        "each candidate has several scores: one line asks which one",
        [MIX_INSTRUCT],
        refused=r"candidates.scores holds logprobs, bleu, bertscore, rouge1: name the one",
    ),
    TrainingSet(
        "MixInstruct, score named",
        "card of llm-blender/mix-instruct; yuchenlin/LLM-Blender:llm_blender/pair_ranker/data.py",
        "responses of one prompt",
        "`data.columns={scores: candidates.scores.bleu}`; `input` is the prompt",
        [MIX_INSTRUCT],
        [([Q], [GOOD, BAD], [Pair(0, 1, margin=2.5)])],
        columns={"scores": "candidates.scores.bleu"},
    ),
    TrainingSet(
        "hh-rlhf-strength-cleaned",
        "card of fnlp/hh-rlhf-strength-cleaned; OpenLMLab/MOSS-RLHF:rm/reward_datahelper.py",
        "pairs of turns without speakers",
        "lists of texts: speakers take turns, the last one is the response",
        [HH_STRENGTH],
        [(["Hi", "Hello", Q], [GOOD, BAD], [Pair(0, 1)])],
    ),
    TrainingSet(
        "hh-rlhf-strength-cleaned, strength named",
        "card of fnlp/hh-rlhf-strength-cleaned; OpenLMLab/MOSS-RLHF:rm/reward_datahelper.py",
        "pairs of turns without speakers",
        "`data.columns={margin: mean preference difference}`; below zero is kept",
        [HH_STRENGTH],
        [(["Hi", "Hello", Q], [GOOD, BAD], [Pair(0, 1, margin=-0.5)])],
        columns={"margin": "mean preference difference"},
    ),
    TrainingSet(
        "toolcall_dpo_zh_demo",
        "shibing624/MedicalGPT:data/reward/toolcall_dpo_zh_demo.jsonl",
        "pairs of texts",
        "`tools` is JSON and goes to the template; the call is a text",
        [
            {
                "conversations": [{"from": "human", "value": Q}],
                "tools": json.dumps([{"name": "dip", "parameters": {"type": "object"}}]),
                "chosen": GOOD,
                "rejected": BAD,
            }
        ],
        FIRST,
    ),
    TrainingSet(
        "ms-swift agent pairs",
        "modelscope/ms-swift:docs/source_en/Customization/Custom-dataset.md",
        "ms-swift pairs",
        "calls that are turns become `tool_calls`; both responses follow the last user message",
        [
            {
                "tools": json.dumps([{"type": "function", "function": {"name": "dip"}}]),
                "messages": [
                    user(Q),
                    CALL,
                    {"role": "tool_response", "content": "up"},
                    bot(GOOD),
                ],
                "rejected_response": [bot(BAD)],
            }
        ],
        [([Q], ["", BAD], [Pair(0, 1)])],
    ),
    TrainingSet(
        "hh_rlhf_cn",
        "modelscope/ms-swift:swift/dataset/dataset/llm.py (HHRLHFCNPreprocessor)",
        "LLaMA-Factory ShareGPT ranking",
        "messages are `role` and `text`; `context` is the prompt",
        [
            {
                "context": [{"role": "human", "text": Q}],
                "chosen": {"role": "assistant", "text": GOOD},
                "rejected": {"role": "assistant", "text": BAD},
            }
        ],
        FIRST,
    ),
    TrainingSet(
        "DPO-zh-en-emoji, columns named",
        "modelscope/ms-swift:swift/dataset/dataset/llm.py (EmojiPreprocessr)",
        "pairs of texts",
        "which language is the better one is for you to say: "
        "`data.columns={chosen: answer_zh, rejected: answer_en}`",
        [EMOJI],
        FIRST,
        columns={"chosen": "answer_zh", "rejected": "answer_en"},
    ),
    TrainingSet(
        "oasst1_pairwise_rlhf_reward",
        "card of tasksource/oasst1_pairwise_rlhf_reward; OpenRLHF/OpenRLHF at b9b41f6:"
        "openrlhf/datasets/reward_dataset.py",
        "refused",
        "the prompt is a transcript in one text whose turns begin with `prompter:`",
        [
            {
                "lang": "en",
                "prompt": f"prompter: Hi assistant: Hello prompter: {Q}",
                "chosen": GOOD,
                "rejected": BAD,
            }
        ],
        refused=r"prompt is a transcript \('prompter:'\) whose turns",
    ),
    TrainingSet(
        "OASST trees",
        "LAION-AI/Open-Assistant:oasst-data/README.md",
        "OASST message trees; a record is the replies to one message",
        "every list of ranked replies is a group, the messages before it are the prompt",
        [{"message_tree_id": "q", "tree_state": "ready_for_export", "prompt": nested("q")}],
        OASST,
    ),
    TrainingSet(
        "oasst1, oasst2 (rows)",
        "LAION-AI/Open-Assistant:notebooks/openassistant-oasst1/getting-started.ipynb",
        "OASST message trees; a record is the replies to one message",
        "rows of one tree are gathered, then read as the tree",
        OASST_ROWS,
        OASST,
    ),
]
