"""What a command that goes on for long says: a line for each event of note. And what Beam does not."""

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from pipeline.moments import now


def text(event: str, words: str = "", **details: Any) -> None:
    """A line for people."""
    subject = "".join(f" {details.pop(name)}" for name in ("workspace", "connection") if name in details)
    told = " ".join(f"{name}={value}" for name, value in details.items())
    lines = "; ".join(line.strip() for line in words.splitlines()).replace(":; ", ": ")
    what = ": ".join(part for part in (event + subject, lines, told) if part)
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z {what}", flush=True)


def json(event: str, words: str = "", **details: Any) -> None:
    """A line of JSON."""
    said = {"words": words} if words else {}
    print(msgspec.json.encode({"at": now(), "event": event, **details, **said}).decode(), flush=True)


def mute_beam() -> None:
    """To be called before Beam is imported: it warns of missing extras, and logs errors that we print as one line."""
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
