"""The past of connections, as the folders of runs tell it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from pipeline.summary import Summary
from schemas.report import Report

_RUNS = 20  # that count for what is usual of a connection


class Past(Struct):
    """What was usual of one connection in its latest runs."""

    calls: int = 0  # with an answer of the vendor
    rejected: int = 0
    requests: int = 0
    last: Report | None = None  # of the latest run that had it
    run: str = ""  # that run

    @property
    def per_request(self) -> float:
        """Calls in a request, repeated ones counted; 0: not known."""
        return self.calls / self.requests if self.requests else 0.0

    @property
    def rejections(self) -> float:
        """The share of calls that were rejected."""
        return self.rejected / self.calls if self.calls else 0.0


def summaries(state: Path) -> Iterator[Summary]:
    """The outcomes of runs, the latest first. What cannot be read is left out: it is for people."""
    for path in sorted((state / "runs").glob("*/summary.json"), reverse=True):
        try:
            yield msgspec.json.decode(path.read_bytes(), type=Summary)
        except (OSError, msgspec.MsgspecError):
            continue


def pasts(state: Path) -> dict[str, Past]:
    """By connection."""
    found: dict[str, Past] = {}
    for number, summary in enumerate(summaries(state)):
        if number == _RUNS:
            break
        for name, each in summary.connections.items():
            past = found.setdefault(name, Past())
            if past.last is None:
                past.last, past.run = each.report, summary.run
            past.calls += each.report.delivered + each.report.rejections
            past.rejected += each.report.rejections
            past.requests += each.report.requests
    return found
