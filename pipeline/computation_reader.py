"""The computations of a workspace file, and what the rest of the file may call them."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from msgspec import UNSET

from pipeline.problems import closest
from pipeline.yaml_reader import Firsts, Reader, Spot
from schemas.events import IDENTIFIER_TYPES
from schemas.workspace import Computation
from transforms.logic.keys import is_key, snake_case

# They stand beside the key in payloads, so nothing else can be called like them.
RESERVED_KEYS = frozenset({"audience_key", "trait_key", *IDENTIFIER_TYPES})


class Computations:
    """Reads them, and knows them by key and by name."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.note = reader.note
        self.kinds: dict[str, str] = {}  # by key
        self.of_accounts: set[str] = set()  # keys
        self._key_of: dict[str, str] = {}  # by key and by name
        self._half_read: dict[str, str] = {}  # of those that have other mistakes, likewise
        self.nameless = False  # one has no name, or none is read, so any reference may be to it

    def read(self, workspace: Any, items: Iterable[Spot]) -> tuple[Computation, ...]:
        """Those without a mistake. `workspace` is its name, or UNSET."""
        found = []
        first = Firsts(self.note)
        for item in items:
            values, spots = self.reader.record(item, Computation)
            name, kind, key = (values.get(field, UNSET) for field in ("name", "kind", "key"))
            if "key" not in values and name is not UNSET:
                key = snake_case(name)
            at_key = spots.get("key") or spots.get("name") or item
            if first.of("name", name, spots.get("name", item)) and self._check_key(at_key, key):
                first.of("key", key, at_key)
            first.of("id", values.get("id", UNSET), spots.get("id", item))
            if UNSET in (name, kind, key, values.get("level", "user")):
                told = [each for each in (key, name) if each is not UNSET]
                for each in told:
                    self._half_read[each] = told[0]
                self.nameless |= not told
                continue
            self.kinds[key] = kind
            self._key_of |= {name: self._key_of.get(name, key), key: key}
            level = values.get("level", "user")
            if level == "account":
                self.of_accounts.add(key)
            found.append(Computation(name, kind, key, values.get("id") or _computation_id(workspace, key), level))
        return tuple(found)

    def _check_key(self, spot: Spot, key: Any) -> bool:
        before = len(self.reader.problems)
        if key == "":
            self.note(spot, "has no letter or digit to make a key from; add a `key`", spot.text)
        elif key is not UNSET and reserved(key):
            self.note(
                spot, f"would have the key {key!r}, and calls use that name already; add another `key`", spot.text
            )
        elif key is not UNSET and not is_key(key):
            self.note(spot, "should have only letters, digits and `_`", key, suggestion=snake_case(key))
        return len(self.reader.problems) == before

    def key(self, spot: Spot) -> Any:
        """The key of the computation that is named there; UNSET, and noted, where there is none."""
        text = self.reader.value(spot, str)
        if text is UNSET or text in self._key_of:
            return self._key_of.get(text, UNSET)
        if self.nameless or text in self._half_read:
            return UNSET
        known = dict.fromkeys((*self.kinds, *self._half_read.values()))
        meant = closest(text, [*self._key_of, *self._half_read])
        return self.note(spot, "is not a computation of this workspace", text, known, meant)

    def key_or_trait(self, name: str) -> str:
        """The key of a computation; any other name is taken as that of a plain trait."""
        return self._key_of.get(name, name)


def reserved(key: str) -> bool:
    """Whether calls use this key already, however a vendor writes it."""
    return key.casefold() in RESERVED_KEYS


def _computation_id(workspace: Any, key: str) -> str:
    """The same in every run, different in another workspace."""
    return blake2b(f"{workspace}\0{key}".encode(), digest_size=12).hexdigest()
