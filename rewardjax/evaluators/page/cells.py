"""Numbers as the cells of a table show them; None stays None, which the page shows as a dash."""


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
