"""What ends a command, and mistakes of a workspace file, in words by which they can be fixed without the code."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Problem:
    """One mistake. `value` is None where there is nothing to show, or where it must not be shown."""

    file: str
    line: int | None  # from 1
    field: str  # `connections[0].settings.api_key`
    value: str | None
    message: str
    allowed: tuple[str, ...] = ()
    suggestion: str = ""

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        told = [f"{where}: {self.field}: " if self.field else f"{where}: "]
        if self.value is not None:
            told.append(f"{shown(self.value)} ")
        told.append(self.message)
        if self.suggestion:
            told.append(f"; did you mean {shown(self.suggestion)}?")
        if self.allowed:
            told.append(f"{'' if self.suggestion else '.'} Allowed: {', '.join(self.allowed)}")
        return "".join(told)


class Ending(Exception):
    """What ends a command. The text says why and what to do; `code` is its exit code (`pipeline.commands.exits`)."""

    code = 3  # it needs a person


class EngineProblem(Ending):
    """An engine cannot be used."""


class NeedsConsent(Ending):
    """The workspace would tell many people something that nobody asked for; the text says what, and how to agree."""


class WorkspaceError(Exception):
    """The workspace cannot be used; `problems` are all its mistakes, in order of line."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = sorted(problems, key=lambda p: p.line or 0)
        super().__init__(f"{file}: {len(self.problems)} mistakes")

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{count} mistakes in {self.file}:" if count > 1 else f"A mistake in {self.file}:"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])


def shown(value: str) -> str:
    """A value in quotes, on one line, cut where it is long."""
    line = re.sub(r"\s+", " ", value)
    return f'"{line}"' if len(line) <= 80 else f'"{line[:77]}..."'


def closest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant; empty where none is near."""
    by_form = {re.sub(r"[\W_]+", "_", k.casefold()): k for k in known}
    near = get_close_matches(re.sub(r"[\W_]+", "_", word.casefold()), by_form, n=1, cutoff=0.6)
    return by_form[near[0]] if near else ""
