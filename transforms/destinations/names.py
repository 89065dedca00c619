"""Names at vendors: how a key becomes one that the vendor takes, and which keys of a connection would share one."""

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple

from schemas.workspace import Sync
from transforms.destinations.contract import Destination


def in_ascii(key: str, most: int, lower: bool = False) -> str:
    """A name of ASCII letters, digits and `_`, of `most` characters.

    Blanks and signs become `_`. A key of other letters, or one that is too long, would lose what
    tells it from others: what is left of it is followed by a hash of the key, always the same.
    """
    name = re.sub("[^A-Za-z0-9_]", "_", key.lower() if lower else key)
    if key.isascii():
        return cut(name, key, most)
    rest = re.sub("_+", "_", name).strip("_")
    return cut(f"{rest or 'key'}_{_hash(key)}", key, most)


def cut(name: str, key: str, most: int) -> str:
    """The name of a key; one that is too long ends in a hash of the key."""
    return name if len(name) <= most else f"{name[: most - 9]}_{_hash(key)}"


def _hash(key: str) -> str:
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


class Collision(NamedTuple):
    """Several keys (or traits, or names of events) that are one at the vendor; or several syncs of one key."""

    what: Literal["key", "event"]
    form: str
    name: str  # at the vendor
    keys: tuple[str, ...]
    syncs: tuple[str, ...]  # whose they are

    def words(self) -> str:
        """For people."""
        if len(self.keys) == 1:
            who = " and ".join(map(repr, self.syncs))
            return f"the syncs {who} both send {self.keys[0]!r}: give one of them another `send_as`"
        which = " and ".join(map(repr, self.keys))
        advice = "`events` names" if self.what == "event" else "`key` or `send_as`"
        return f"{which} would both be {self.name!r} there: give one of them another of its {advice}"


def collisions(destination: Destination, syncs: Sequence[Sync]) -> list[Collision]:
    """What these syncs of one connection would mix up at the vendor, in the order of the syncs."""
    used: dict[tuple[Literal["key", "event"], str, str], dict[tuple[str, str], None]] = {}
    for sync in syncs:
        for what, form, name, key, owner in _names(destination, sync):
            used.setdefault((what, form, name), {})[key, owner] = None
    found = []
    for (what, form, name), users in used.items():
        keys = tuple(dict.fromkeys(key for key, _ in users))
        owners = tuple(dict.fromkeys(owner for _, owner in users if owner))
        # An occurrence says which key it is of; a value that two syncs set has two masters.
        if len(keys) > 1 or (len(owners) > 1 and form != "track"):
            found.append(Collision(what, form, name, keys, owners))
    return found


def _names(destination: Destination, sync: Sync) -> Iterator[tuple[Literal["key", "event"], str, str, str, str]]:
    """What it is, its form, its name at the vendor, the key, and the sync; "" for a trait, which any sync may send."""
    key, name = sync.send_as or sync.computation, sync.name or sync.computation
    for form in sync.forms or destination.forms[:1]:
        yield "key", form, destination.name_at_vendor(form, key), key, name
        if form == "identify":
            yield from (("key", form, destination.trait_at_vendor(trait), trait, "") for trait in sync.enrich)
        if form == "track":
            computation = destination.computations.get(sync.computation)
            events = sync.events
            both = (events.entered, events.exited)
            for event in (events.computed,) if computation and computation.kind == "trait" else both:
                yield "event", form, destination.event_at_vendor(event), event, name
