"""How commands print: tables that fit a terminal, and whole, plain lines where there is none."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import Any, TextIO, cast

Row = Sequence[str]


class Help(argparse.HelpFormatter):
    """Options in one column, wide enough for the longest of ours. Lines of a text stay lines, and are wrapped."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(
            fill(
                line,
                width,
                initial_indent=indent,
                subsequent_indent=indent + ("     " if line[:1] == " " else ""),
                break_on_hyphens=False,
            )
            for line in text.splitlines()
        )


class Surviving:
    """A stream that may break while its writer goes on: what comes after that is left out."""

    def __init__(self, stream: TextIO, tell: Callable[[OSError], None]) -> None:
        """`tell` is called once, when the stream breaks."""
        self._stream, self._tell, self._broken = stream, tell, False

    def write(self, text: str) -> int:
        self._try(partial(self._stream.write, text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, act: Callable[[], object]) -> None:
        if self._broken:
            return
        try:
            act()
        except OSError as error:
            self._broken = True
            # What it still holds is written when the interpreter ends, and must not be an error once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self._tell(error)


@contextmanager
def surviving(tell: Callable[[OSError], None]) -> Iterator[None]:
    """Standard output and errors may break while the block goes on; `tell` hears of the output."""
    output, errors = Surviving(_open(sys.stdout), tell), Surviving(_open(sys.stderr), lambda error: None)
    with redirect_stdout(cast(TextIO, output)), redirect_stderr(cast(TextIO, errors)):
        try:
            yield
        finally:
            output.flush()
            errors.flush()


def _open(stream: TextIO | None) -> TextIO:
    """`stream` is None where the process was started with it closed."""
    return stream or Path(os.devnull).open("w")


def show_table(heads: Row, rows: Sequence[Row]) -> None:
    """Print a table, as it suits where it goes."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(plain_table(heads, rows) if width is None else fitted_table(heads, rows, width))


def plain_table(heads: Row, rows: Sequence[Row]) -> str:
    """Aligned columns, never cut: for files, pipes and logs."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    )


def fitted_table(heads: Row, rows: Sequence[Row], width: int) -> str:
    """Columns that wrap within the width of a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    columns = [Column(head, overflow="fold") for head in heads]
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(width=width, force_terminal=True)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


def show_text(text: str, indent: int = 0) -> None:
    """Print a paragraph: on a terminal within its width, elsewhere in one line."""
    before, after = " " * indent, " " * (indent + 2)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(before + text if width is None else fill(text, width, initial_indent=before, subsequent_indent=after))


def counted(count: int, what: str) -> str:
    """`1 connection`, `2 connections`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def noted(words: str, number: int) -> str:
    """What a destination has to say of so many delivered calls; 0: of none in particular."""
    return f"{counted(number, 'delivered call')} {words}" if number else words


def listed(names: Sequence[str], nothing: str = "-") -> str:
    return ", ".join(names) or nothing


def lasting(seconds: float) -> str:
    """`1 h`, `90 s`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


def about(seconds: float) -> str:
    """`90 s`, `3 h`: as exact as an estimate is."""
    for unit, length, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def at_least(seconds: float) -> str:
    return f"{about(seconds)} or more" if seconds >= 1 else "less than a second"
