"""Random people, what happens to them, and what their vendor is to know of it in the end."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st
from msgspec.structs import replace

from sandbox.examples import ACTIVE, AUDIENCE, REVENUE, TRAIT
from sandbox.faults import Fault
from schemas.calls import Call, Identifier, Kind
from schemas.canonical import digest
from schemas.workspace import Computation
from transforms.destinations.contract import Destination

NAMES_ITS_ITEMS = ("braze", "hubspot")  # in answers about several, so that their order says nothing
ENRICHMENT = ("first_name", "points")  # plain traits of people that go along
NAME = "Quentin"  # begins every first name
ACCOUNT = "acme"  # that people join and leave
DELETIONS = 99  # the slot of all deletions

ODD = st.text("aZ09 .-_+'\"\\/?&=%#:;,<>{}[]|üß漢", min_size=0, max_size=8)
NUMBERS = st.integers(-(2**31), 2**31) | st.floats(-1e6, 1e6, width=32)
KINDS_OF_VALUES = (  # a trait has values of one kind: many vendors hold a field to the kind of its first one
    NUMBERS, st.booleans(), ODD, st.none() | ODD, st.lists(ODD, max_size=3),
    st.dictionaries(st.sampled_from(["a", "b c"]), st.integers(0, 9), max_size=2),
)  # fmt: skip
# Their fakes refuse what signs in too, once it is old, or give the same token again.
SAME_SESSION = ("eloqua", "marketo", "marketo-static-lists", "responsys", "responsys-batch")


class Change(NamedTuple):
    """Something that happened to a person, or to the account of its number."""

    person: int
    kind: Kind  # a form, or `delete`
    trait: tuple[Any] | None  # the trait's value; None: the person enters or leaves the audience
    traits: dict[str, Any]  # plain ones that are known since


class History(NamedTuple):
    """People with their identifiers, and what happened to them."""

    people: list[list[Identifier]]
    changes: list[Change]


def identifier(kind: str, person: int, odd: str) -> Identifier:
    """One that no other person has."""
    match kind:
        case "email":
            safe = "".join(letter for letter in odd if letter.isascii() and letter.isalnum())
            return Identifier(kind, f"{safe.lower()}+p{person}@example.com")
        case "phone":
            return Identifier(kind, f"+49170123456{person}")
        case "ios.idfa" | "android.idfa":
            return Identifier(kind, f"6d92078a-8246-4ba4-ae5b-76104861e7d{person}")
        case _:
            return Identifier(kind, f"{kind}-{odd}-{person}")


def happens(kind: type[Destination]) -> list[Kind]:
    """What can happen to people, at this destination."""
    return [*kind.forms, *(["delete"] if kind.forgets else [])]


@st.composite
def histories(draw: st.DrawFn, kind: type[Destination]) -> History:
    kinds = ["user_id", "email", "loyalty_id"] if "*" in kind.identifiers else list(kind.identifiers)
    people = []
    for person in range(draw(st.integers(1, 4))):
        chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3, unique=True))
        people.append([identifier(each, person, draw(ODD)) for each in chosen])
    value = st.none() | st.tuples(draw(st.sampled_from(KINDS_OF_VALUES)))
    traits = st.fixed_dictionaries({}, optional={"first_name": st.none() | ODD.map(NAME.__add__), "points": NUMBERS})
    who = st.integers(0, len(people) - 1)
    change = st.builds(Change, who, st.sampled_from(happens(kind)), value, traits)
    one_of_each = [draw(st.builds(Change, who, st.just(each), value, traits)) for each in happens(kind)]
    return History(people, draw(st.permutations(one_of_each)) + draw(st.lists(change, max_size=12)))


def faults(kind: type[Destination]) -> st.SearchStrategy[Fault]:
    found = [
        Fault(status=503, share=0.3), Fault(status=429, retry_after=2.0, share=0.3), Fault(status=500, share=0.3),
        Fault(reset=0.3), Fault(hang=0.3), Fault(garbage=0.3), Fault(truncate=0.3), Fault(refuse=0.3),
        Fault(refuse=0.3, reset=0.2, status=503, share=0.2),
    ]  # fmt: skip
    if kind.slug in NAMES_ITS_ITEMS:
        found.append(Fault(shuffle=0.5, refuse=0.3))
    if not kind.auth.signs_in:  # what is signed for another time is refused, rightly
        found.append(Fault(status=429, share=0.3, skew=300.0))
    if kind.auth.signs_in and kind.slug not in SAME_SESSION:
        found.append(Fault(expire=1.0, latency=0.2))
    return st.builds(lambda fault, seed: replace(fault, seed=seed), st.sampled_from(found), st.integers(0, 99))


class Telling:
    """What the changes ask for: one call for each identifier of the person, in their order."""

    def __init__(self, destination: Destination, people: list[list[Identifier]]) -> None:
        self._destination, self._people = destination, people
        self._held: dict[tuple[int, str, str], Any] = {}  # by person, form and key
        self._traits: dict[int, dict[str, Any]] = {}  # what is known of persons besides
        self._slots: dict[tuple[str, str], int] = {}
        self._told: dict[Identifier, None] = {}
        self._ask = self._at = 0

    def calls(self, changes: list[Change]) -> Iterator[Call]:
        for change in changes:
            self._at += 1
            yield from self._deletions(change.person) if change.kind == "delete" else self._calls(change)

    def _calls(self, change: Change) -> Iterator[Call]:
        person, form, trait, news = change
        of = _computation(form, trait is None)
        who = (person, form, of.key)
        known = self._held.get(who, False if of.kind == "audience" else None)
        value: Any = not known if of.kind == "audience" else trait[0] if trait else None
        if form == "member":
            value = {ACCOUNT: not (known or {}).get(ACCOUNT, False)}
        self._held[who] = value
        traits = self._traits.setdefault(person, {"first_name": NAME, "points": person})
        traits |= news
        required = dict.fromkeys(type(self._destination).required, f"Ann {person}")
        goes_along = {"identify": traits | required, "list": traits | required, "group": {}}.get(form, required)
        account = [Identifier("account_id", f"account-{person}")]
        for each in account if form == "group" else self._people[person]:
            self._told[each] = None
            yield self._call(
                person, ("add" if value else "remove") if form == "list" else form, each, of.key, value,
                self._slots.setdefault((form, of.key), len(self._slots) + 1), before=digest(known), traits=goes_along,
            )  # fmt: skip

    def _deletions(self, person: int) -> Iterator[Call]:
        """Of what was told; the person is nobody from then on."""
        for who in [each for each in self._held if each[0] == person and each[1] != "group"]:
            del self._held[who]
        self._traits.pop(person, None)
        for each in self._people[person]:
            if each in self._told and self._destination.can_forget(each.type):
                del self._told[each]
                yield self._call(person, "delete", each, "", None, DELETIONS)

    def _call(self, person: int, kind: Kind, who: Identifier, key: str, value: Any, slot: int, **more: Any) -> Call:
        self._ask += 1
        at = 1_760_000_000_000_000 + self._at * 1_000_000
        return Call(f"person-{person}", kind, who, key, value, at, self._ask, slot, 1, key, key, **more)


def _computation(form: Kind, audience: bool) -> Computation:
    if form in ("group", "member"):
        return ACTIVE if audience and form == "group" else REVENUE
    return AUDIENCE if audience or form == "list" else TRAIT


def wanted(made: list[Call]) -> list[Call]:
    """The last word on everything since the person was deleted; of lists, who is in; of events, all."""
    last: dict[Any, Call] = {}
    for call in made:
        if call.kind == "delete":
            last = {place: each for place, each in last.items() if each.identifier != call.identifier}
        else:
            last[call.slot, call.identifier, call.ask if call.kind == "track" else 0] = call
    return [
        replace(call, before=digest(False if call.key in (AUDIENCE.key, ACTIVE.key) else None))
        for call in sorted(last.values(), key=lambda call: call.ask)
        if call.kind != "remove"
    ]
