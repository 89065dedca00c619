"""For how long calls wait, as `/status`, the page, the metrics and `on_trouble` have it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.ages import oldest_change, oldest_waiting
from pipeline.state_db import StateDb
from pipeline.streaming.places import Places
from schemas.calls import Call
from tests.pipeline.stores import HOOK, NUMBER, append, call, settle
from transforms.logic.plan import ConnectionPlan

PLAN = ConnectionPlan(HOOK, NUMBER, None, (), (), {}, (), 0, frozenset(), frozenset())
Asked = Callable[[Sequence[Call]], None]


def ago(seconds: float) -> int:
    """An ask of then."""
    return int((time.time() - seconds) * 1_000_000)


@contextmanager
def of_a_state(folder: Path) -> Iterator[Asked]:
    """Calls are numbered by the clock."""
    with StateDb.use(folder) as db:
        yield lambda calls: append(db, calls)


@contextmanager
def of_a_sender(folder: Path) -> Iterator[Asked]:
    """A sender of a streaming job numbers calls by their places."""
    places = Places(folder / f"{HOOK}.places")
    with StateDb.use(folder) as db:
        yield lambda calls: append(db, places.enter(enumerate(calls, 1)))
    places.close()


@pytest.fixture(params=[of_a_state, of_a_sender])
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asked]:
    StateDb.create(tmp_path)
    with request.param(tmp_path) as asked:
        yield asked


def test_a_call_waits_since_it_was_asked(tmp_path: Path, asked: Asked) -> None:
    assert (0.0, 0.0) == (oldest_waiting(tmp_path, HOOK, NUMBER), oldest_change(tmp_path, PLAN, "webhook"))
    calls = [call(ago(300)), call(ago(60), backfill=True)]
    asked(calls)
    assert calls[0].ask / 1e6 == oldest_waiting(tmp_path, HOOK, NUMBER)
    assert 300 == pytest.approx(oldest_change(tmp_path, PLAN, "webhook"), abs=5)


def test_of_the_history_only_the_moment_is_told(tmp_path: Path, asked: Asked) -> None:
    asked([call(ago(300), backfill=True)])
    assert 300 == pytest.approx(time.time() - oldest_waiting(tmp_path, HOOK, NUMBER), abs=5)
    assert 0.0 == oldest_change(tmp_path, PLAN, "webhook")


@pytest.mark.parametrize(("asked_ago", "silent_ago", "waits"), [(900, 300, 300), (60, 300, 60), (900, 0, 0)])
def test_while_the_vendor_is_silent_history_waits_too(
    tmp_path: Path, asked: Asked, asked_ago: float, silent_ago: float, waits: float
) -> None:
    asked([call(ago(asked_ago), backfill=True)])
    silent = time.time() - silent_ago if silent_ago else 0.0
    assert waits == pytest.approx(oldest_change(tmp_path, PLAN, "webhook", silent), abs=5)


def test_what_has_an_outcome_waits_no_more(tmp_path: Path, asked: Asked) -> None:
    asked([call(ago(300))])
    settle(tmp_path, [call(ask) for ask in _asks(tmp_path)])
    assert (0.0, 0.0) == (oldest_waiting(tmp_path, HOOK, NUMBER), oldest_change(tmp_path, PLAN, "webhook"))


def _asks(folder: Path) -> list[int]:
    with StateDb.use(folder) as db:
        return [ask for (ask,) in db.rows("SELECT ask FROM calls")]
