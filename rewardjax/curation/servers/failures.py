"""What a failed try of a request says, by what is to be done about it."""

import email.utils
import enum
import math
import re
import time
from collections.abc import Mapping

import aiohttp
import httpx2
import openai

UNUSABLE = (401, 402, 403, 404)  # key, payment, permission, model
REFUSED = (400, 413, 422)  # this very request, as it stands
SLOW_DOWN = (429, 529)

# Asking later is of no use: somebody has to pay. OpenAI's plain rate limit mentions billing, too.
_QUOTA = re.compile(
    r"insufficient.(quota|balance|credit|fund)|exceeded your current quota"
    r"|credit balance is too low|out of credits"
)
_LOADING = re.compile(r"\b(loading|starting up|warming up|not ready|initializing)\b")


class ServerDown(Exception):
    """A server that cannot be used: unreachable, or it refuses the key or the model."""


class Kind(enum.Enum):
    """What a failed try says, by what is to be done about it."""

    REFUSED = enum.auto()
    UNUSABLE = enum.auto()
    SLOW_DOWN = enum.auto()
    LOADING = enum.auto()
    BROKEN = enum.auto()
    TIMED_OUT = enum.auto()
    UNREACHED = enum.auto()


class Failure(Exception):
    """One try that brought no answer; `pause`: seconds that the server asks for, if it does."""

    def __init__(self, kind: Kind, reason: str, pause: float | None = None):
        super().__init__(reason)
        self.kind, self.reason, self.pause = kind, reason, pause


def of_status(
    status: int, message: str, code: int | str | None, headers: Mapping[str, str]
) -> Failure:
    """What an error status, or an error in place of a completion, says."""
    reason = f"{status} {message}"[:500]
    words = f"{code} {message}".lower()
    pause = _asked_pause(headers)
    if status in (*SLOW_DOWN, *UNUSABLE) and _QUOTA.search(words):
        return Failure(Kind.UNUSABLE, f"the quota is used up: {reason}")
    if status in UNUSABLE:
        return Failure(Kind.UNUSABLE, f"{reason}; check base_url, model and the API key")
    if status in REFUSED:
        return Failure(Kind.REFUSED, reason)
    if status == 503 and _LOADING.search(words):
        return Failure(Kind.LOADING, reason)
    if status in SLOW_DOWN or (status == 503 and pause is not None):
        return Failure(Kind.SLOW_DOWN, reason, pause)
    return Failure(Kind.BROKEN, reason, pause)


def of_connection(error: openai.APIConnectionError) -> Failure:
    """What a lost connection says.

    The client library calls whatever happens to a connection a time-out of connecting, so that
    aiohttp's own exception, the cause of its cause, is what tells them apart: one that was never
    there, over which nothing was sent and nothing can be charged, and one that broke off.
    """
    cause = error.__cause__
    if cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    name = type(cause).__name__
    if isinstance(cause, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return Failure(Kind.UNREACHED, f"there is no connection ({name})")
    if isinstance(cause, (TimeoutError, httpx2.TimeoutException)):
        return Failure(Kind.TIMED_OUT, "no reply within its timeout")
    return Failure(Kind.BROKEN, f"the connection broke off ({name})")


def _asked_pause(headers: Mapping[str, str]) -> float | None:
    """The seconds after which a server wants to be asked again, in any of its ways to say so."""
    milliseconds, seconds = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds:
            pause = float(milliseconds) / 1000
        elif seconds and seconds.strip().replace(".", "", 1).isdigit():
            pause = float(seconds)
        elif seconds:
            pause = email.utils.parsedate_to_datetime(seconds).timestamp() - time.time()
        else:
            return None
    except (ValueError, TypeError):
        return None
    if not math.isfinite(pause):
        return None
    return max(0.0, pause)
