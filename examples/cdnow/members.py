"""Who is in an audience by the example's events, read in the plainest way: the latest word counts."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from schemas.calls import Call, Identifier
from schemas.canonical import digest
from schemas.events import AnyEvent, Audience, Delete, Profile, Trait
from transforms.destinations.contract import Destination

_AT = 891_388_800_000_000  # of every call: any time will do


class Wanted:
    """One person, and what is to be known of them."""

    def __init__(self, profile_id: str) -> None:
        self.profile_id = profile_id
        self.identifiers: dict[Identifier, None] = {}
        self.member = self.forgotten = False
        self.value: Any = None

    def calls(self, destination: Destination, audience: str) -> Iterator[Call]:
        """That tell a destination all of it, in the forms of its syncs; they are not numbered."""
        for sync in destination.syncs.values():
            value = True if sync.computation == audience else self.value
            for form in sync.forms:
                for slot, each in enumerate(self.identifiers, 1):
                    if {each.type, "*"} & set(destination.identifiers):
                        yield Call(
                            self.profile_id, "add" if form == "list" else form, each, sync.computation, value, _AT, 0,
                            slot, 1, sync.computation, sync.computation, before=digest(False),
                            traits=dict.fromkeys(destination.required, "Anybody"),
                        )  # fmt: skip


def wanted(files: Iterable[Path], audience: str, trait: str) -> list[Wanted]:
    """The members who are not forgotten, from event files, the oldest first."""
    people: dict[str, Wanted] = {}
    decode = msgspec.json.Decoder(AnyEvent).decode
    events = (decode(line) for path in files for line in path.read_bytes().splitlines())
    for event in sorted(events, key=lambda event: event.at):
        if not getattr(event, "profile_id", None):
            continue
        person = people.setdefault(event.profile_id, Wanted(event.profile_id))
        match event:
            case Profile():
                person.identifiers |= dict.fromkeys(Identifier(each.type, each.id) for each in event.external_ids)
            case Audience(computation=of) if of == audience:
                person.member = event.member
            case Trait(computation=of) if of == trait:
                person.value = event.value
            case Delete():
                person.forgotten = True
    return [person for person in people.values() if person.member and not person.forgotten]
