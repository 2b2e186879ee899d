"""How many gold examples stay in a question that a server refuses as too long."""

import pytest

from rewardjax.curation.judges.requests.fitting import fewer_examples, is_too_long

# A question with 0, 1, ..., 8 examples, by characters: four of them make a token.
CHARACTERS = [2_000 * (k + 1) for k in range(9)]


@pytest.mark.parametrize(
    "refusal, examples",
    [
        # OpenAI and vLLM; 4,500 tokens of prompt, where 2,096 are left for it.
        (
            "400 This model's maximum context length is 2596 tokens. However, you requested 5000 "
            "tokens (4500 in the messages, 500 in the completion).",
            3,
        ),
        # vLLM, later.
        (
            "'max_tokens' is too large: 500. This model's maximum context length is 4096 tokens "
            "and your request has 4500 input tokens (500 > 4096 - 4500).",
            6,
        ),
        # SGLang.
        (
            "The input (4500 tokens) is longer than the model's context length (2250 tokens).",
            3,
        ),
        # TGI.
        ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4500 `inputs` tokens", 6),
        # llama.cpp.
        ("the request exceeds the available context size, n_prompt_tokens: 4500, n_ctx: 4096", 6),
        # No example fits, and perhaps not even the question.
        ("maximum context length is 200 tokens, and you requested 4500 tokens", 0),
        # Without numbers, or with none that says how long the request is: half of them.
        ("413 Payload Too Large", 4),
        ("maximum context length is 8192 tokens", 4),
        ("request 987654321 exceeds the context length of 4096 tokens", 4),
    ],
)
def test_as_many_examples_stay_as_fit_by_the_refusal(refusal, examples):
    assert is_too_long(refusal)
    assert fewer_examples(refusal, CHARACTERS) == examples


def test_each_refusal_costs_at_least_one_example():
    shown, refusals = 8, 0
    while shown:
        left = fewer_examples(
            "context length is 9999, requested 10000 tokens", CHARACTERS[: shown + 1]
        )
        assert left < shown
        shown, refusals = left, refusals + 1
    assert refusals <= 8
