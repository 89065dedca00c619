"""The commit: every file of the decision is written, so the pointer moves; or a file was unreadable, so it does not."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.store import Committed, Decided, Manifest, Run
from transforms.logic.plan import Plan, sync_id
from transforms.logic.shard import FLUSHED, SHARDS
from transforms.write import Written


@dataclass(frozen=True)
class Past:
    """What earlier runs left of one connection."""

    left: int = 0  # calls that wait for another run
    flushed: Mapping[str, int] = field(default_factory=dict)  # by computation: microseconds since 1970
    acknowledged: bool = False  # the vendor acknowledged a call


@dataclass(frozen=True)
class Commit:
    """Called once per run with everything the first step says. Picklable."""

    run: Run
    plan: Plan
    created: Mapping[str, int]  # of every sync ever seen
    past: Mapping[str, Past]  # of connections, by name

    def __call__(self, entries: list[tuple[str, Any]]) -> dict[str, list[int]] | None:
        """Commit; the outbox sizes by connection and shard. None where the run cannot be committed."""
        errors = sorted(entry for kind, entry in entries if kind == "error")
        written = [entry for kind, entry in entries if kind == "written"]
        sizes = self._sizes(written)
        decided = self._decided([entry for kind, entry in entries if kind == "counts"], sizes, errors)
        decided.profiles = sum(each.items for each in written if each.what == "state")
        self.run.write_decided(decided)
        if errors:
            return None
        self.run.commit(self._manifest(sizes, decided))
        return sizes

    def _sizes(self, written: list[Written]) -> dict[str, list[int]]:
        sizes = {connection.name: [0] * SHARDS for connection in self.plan.connections}
        for each in written:
            if each.what in sizes:
                sizes[each.what][each.shard] = each.items
        return sizes

    def _decided(self, counts: list[Any], sizes: dict[str, list[int]], errors: list[str]) -> Decided:
        total: Counter[str] = Counter()
        connections: dict[str, Counter[str]] = {name: Counter() for name in sizes}
        for of_input, of_connections in counts:
            total.update(of_input)
            for name, counter in of_connections.items():
                connections[name].update(counter)
        for name, shards in sizes.items():
            connections[name]["made"] = sum(shards)
            connections[name]["left"] = self.past.get(name, Past()).left
        return Decided(
            errors=errors, input=dict(total), connections={name: dict(found) for name, found in connections.items()}
        )

    def _manifest(self, sizes: dict[str, list[int]], decided: Decided) -> Manifest:
        connections = {}
        for connection in self.plan.connections:
            calls = sizes[connection.name]
            past = self.past.get(connection.name, Past())
            flushed = [
                sync.key for sync in connection.syncs if decided.connections[connection.name].get(FLUSHED + sync.key)
            ]
            connections[connection.name] = Committed(
                settings=connection.settings.hex(),
                calls=calls,
                flushed={**past.flushed, **dict.fromkeys(flushed, self.plan.now)},
                acknowledged=past.acknowledged,
            )
        seen = {sync_id(c.name, s.key): self.plan.now for c in self.plan.connections for s in c.syncs}
        return Manifest(
            run=self.run.name,
            now=self.plan.now,
            plan=self.plan.digest().hex(),
            created={**seen, **self.created},
            connections=connections,
        )
