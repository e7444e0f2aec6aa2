"""Programs as people write them."""

import pytest

from data_prep import programs
from data_prep.errors import InputError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("0-31", set(range(32))), ("7", {7}), ("0-2,40", {0, 1, 2, 40}), (" 126 - 127 , 0", {0, 126, 127})],
)
def test_numbers_and_ranges(text: str, wanted: set[int]) -> None:
    assert programs.parse(text) == wanted
    assert programs.parse(programs.text(frozenset(wanted))) == wanted


def test_text_is_short() -> None:
    assert programs.text(frozenset({*range(32), 40, 73, 74})) == "0-31,40,73-74"


@pytest.mark.parametrize("text", ["", "piano", "0-", "5-3", "128", "0-1000", "-1", "1,,2"])
def test_what_is_no_program_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="0 to 127"):
        programs.parse(text)
