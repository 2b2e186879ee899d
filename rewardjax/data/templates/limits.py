"""What a chat template may use up: time, the size of its values, the length of what it prints.

A template is a program that came with somebody's model. The sandbox keeps it from files and from
Python's inside, but not from looping for ever or from filling the memory of the machine. Jinja has
no hook for either, so the compiled template is made to look at the clock in every loop and macro,
and what makes values large (operators, methods, filters) is looked at before it is done.
"""

import functools
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import jinja2
import jinja2.exceptions
import jinja2.nodes
import jinja2.sandbox

# A conversation of thousands of turns takes milliseconds, and is some megabytes long.
SECONDS = 5.0  # of this thread's processor, so that a busy machine changes nothing
PRINTED = 1 << 24  # characters
SOURCE = 1 << 20  # characters of the template itself
LONGEST = 1 << 26  # characters or items of a value
LARGEST = 1 << 16  # number that a filter or a method of a text is given, such as a width
BITS = 4096  # of an integer
# A width or a precision in a format makes a text of that length; `*` takes it from the values.
WIDE = re.compile(r"%[^%a-zA-Z]*(?:\d{6}|\*)|\{[^{}]*:[^{}]*\d{6}")


class LimitReached(jinja2.exceptions.SecurityError):
    """A template used more than it may."""


class LimitedEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """The sandbox that transformers uses, with limits."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, **options: Any):
        # Else constant expressions are computed while the template is compiled, beside the limits.
        super().__init__(**options, optimized=False)
        # Random words of any number, for those who design pages, and choices by chance: the same
        # conversation must have the same tokens.
        del self.globals["lipsum"], self.filters["random"]
        for name, apply in self.filters.items():
            self.filters[name] = bounded(name, apply)
        self._render = threading.local()

    def limited(self, template: jinja2.Template) -> Callable[..., str]:
        """The render function of one of this environment's templates.

        It raises LimitReached for what takes too long or prints too much.
        """

        def render(**variables: Any) -> str:
            self._render.until = time.thread_time() + SECONDS
            pieces, length = [], 0
            for piece in template.generate(**variables):
                pieces.append(piece)
                length += len(piece)
                if length > PRINTED:
                    raise LimitReached(f"it prints more than {PRINTED:,} characters")
            return "".join(pieces)

        return render

    def tick(self) -> None:
        """Called in every turn of a loop and in every macro of a template."""
        if time.thread_time() > self._render.until:
            raise LimitReached(f"it takes longer than {SECONDS:g} seconds")

    def join(self, *parts: Any) -> str:
        """What `a ~ b` gives."""
        texts = [str(part) for part in parts]
        _refuse_long(sum(map(len, texts)))
        return "".join(texts)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """The value of `left operator right`, unless it would be too large."""
        OPERATORS[operator](left, right)
        return super().call_binop(context, operator, left, right)

    # Jinja passes on any names that the template gives, these too.
    def call(self, context: Any, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """What a function, or a method of a value, returns."""
        owner = getattr(called, "__self__", None)
        if isinstance(owner, str):
            _refuse_arguments(called.__name__, owner, *args, **kwargs)
        return super().call(context, called, *args, **kwargs)

    def _parse(self, source: str, name: str | None, filename: str | None) -> jinja2.nodes.Template:
        if len(source) > SOURCE:
            raise jinja2.TemplateSyntaxError(f"it is {len(source):,} characters long", 1)
        tree = super()._parse(source, name, filename)
        for node in tree.find_all((jinja2.nodes.For, jinja2.nodes.Macro, jinja2.nodes.CallBlock)):
            node.body.insert(0, jinja2.nodes.ExprStmt(_call("tick", [])))
        _replace_joins(tree)
        tree.set_environment(self)
        return tree


def bounded(name: str, apply: Callable[..., Any]) -> Callable[..., Any]:
    """The filter called `name`, which looks at its arguments first."""

    # The wrapper keeps the mark by which Jinja knows the filters that are given the environment.
    @functools.wraps(apply)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        _refuse_arguments(name, *args, **kwargs)
        return apply(*args, **kwargs)

    return filtered


# ------------------------------------------------------------------ the compiled template


def _call(name: str, arguments: list[jinja2.nodes.Expr]) -> jinja2.nodes.Call:
    """A call of a method of the environment, by a name that no template can take."""
    method = jinja2.nodes.EnvironmentAttribute(name)
    return jinja2.nodes.Call(method, arguments, [], None, None)


def _replace_joins(node: jinja2.nodes.Node) -> None:
    """Put `join` in the place of every `a ~ b` below a node: the sandbox does not see those."""
    for field, value in node.iter_fields():
        if isinstance(value, list):
            setattr(node, field, [_joined(item) for item in value])
        else:
            setattr(node, field, _joined(value))
    for child in node.iter_child_nodes():
        _replace_joins(child)


def _joined(value: Any) -> Any:
    if isinstance(value, jinja2.nodes.Concat):
        return _call("join", value.nodes)
    return value


# ------------------------------------------------------------------ how large a value would be


def _refuse_arguments(name: str, *args: Any, **kwargs: Any) -> None:
    """Raise LimitReached where a filter or method of that name would make too long a text."""
    # Filters may be given the environment or the context before the value.
    values = [value for value in args if not isinstance(value, jinja2.Environment)]
    numbers = [value for value in (*values, *kwargs.values()) if isinstance(value, int)]
    texts = [value for value in (*values, *kwargs.values()) if isinstance(value, str)]
    if any(abs(number) > LARGEST for number in numbers):
        raise LimitReached(f"it gives a number above {LARGEST:,} to `{name}`")
    if name in ("format", "format_map"):
        _refuse_wide(*texts[:1])
    if name in ("indent", "expandtabs"):
        _refuse_long(len(texts[0]) * max(numbers, default=1))
    if name == "replace" and len(texts) > 2:
        _refuse_long(len(texts[0]) + texts[0].count(texts[1]) * len(texts[2]))
    if name == "join":
        length = max((len(value) for value in values if hasattr(value, "__len__")), default=0)
        _refuse_long(length * max(map(len, texts), default=0))


def _refuse_sum(left: Any, right: Any) -> None:
    if hasattr(left, "__len__") and hasattr(right, "__len__"):
        _refuse_long(len(left) + len(right))


def _refuse_product(left: Any, right: Any) -> None:
    for value, times in ((left, right), (right, left)):
        if hasattr(value, "__len__") and isinstance(times, int):
            _refuse_long(len(value) * times)
    if isinstance(left, int) and isinstance(right, int):
        _refuse_bits(left.bit_length() + right.bit_length())


def _refuse_power(base: Any, exponent: Any) -> None:
    if isinstance(base, int) and isinstance(exponent, int):
        _refuse_bits(base.bit_length() * exponent)


def _refuse_format(value: Any, _: Any) -> None:
    if isinstance(value, str):
        _refuse_wide(value)


OPERATORS: dict[str, Callable[[Any, Any], None]] = {
    "+": _refuse_sum,
    "*": _refuse_product,
    "**": _refuse_power,
    "%": _refuse_format,
}


def _refuse_wide(*texts: str) -> None:
    if any(map(WIDE.search, texts)):
        raise LimitReached("it formats a value over hundreds of thousands of characters")


def _refuse_long(length: int) -> None:
    if length > LONGEST:
        raise LimitReached(f"it makes a value of more than {LONGEST:,} characters")


def _refuse_bits(bits: int) -> None:
    if bits > BITS:
        raise LimitReached(f"it computes a number of more than {BITS} bits")
