"""How times, durations and shares are written on the command line."""

import argparse
import re
from datetime import datetime
from urllib.parse import urlsplit

from schemas.workspace import UNITS


def time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 1998-03-31T00:00:00Z") from error
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no zone; write 1998-03-31T00:00:00Z")
    return moment


def duration(text: str) -> float:
    """Seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 30s, 10m or 2h")
    return float(match[1]) * UNITS[match[2]]


def address(text: str) -> str:
    """Of a server: http or https."""
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address such as http://127.0.0.1:8080")
    return text


def share(text: str) -> float:
    """From 0 to 1."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%", text)
    if not match or float(match[1]) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 50%")
    return float(match[1]) / 100
