"""A state directory to decide over without consequences: what is written goes into a scratch directory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from msgspec import Struct

from pipeline.state_db import LAST, Portion, StateDb, encode_call
from schemas.calls import Call

_GONE = b""  # stands for the state of a profile that is no more
_PLANNED = (
    """CREATE TABLE planned (
    connection TEXT, sync TEXT, form TEXT, what TEXT, cause TEXT, route TEXT, profile TEXT, identifier TEXT,
    ask INTEGER, replaces INTEGER, netted INTEGER, lacks INTEGER, unit INTEGER, call BLOB
)""",
    "CREATE INDEX planned_by_ask ON planned (connection, ask)",
)


class PlannedCall(Struct, frozen=True):
    """A call that a run would make, and what a plan says of it."""

    connection: str
    sync: str
    form: str
    what: str
    cause: str
    route: str
    call: Call
    netted: bool  # the vendor has its value, unless what it replaces was sent
    lacks: bool  # a key that the vendor requires is not known
    unit: bool  # it is the first of what travels as one object


class Overlay(StateDb):
    """The state of `base` with what was decided since, which stands in `scratch`."""

    def __init__(self, base: StateDb, scratch: StateDb) -> None:
        super().__init__(base.folder, scratch._db)
        self._base, self._scratch = base, scratch
        self.before: Mapping[str, bytes] = {}  # packed states that were read since the last portion began

    @staticmethod
    def make(base: Path, scratch: Path) -> None:
        """Make the scratch directory."""
        StateDb.create(scratch)
        with (
            closing(StateDb.open(base, to_read=True)) as known,
            closing(StateDb.open(scratch)) as db,
            db.transaction() as database,
        ):
            database.execute("UPDATE meta SET value = ? WHERE key = 'next_ask'", (known.meta("next_ask"),))
            for statement in _PLANNED:
                database.execute(statement)

    @classmethod
    def over(cls, base: Path, scratch: Path) -> "Overlay":
        return cls(StateDb.open(base, to_read=True), StateDb.open(scratch))

    def close(self) -> None:
        self._base.close()
        self._scratch.close()

    def registry(self) -> bytes:
        """None was ever written here: no file is renamed for a plan."""
        return b""

    def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        found = self._base.get(ids) | super().get(ids)
        found = {name: state for name, state in found.items() if state != _GONE}
        self.before = {**self.before, **found}
        return found

    def names(self, after: str, most: int, last: str = LAST) -> list[str]:
        return self._base.names(after, most, last)

    def folded(self, connection: int) -> tuple[bytes, int] | None:
        return super().folded(connection) or self._base.folded(connection)

    @contextmanager
    def portion(self) -> Iterator[Portion]:
        with self.transaction() as database:
            self.before = {}
            yield PlanPortion(database)


class PlanPortion(Portion):
    """What one transaction writes into the scratch directory."""

    def put(self, states: Mapping[str, bytes]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO subjects VALUES (?, ?)", sorted(states.items()))

    def drop(self, ids: Iterable[str]) -> None:
        self.put(dict.fromkeys(ids, _GONE))

    def name(self, named: object, unnamed: object) -> None:
        """Nobody looks for people in a plan."""

    def count_members(self, more: object) -> None:
        """A plan changes no audience."""

    def free(self, connection: int, asks: Iterable[int]) -> None:
        """The calls are in the state itself, where they stay."""

    def append(self, connection: int, calls: Sequence[Call]) -> None:
        """Only their numbers count: the calls themselves come by `plan`."""
        if calls:
            newest = max(call.ask for call in calls)
            self._db.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'next_ask'", (newest + 1,))

    def knows_file(self, connection: int) -> bool:
        return True  # no file is made for a plan

    def plan(self, calls: Iterable[PlannedCall]) -> None:
        self._db.executemany(
            "INSERT INTO planned VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    each.connection, each.sync, each.form, each.what, each.cause, each.route, each.call.profile_id,
                    ":".join(each.call.identifier), each.call.ask, each.call.replaces, each.netted, each.lacks,
                    each.unit, encode_call(each.call),
                )
                for each in calls
            ],
        )  # fmt: skip
