"""How judge servers misbehave, each as a real HTTP server: what `judge_storm` lets loose.

The behaviors come from public reports about OpenAI-compatible servers and gateways. A `Behavior`
answers one request; the text of the right answer is the scripted judge's.
"""

import json
import time

from benchmarks import judge_misbehavior as ways
from benchmarks.judge_exchange import Behavior, Exchange

HARMONY = (
    "<|channel|>analysis<|message|>maybe OTHER<|end|><|start|>assistant"
    "<|channel|>final<|message|>RIGHT"
)
PAGE = b"<!doctype html><html><body>502 Bad gateway</body></html>"
BIG_USAGE = {"prompt_tokens": 10**12, "completion_tokens": 10**12}

BEHAVIORS: dict[str, Behavior] = {
    # Texts that hold the answer.
    "good": Behavior(Exchange.reply),
    "fenced": Behavior(ways.wrapped("Here it is:\n```json\nRIGHT\n```\nHope it helps!")),
    "think": Behavior(ways.wrapped("<think>perhaps OTHER</think>\nRIGHT")),
    "think_without_opening": Behavior(ways.wrapped("perhaps OTHER</think>RIGHT")),
    "think_unclosed": Behavior(ways.wrapped("<think>all in all it is RIGHT")),
    "mistral_think": Behavior(ways.wrapped("[THINK]perhaps OTHER[/THINK]RIGHT")),
    "harmony": Behavior(ways.wrapped(HARMONY)),
    "harmony_without_marks": Behavior(ways.wrapped("analysisperhaps OTHERassistantfinalRIGHT")),
    "reasoning_only": Behavior(
        lambda exchange: exchange.text(None, reasoning_content=exchange.right)
    ),
    "content_parts": Behavior(ways.parts),
    "extra": Behavior(ways.changed(lambda fields: fields | {"confidence": 0.9})),
    "nan_value": Behavior(ways.changed(lambda fields: fields | {"score": float("nan")})),
    "lower": Behavior(ways.changed(ways.lower)),
    "upper_keys": Behavior(ways.changed(lambda fields: {k.upper(): v for k, v in fields.items()})),
    "nested": Behavior(ways.changed(lambda fields: {"answer": {"result": fields}})),
    "list": Behavior(ways.changed(lambda fields: [fields])),
    "double_encoded": Behavior(ways.double_encoded),
    "newline": Behavior(ways.raw_line_break),
    "trailing_comma": Behavior(lambda exchange: exchange.text(exchange.right.rstrip("}") + ",}")),
    "python_dict": Behavior(lambda exchange: exchange.text(str(json.loads(exchange.right)))),
    "twice_the_same": Behavior(ways.wrapped("RIGHT\nAgain: RIGHT")),
    "surrogate": Behavior(ways.surrogate),
    "no_finish": Behavior(lambda exchange: exchange.text(exchange.right, finish=None)),
    "always_first": Behavior(ways.always_first),
    # Texts that do not.
    "length": Behavior(lambda exchange: exchange.text(exchange.right, "length"), "none"),
    "french": Behavior(lambda exchange: exchange.text("Je préfère la première."), "none"),
    "refusal": Behavior(lambda exchange: exchange.text(None, refusal="I cannot."), "none"),
    "probe_liar": Behavior(ways.probe_liar, "none"),
    "filter": Behavior(ways.filtered, "some"),
    "contradicts": Behavior(ways.wrapped("RIGHT\nOr rather: OTHER"), "none"),
    "truncated": Behavior(lambda exchange: exchange.text(exchange.right[:-9]), "none"),
    "empty": Behavior(lambda exchange: exchange.text(""), "none"),
    "tool_call": Behavior(ways.tool_call, "none"),
    # What it says about tokens.
    "nousage": Behavior(ways.with_usage(None)),
    "nan": Behavior(
        ways.with_usage({"prompt_tokens": float("nan"), "completion_tokens": float("nan")})
    ),
    "cached_more": Behavior(
        ways.with_usage(
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 10**9},
            }
        )
    ),
    "ignores_max": Behavior(ways.with_usage({"prompt_tokens": 300, "completion_tokens": 60_000})),
    "usage_negative": Behavior(
        ways.with_usage({"prompt_tokens": -5, "completion_tokens": -(10**9)})
    ),
    "usage_text": Behavior(ways.with_usage({"prompt_tokens": "many", "completion_tokens": "few"})),
    "usage_huge": Behavior(ways.with_usage(BIG_USAGE)),
    # Replies of status 200 that are none.
    "err200": Behavior(
        lambda exchange: exchange.json({"error": {"code": 429, "message": "busy"}}),
        "stopped",
        "busy",
    ),
    "err200_text": Behavior(
        ways.every_third(lambda exchange: exchange.json({"error": "upstream overloaded"}))
    ),
    "html200": Behavior(ways.document(PAGE, "text/html"), "stopped", "web page"),
    "events200": Behavior(
        ways.document(b'data: {"choices": []}\n\ndata: [DONE]\n\n', "text/event-stream"),
        "stopped",
        "not JSON",
    ),
    "badjson200": Behavior(
        ways.document(b'{"choices": [{"message": {"con', "application/json"), "stopped", "not JSON"
    ),
    "null_choices": Behavior(
        lambda exchange: exchange.json({"choices": None}), "stopped", "without choices"
    ),
    "empty_choices": Behavior(
        ways.every_third(lambda exchange: exchange.json({"choices": []})),
    ),
    "deep": Behavior(ways.document(b"[" * 200_000, "application/json"), "stopped", "not JSON"),
    "finish_error": Behavior(
        ways.every_third(lambda exchange: exchange.text("", "error")),
    ),
    # Connections.
    "reset": Behavior(ways.every_third(Exchange.reset)),
    "cut_body": Behavior(ways.every_third(ways.cut_body)),
    "chunked": Behavior(ways.chunked),
    "zipped": Behavior(ways.zipped),
    "trickle": Behavior(ways.trickle, slow=True),
    "hang": Behavior(lambda exchange: time.sleep(60), "stopped", "no reply", slow=True),
    "hang_sometimes": Behavior(
        ways.first_time(lambda exchange: time.sleep(4 * (exchange.number % 16 == 5))), slow=True
    ),
    # Errors.
    "poison": Behavior(ways.poisoned, "some"),
    "r429": Behavior(ways.every_third(ways.say(429, "slow down", Retry_After="1")), slow=True),
    "r429ms": Behavior(ways.every_third(ways.http_date), slow=True),
    "r429_nonsense": Behavior(
        ways.every_third(ways.say(429, "slow down", Retry_After="-nan")), slow=True
    ),
    "busy503": Behavior(
        ways.every_third(ways.say(503, "no worker free", Retry_After="1")), slow=True
    ),
    "timeout408": Behavior(ways.every_third(ways.say(408, "request timeout"))),
    "loading": Behavior(ways.early(3, ways.say(503, "Loading model")), slow=True),
    "restarts": Behavior(ways.early(3, ways.say(502, "bad gateway")), slow=True),
    "quota": Behavior(
        ways.say(429, "You exceeded your current quota", "insufficient_quota"), "stopped", "quota"
    ),
    "unpaid": Behavior(ways.say(402, "Insufficient credits"), "stopped", "402"),
    "wrong_key": Behavior(ways.say(401, "Incorrect API key"), "stopped", "401"),
    "no_model": Behavior(ways.say(404, "The model does not exist"), "stopped", "404"),
    # Dialects.
    "nosystem": Behavior(ways.no_system),
    "alternating": Behavior(ways.alternating),
    "nomax": Behavior(
        ways.refuses_field(
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
        )
    ),
    "notemperature": Behavior(
        ways.refuses_field("temperature", "Unsupported value: 'temperature' does not support 0.6")
    ),
    "noseed": Behavior(
        ways.refuses_field("seed", "Extra inputs are not permitted: body, seed", status=422)
    ),
    "unsaid": Behavior(ways.refuses_unsaid),
    "context": Behavior(ways.too_long_for(400, ways.openai_too_long)),
    # One server's or gateway's own way to say the same.
    "vllm_context": Behavior(ways.too_long_for(400, ways.vllm_too_long)),
    "tgi_context": Behavior(ways.too_long_for(422, ways.tgi_too_long)),
    "llama_cpp_context": Behavior(ways.too_long_for(400, ways.llama_cpp_too_long)),
    "azure_filter": Behavior(ways.filtered_by_status, "some"),
    "openrouter_error_in_choice": Behavior(ways.every_third(ways.error_in_choice)),
    "openrouter_reasoning": Behavior(
        lambda exchange: exchange.text(None, reasoning=exchange.right)
    ),
    "gemini_without_content": Behavior(ways.without_content, "none"),
    "gemini_error_in_list": Behavior(
        ways.every_third(
            lambda exchange: exchange.json(
                [{"error": {"code": 429, "message": "Resource has been exhausted"}}], 429
            )
        ),
        slow=True,
    ),
    "anthropic_overloaded": Behavior(ways.every_third(ways.say(529, "Overloaded")), slow=True),
    "sglang_abort": Behavior(ways.every_third(lambda exchange: exchange.text("", "abort"))),
    "ollama_native": Behavior(
        lambda exchange: exchange.json(
            {"model": "m", "message": {"role": "assistant", "content": exchange.right}}
        ),
        "stopped",
        "without choices",
    ),
    "legacy_text": Behavior(
        lambda exchange: exchange.json({"choices": [{"index": 0, "text": exchange.right}]}),
        "stopped",
        "a choice that has no message",
    ),
    "streams_unasked": Behavior(ways.events, "stopped", "not JSON"),
    "two_choices": Behavior(ways.two_choices),
    "byte_order_mark": Behavior(ways.with_byte_order_mark),
    "latin_1": Behavior(ways.latin_1),
    "usage_total_only": Behavior(ways.with_usage({"total_tokens": 340})),
    "zero_byte": Behavior(ways.wrapped("RIGHT\n\u0000")),
}
