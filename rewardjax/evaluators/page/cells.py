"""Numbers as the cells of a table show them; None stays None, which the page shows as a dash."""

# A number that does not exist is a dash: a blank cell looks like an oversight, a zero like a score.
DASH = "–"


def percent(share: float | None, mark: str = "") -> str | None:
    """A share in percent with one digit, and a footnote's mark."""
    if share is None:
        return None
    return f"{100 * share:.1f}{mark}"


def between(
    low: float | None, high: float | None, scale: float = 100, digits: int = 1
) -> str | None:
    """An interval, in percent unless another scale is given."""
    if low is None or high is None:
        return None
    return f"{scale * low:.{digits}f} to {scale * high:.{digits}f}"


def count(number: int | None) -> str:
    """A count with its thousands apart, a dash where there is none."""
    if number is None:
        return DASH
    return f"{number:,}"


def signed(value: float | None) -> str | None:
    """A number with its sign and two digits."""
    if value is None:
        return None
    return f"{value:+.2f}"


def star(partial: bool) -> str:
    """The footnote mark of a number over less than the published benchmark."""
    if partial:
        return "*"
    return ""


def points(difference: float | None) -> str | None:
    """A difference of shares in percentage points, with its sign."""
    if difference is None:
        return None
    return f"{100 * difference:+.1f}"


def small(p: float | None) -> str | None:
    """A p-value with two digits."""
    if p is None:
        return None
    return f"{p:.2g}"
