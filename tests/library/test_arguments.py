"""What people give to options: each form that is read, and each that is refused."""

from argparse import ArgumentTypeError

import pytest

from library.command_line import number_between, positive_number, printable, seed, share

UNIT = number_between(-1.0, 1.0)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (seed, "38", "0038"),
        (seed, "0038", "0038"),
        (seed, "12345", "12345"),
        (seed, "9" * 100, "9" * 100),
        (positive_number, "1", 1),
        (positive_number, "9" * 18, 10**18 - 1),
        (share, "1", 1.0),
        (share, "1e-9", 1e-9),
        (UNIT, "-1", -1.0),
        (UNIT, "1", 1.0),
        (UNIT, "0", 0.0),
    ],
)
def test_what_is_meant_is_read(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((seed, text) for text in ("", "x", "-1", "3.8", "٣٨", "9" * 101, "38\n")),
        *((positive_number, text) for text in ("", "0", "00", "-1", "1.5", "x", "9" * 19)),
        *((share, text) for text in ("", "0", "-0.1", "1.001", "nan", "x")),
        *((UNIT, text) for text in ("", "-1.001", "1.001", "nan", "inf", "x")),
    ],
)
def test_what_makes_no_sense_is_refused_and_repeated(read, text):
    with pytest.raises(ArgumentTypeError) as error:
        read(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("number", [*range(32), *range(127, 160), 0x202E, 0x2028, 0xFEFF, 0xD800])
def test_a_terminal_is_never_given_an_order(number):
    """Control characters, and those that turn the direction of writing or break lines."""
    shown = printable(f"a{chr(number)}b")
    assert shown == ("a\nb" if number == 10 else f"a\\x{number:02x}b")


def test_texts_of_all_languages_are_shown_as_they_are():
    assert printable("Größe 金 🏆\nγ") == "Größe 金 🏆\nγ"
