"""Keys: the snake_case of a computation's name, and how keys and types of identifiers are written."""

from collections.abc import Collection
from typing import Any
from unicodedata import category, combining, normalize

from schemas.events import IDENTIFIER_TYPES


def snake_case(name: str) -> str:
    """`Order completed last 30 days` becomes `order_completed_last_30_days`.

    Words are runs of letters and digits; a capital begins a word (`firstTimeShopper`, `HTTPErrors`),
    but not within an abbreviation (`B2B`, `VIPs`). Latin letters lose their marks (`é` is `e`),
    other scripts stay as they are. Empty where the name has neither letter nor digit. Applying it
    twice changes nothing.
    """
    words = "".join(c if _in_word(c) else " " for c in _camel_to_blanks(_plain(name)))
    return "_".join(_plain(words.lower().replace("ß", "ss")).split())


def _plain(text: str) -> str:
    """Compatible forms made equal (`ﬁ` is `fi`), marks of Latin letters dropped."""
    kept: list[str] = []
    for c in normalize("NFKD", text):
        if not (combining(c) and kept and kept[-1].isascii()):
            kept.append(c)
    return normalize("NFC", "".join(kept))


def _in_word(c: str) -> bool:
    """Marks of other scripts are vowels, so they belong to the word."""
    return c.isalnum() or category(c).startswith("M")


def _camel_to_blanks(text: str) -> str:
    return "".join(f" {c}" if _begins_word(text, i) else c for i, c in enumerate(text))


def _begins_word(text: str, i: int) -> bool:
    before, here, after = text[i - 1 : i], text[i], text[i + 1 : i + 2]
    if not here.isupper():
        return False
    if before.islower():
        return True
    plural = after == "s" and not text[i + 2 : i + 3].isalnum()
    return before.isalnum() and after.islower() and not plural


# -- keys that are given


def is_key(text: str) -> bool:
    """Whether it has only letters, digits and `_`."""
    return text != "" and all(c == "_" or _in_word(c) for c in text)


# -- identifiers

_EXACT = 2**53  # below it a double is a whole number without doubt


def id_text(value: Any) -> Any:
    """An identifier that came as a whole number, as its decimal text; anything else as it is.

    42, 42.0 and 4.2e1 are all "42": a column of numbers with a gap in it is written as doubles by common tools.
    """
    if type(value) is float and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    return str(value) if type(value) is int and fits(value) else value


def fits(number: int) -> bool:
    """Whether it has at most 64 bits."""
    return -(2**63) <= number < 2**64


# -- types of identifiers


def meant_type(written: str, known: Collection[str] = ()) -> str:
    """The type that this is another spelling of: `email` of `E-mail`, `user_id` of `userId`; "" where there is none."""
    if written in known or written in IDENTIFIER_TYPES:
        return ""
    spellings = {_letters(kind): kind for kind in (*IDENTIFIER_TYPES, *known)}
    return spellings.get(_letters(written), "")


def _letters(text: str) -> str:
    return "".join(c for c in normalize("NFKC", text).casefold() if _in_word(c))
