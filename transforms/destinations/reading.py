"""Reading answers: any part of one may be missing, null or of another type, and none of that is an exception."""

from math import isfinite
from typing import Any


def part(value: Any, name: str) -> dict[str, Any]:
    """The object of this name; empty where there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def rows(value: Any, name: str) -> list[dict[str, Any]]:
    """The objects in the list of this name."""
    return [item for item in items(value, name) if isinstance(item, dict)]


def items(value: Any, name: str) -> list[Any]:
    """The list of this name; empty where there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def word(value: Any, name: str) -> str:
    """The text or number of this name, as text; "" where it is neither."""
    found = value.get(name) if isinstance(value, dict) else None
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""


def count(value: Any, name: str) -> int:
    """The number of this name; 0 where it is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return int(found) if isinstance(found, int | float) and isfinite(found) else 0


def lose(known: dict[str, Any], key: str, thing: Any) -> None:
    """Forget what is known by a key, unless it is another thing by now: somebody else has made it again meanwhile."""
    if known.get(key) == thing:
        del known[key]
