"""What a fake vendor keeps: people and events, found by any of their identifiers."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

Identifiers = Mapping[str, str]


class Person:
    """A user, contact or profile at the vendor."""

    __slots__ = ("identifiers", "known_as", "number", "told", "values")

    def __init__(self, number: int) -> None:
        self.number = number
        self.identifiers: dict[str, str] = {}  # one of each kind
        self.known_as: list[tuple[str, str]] = []  # all that find this person
        self.values: dict[str, Any] = {}
        self.told: list[tuple[float, dict[str, Any]]] = []  # every write, in order of arrival

    def shown(self) -> dict[str, Any]:
        return {
            "identifiers": self.identifiers,
            "values": self.values,
            "told": [{"at": at, "values": values} for at, values in self.told],
        }


class People:
    """People by (kind of identifier, value). One person may have several values of a kind."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Person] = {}
        self._kinds: set[str] = set()
        self._all: dict[int, Person] = {}
        self._made = 0

    def __len__(self) -> int:
        return len(self._all)

    def find(self, kind: str, value: str) -> Person | None:
        return self._known.get((kind, value))

    def numbered(self, number: int) -> Person | None:
        return self._all.get(number)

    def find_any(self, identifiers: Identifiers) -> Person | None:
        """The person with the first identifier that is known."""
        return next((p for kind, value in identifiers.items() if (p := self.find(kind, value))), None)

    def add(self) -> Person:
        self._made += 1
        person = self._all[self._made] = Person(self._made)
        return person

    def identify(self, person: Person, kind: str, value: str, primary: bool = True) -> None:
        """From now on the value finds this person; `primary`: it is also the one that is shown."""
        if self._known.get((kind, value)) is not person:
            self._known[kind, value] = person
            self._kinds.add(kind)
            person.known_as.append((kind, value))
        if primary or kind not in person.identifiers:
            person.identifiers[kind] = value

    def tell(self, person: Person, at: float, values: dict[str, Any]) -> None:
        """Set values; None removes one."""
        person.told.append((at, values))
        for key, value in values.items():
            if value is None:
                person.values.pop(key, None)
            else:
                person.values[key] = value

    def forget(self, person: Person) -> None:
        self._all.pop(person.number, None)
        for known in person.known_as:
            if self._known.get(known) is person:
                del self._known[known]

    def having(self, identifier: str | None) -> Iterable[Person]:
        """Everybody, or the people that have an identifier of this value."""
        if identifier is None:
            return self._all.values()
        found = (self.find(kind, identifier) for kind in self._kinds)
        return {p.number: p for p in found if p}.values()


class Events:
    """Events in order of arrival. A vendor that drops repeats gives a key."""

    def __init__(self) -> None:
        self._all: list[dict[str, Any]] = []
        self._by_key: dict[Hashable, dict[str, Any]] = {}
        self._by_identifier: dict[str, list[dict[str, Any]]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(
        self, at: float, name: str, identifiers: Identifiers, properties: Any, key: Hashable = None, keep: bool = False
    ) -> None:
        """Keep an event; one with the same key is counted in `repeats` and replaced, unless `keep`."""
        event = self._by_key.get(key) if key is not None else None
        if event is None:
            event = {"at": at, "name": name, "identifiers": dict(identifiers), "properties": properties, "repeats": 0}
            self._all.append(event)
            if key is not None:
                self._by_key[key] = event
            for identifier in identifiers.values():
                self._by_identifier.setdefault(identifier, []).append(event)
            return
        event["repeats"] += 1
        if not keep:
            for identifier in set(identifiers.values()) - set(event["identifiers"].values()):
                self._by_identifier.setdefault(identifier, []).append(event)
            event.update(name=name, identifiers={**event["identifiers"], **identifiers}, properties=properties)

    def forget(self, identifier: str) -> None:
        """Remove the events about an identifier."""
        gone = {id(event) for event in self._by_identifier.pop(identifier, [])}
        self._all = [event for event in self._all if id(event) not in gone]
        for known, events in self._by_identifier.items():
            self._by_identifier[known] = [event for event in events if id(event) not in gone]

    def having(self, identifier: str | None) -> list[dict[str, Any]]:
        return self._all if identifier is None else self._by_identifier.get(identifier, [])
