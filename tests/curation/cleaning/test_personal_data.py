"""Personal data: what counts, what does not, and a text without it."""

import pytest

from rewardjax.curation.cleaning.personal_data import find_pii, masked, matches


@pytest.mark.parametrize(
    "text, kinds",
    [
        ("mail a.b+c@sub.example.com now", ["e-mail"]),
        ("+1 415-555-0134", ["phone"]),
        ("host 10.0.0.255 is up", ["IP address"]),
        ("section 1.2.3.4.5 and version 300.1.1.1", []),
        ("078-05-1120", ["social security number"]),
        ("4111-1111-1111-1111", ["card number"]),
        ("4111-1111-1111-1112", []),  # the check digit is wrong
        ("no digit, one @ sign", []),
        ("٤١٥-٥٥٥-٠١٣٤ in other digits", ["phone"]),
        ("12 * 7 = 84, 2 + 3 = 5, 1234567", []),
    ],
)
def test_patterns_of_personal_data(text, kinds):
    assert find_pii(text) == kinds


def test_what_is_masked_is_what_is_found():
    text = "Mail a.b@c.org or (415) 555-0134; card 4111-1111-1111-1111, not 4111-1111-1111-1112."
    assert masked(text) == "Mail [e-mail] or [phone]; card [card number], not 4111-1111-1111-1112."
    assert matches(text) == ["a.b@c.org", "(415) 555-0134", "4111-1111-1111-1111"]
    assert find_pii(masked(text)) == []
