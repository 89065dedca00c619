"""A secret that cannot print and cannot be pickled with its value: it knows only where to look."""

import os
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class MissingSecret(Exception):
    """The environment variable `name` is not set, or empty."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the environment variable {name} is not set")
        self.name = name


class Secret:
    """A reference to an environment variable, `${NAME}`; `reveal()` reads it, as late as possible."""

    __slots__ = ("variable",)

    def __init__(self, reference: str) -> None:
        match = _REFERENCE.fullmatch(reference)
        if not match:
            raise ValueError("expected ${NAME}, the name of an environment variable")
        self.variable = match[1]

    def reveal(self) -> str:
        """The value. Raises MissingSecret."""
        value = os.environ.get(self.variable, "")
        if not value:
            raise MissingSecret(self.variable)
        return value

    def __repr__(self) -> str:
        return f"${{{self.variable}}}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.variable == self.variable

    def __hash__(self) -> int:
        return hash(self.variable)


def secrets_in(value: Any) -> Iterator[Secret]:
    """All secrets of a connection's settings, however deep."""
    match value:
        case Secret():
            yield value
        case Struct():
            for name in value.__struct_fields__:
                yield from secrets_in(getattr(value, name))
        case dict():
            for item in value.values():
                yield from secrets_in(item)
        case list() | tuple():
            for item in value:
                yield from secrets_in(item)
