"""Chat templates: compiled as in transformers, asked what they print, pinned to a date."""

import datetime
import functools
import json
import re
from collections.abc import Callable
from typing import Any

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes

from rewardjax.data.groups import NO_CONTENT
from rewardjax.data.templates.limits import LimitedEnvironment, bounded

# strftime_now('%d %b %Y') or strftime_now("..."): the format is a literal in every known template.
DATE_CALL = re.compile(r"""strftime_now\(\s*(?:'([^']*)'|"([^"]*)")\s*\)""")
DATE_TEST = re.compile(r"strftime_now is (not )?defined")


class TemplateRefusal(jinja2.TemplateError):
    """The template called raise_exception."""


class GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` marks what the assistant wrote; here it prints its body."""

    tags = {"generation"}

    def parse(self, parser):
        """Replace the tag by the nodes of its body."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@functools.lru_cache(maxsize=32)
def compile_template(template: str) -> Callable[..., str]:
    """A chat template's render function, in a sandbox with transformers' options and with limits.

    Unlike there, a template cannot ask for the date. Raises ValueError where it is not Jinja.
    """
    environment = _environment()
    try:
        return environment.limited(environment.from_string(template))
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(
            f"the chat template does not compile: {error.message} (its line {error.lineno}); write "
            "another into chat_template.jinja"
        ) from None
    # Thousands of brackets are too many for Jinja's parser, hundreds for Python's.
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise ValueError(
            f"the chat template does not compile: {type(error).__name__}; write another into "
            "chat_template.jinja"
        ) from None


def string_literals(template: str) -> set[str]:
    """The strings that the template's code names: what it prints, splits at and looks for."""
    nodes = _environment().parse(template).find_all(jinja2.nodes.Const)
    return {node.value for node in nodes if isinstance(node.value, str)}


def asks_for_the_date(template: str) -> bool:
    """Whether the template reads `strftime_now`, with which transformers gives it today's date.

    Raises ValueError where it is not Jinja.
    """
    # jinja's own complaint would not say which file it is about.
    compile_template(template)
    return "strftime_now" in jinja2.meta.find_undeclared_variables(_environment().parse(template))


def pin_date(template: str, date: str) -> str:
    """The template with the fixed date `date` (YYYY-MM-DD) where it asks for today's.

    Raises ValueError where it asks in another way than by a call with a literal format.
    """
    day = datetime.date.fromisoformat(date)

    def printed(call: re.Match[str]) -> str:
        return json.dumps(day.strftime(call[1] or call[2]))

    # The branch that transformers takes, where the function is always there.
    pinned = DATE_TEST.sub(lambda test: "false" if test[1] else "true", template)
    pinned = DATE_CALL.sub(printed, pinned)
    if asks_for_the_date(pinned):
        raise ValueError(
            "the chat template asks for today's date (strftime_now) in a way that cannot be pinned "
            "to a date; write a fixed date into chat_template.jinja"
        )
    return pinned


def _environment() -> LimitedEnvironment:
    def refuse(message):
        raise TemplateRefusal(message)

    # transformers' own: jinja's filter of this name escapes what HTML would, which changes token
    # ids.
    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = LimitedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = bounded("tojson", tojson)
    environment.globals["raise_exception"] = refuse
    return environment


def as_template_reads(message: dict[str, Any]) -> dict[str, Any]:
    """A message as transformers hands it to a template.

    Fields that are None are absent: templates ask whether a field is defined, and to jinja one that
    is None is. Reasoning has three names in data sets; templates read one of the first two.
    """
    message = {key: value for key, value in message.items() if value is not None}
    if message.pop(NO_CONTENT, False):
        del message["content"]
    for name in ("reasoning_content", "thinking", "reasoning"):
        if name in message:
            reasoning = message[name]
            return {"thinking": reasoning, **message, "reasoning_content": reasoning}
    return message
