"""How times, durations, shares and bounds are written on the command line."""

import argparse
import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from schemas.workspace import UNITS


def refuse_given(args: argparse.Namespace, options: Iterable[str], why: str) -> None:
    """End with the command's usage where one of these was given, since nothing would come of it."""
    for name in options:
        if getattr(args, name) != args.default_of(name):
            args.refuse(f"--{name.replace('_', '-')} {why}")


def time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 1998-03-31T00:00:00Z") from error
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no zone; write 1998-03-31T00:00:00Z")
    return moment


def duration(text: str) -> float:
    """The seconds of `30s`, `10m` or `2h`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 30s, 10m or 2h")
    return float(match[1]) * UNITS[match[2]]


def address(text: str) -> str:
    """The address of an http or https server."""
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address such as http://127.0.0.1:8080")
    return text


def positive(text: str) -> int:
    """A whole number above zero."""
    if not re.fullmatch(r"0*[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 8")
    return int(text)


def port(text: str) -> int:
    """A port; 0: one that is free."""
    if not re.fullmatch(r"\d{1,5}", text) or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, from 0 to 65535")
    return int(text)


def share(text: str) -> float:
    """`50%` as 0.5."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%", text)
    if not match or float(match[1]) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 50%")
    return float(match[1]) / 100


class Bound(NamedTuple):
    """At most so many of all, or such a share of them."""

    most: float
    of_all: bool  # `most` is a share, from 0 to 1

    def exceeded(self, number: int, all: int) -> bool:
        return number > (self.most * all if self.of_all else self.most)

    def __str__(self) -> str:
        return f"{self.most * 100:g}%" if self.of_all else f"{self.most:,.0f}"


def bound(text: str) -> Bound:
    """A number, or a share of all."""
    if text.endswith("%"):
        return Bound(share(text), of_all=True)
    if not re.fullmatch(r"\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number such as 100 nor a share such as 1%")
    return Bound(int(text), of_all=False)
