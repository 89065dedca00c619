"""Oracle Responsys Batch: an extension table per audience, with a flag of who is in it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from schemas.workspace import Form
from transforms.destinations.contract import (
    Blocked,
    Call,
    Conversation,
    Outcome,
    Preparation,
    Rejected,
    Target,
    all_of,
    besides,
    units,
)
from transforms.destinations.names import in_ascii
from transforms.destinations.responsys_api import LONGEST, Account, Responsys, whom


class ResponsysBatch(Responsys):
    slug = "responsys-batch"
    name = "Oracle Responsys Batch"
    remark = "Who leaves an audience keeps a row in its table, with 0 as the flag."
    forms = ("list",)
    flush_every: ClassVar[Mapping[Form, float]] = {"list": 3_600.0}
    Settings = Account

    def name_at_vendor(self, form: Form, key: str) -> str:
        """A table's name, and that of its column."""
        return in_ascii(key, LONGEST, lower=True)

    def prepare(self, targets: Mapping[Target, Call]) -> Preparation:
        """Find the tables by name, make those that are missing."""
        known: list[str] = self.memory.setdefault("tables", [])
        wanted = [target for target in sorted(targets) if target.key not in known]
        if not wanted:
            return None
        found = yield from self.tables()
        if isinstance(found, str):
            return dict.fromkeys(wanted, found)
        refusals: dict[Target, str] = {}
        for target in wanted:
            table = self.name_at_vendor("list", target.key)
            if table not in found:
                if why := (yield from self.make_table(table, [table.upper()])):
                    refusals[target] = why
                    continue
                self.made.add(target)
            known.append(target.key)
        return refusals

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        """Everybody goes into the profile list first; who is refused there, goes no further."""
        key, adds = calls[0].key, calls[0].kind == "add"
        if key not in self.memory.get("tables", []):
            return all_of(calls, Blocked(f"Responsys has no extension table for {key!r}", prepare=True))
        known: dict[int, Outcome | None] = dict.fromkeys(range(len(calls)))
        if adds:
            places = list(units(self, calls).values())
            listed = yield from self.to_list([calls[each[0]] for each in places])
            for each, outcome in zip(places, listed, strict=True):
                known |= dict.fromkeys(each, outcome if isinstance(outcome, Rejected | Blocked) else None)
        return (yield from besides(calls, [known[place] for place in range(len(calls))], self._flag))

    def _flag(self, calls: list[Call]) -> Conversation:
        key = calls[0].key
        table = self.name_at_vendor("list", key)
        places = list(units(self, calls).values())
        flag = {table.upper(): "1" if calls[0].kind == "add" else "0"}
        found: list[dict[str, Any]] = [{**dict([whom(calls[each[0]])]), **flag} for each in places]
        told = yield from self.to_table(table, found, calls[0].identifier.type)
        tables: list[str] = self.memory["tables"]
        if any(isinstance(outcome, Blocked) and outcome.prepare for outcome in told) and key in tables:
            tables.remove(key)
        outcomes = {place: outcome for each, outcome in zip(places, told, strict=True) for place in each}
        return [outcomes[place] for place in range(len(calls))]
