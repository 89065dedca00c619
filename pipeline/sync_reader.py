"""The syncs of a connection in the workspace file: what is sent, in which forms and under which names, and to whom."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from msgspec import UNSET

from pipeline.computation_reader import Computations, reserved
from pipeline.problems import closest
from pipeline.where_reader import read_where
from pipeline.yaml_reader import Reader, Special, Spot, nfc
from schemas.workspace import Form, Strategy, Sync
from transforms.destinations.contract import Destination
from transforms.logic.keys import is_key, meant_type, snake_case

ANY_IDENTIFIER = "*"
NOT_TOLD = ("none", "attach")  # strategies without a call of its own

Spots = Mapping[str, Spot]


class Told:
    """Whom a connection can tell, and whom it is told to tell."""

    def __init__(self, reader: Reader, destination: type[Destination] | None, understood: tuple[str, ...] | None):
        """`destination` and `understood` are None where mistakes hide them: the rest is checked all the same."""
        self.reader = reader
        self.name = destination.name if destination else ""
        self.understood = understood
        self._noted: set[str] = set()

    def strategies(self, spot: Spot | None) -> dict[str, Any]:
        """By type of identifier."""
        entries = self.reader.mapping(spot) if spot else None
        values = {}
        for written, at in (entries or {}).items():
            kind = nfc(written)
            self._check_type(at.at_key(), kind)
            values[kind] = self.reader.value(at, Strategy)
        return values

    def _check_type(self, spot: Spot, kind: str) -> None:
        understood = self.understood or ()
        meant = meant_type(kind, understood)
        if self.understood is None or ANY_IDENTIFIER in understood:
            if meant:
                self.reader.note(spot, "is not how this type is written", kind, suggestion=meant)
        elif kind not in understood:
            meant = meant if meant in understood else closest(kind, understood)
            self.reader.note(spot, f"is not an identifier that {self.name} understands", kind, understood, meant)

    def check(self, spot: Spot | None, strategies: Mapping[str, Any]) -> None:
        """Somebody has to be told. The only type that is understood goes along with nobody: it is told all the same."""
        understood = self.understood or (ANY_IDENTIFIER,)
        if spot is None or spot.field in self._noted or ANY_IDENTIFIER in understood:
            return
        if len(understood) == 1 and strategies.get(understood[0]) == "attach":
            return
        if all(strategies.get(kind) in NOT_TOLD for kind in understood):
            self._noted.add(spot.field)
            message = f"leaves nobody to tell. {self.name} understands {' and '.join(understood)}"
            self.reader.note(spot.at_key(), f"{message}; one of them has to be all, first or last")


class Syncs:
    """Reads the syncs of one connection."""

    def __init__(
        self,
        reader: Reader,
        computations: Computations,
        destination: type[Destination] | None,
        told: Told,
        identifiers: tuple[Spot | None, dict[str, Any]],
    ) -> None:
        """`identifiers`: the connection's, which a sync's own go before."""
        self.reader = reader
        self.note = reader.note
        self.computations = computations
        self.destination = destination
        self.told = told
        self.defaults_spot, self.defaults = identifiers
        self.first: dict[str, tuple[int, Any]] = {}  # by name: the line and the computation of the sync that has it
        self.spots: dict[str, Spots] = {}  # of the syncs that were read, by name

    def read(self, items: Iterable[Spot]) -> tuple[Sync, ...]:
        """Complete: with names, forms and all strategies. Without those that have mistakes."""
        return tuple(sync for item in items if (sync := self._sync(item)) is not None)

    def _sync(self, item: Spot) -> Sync | None:
        before = len(self.reader.problems)
        special: Special = {
            "computation": self.computations.key,
            "forms": lambda at: at,
            "where": lambda at: read_where(self.reader, at, self.computations),
            "identifiers": self.told.strategies,
        }
        values, spots = self.reader.record(item, Sync, special)
        key = values.get("computation", UNSET)
        kind = self.computations.kinds.get(key, "") if key is not UNSET else ""
        self._name(values, spots)
        self._forms(values, spots, kind)
        self._check_vendor_names(values, spots)
        self._check_events(values, spots, kind)
        self._enrich(values, spots)
        self._history(values, spots)
        values["identifiers"] = self.defaults | values.get("identifiers", {})
        self.told.check(spots.get("identifiers", self.defaults_spot), values["identifiers"])
        if len(self.reader.problems) > before or UNSET in (key, values["forms"]):
            return None
        sync = Sync(**values)
        self.spots[sync.name] = spots
        return sync

    # -- names
    def _name(self, values: dict[str, Any], spots: Spots) -> None:
        key, name = values.get("computation", UNSET), values.get("name", UNSET)
        if "name" not in spots:
            name = values["name"] = key
        if name is UNSET:
            return
        spot = spots.get("name") or spots["computation"]
        if "name" in spots and not is_key(name.replace("-", "_")):
            message = "should have only letters, digits, `_` and `-`"
            self.note(spot, message, name, suggestion=snake_case(name))
        if name not in self.first:
            self.first[name] = (spot.line, key)
            return
        line, other = self.first[name]
        if "name" in spots:
            self.note(spot, f"is given twice; the first is in line {line}", name)
        elif other == key:
            self.note(spot, f"has a sync in line {line} already. Give this one a `name` of its own", name)
        else:
            self.note(spot, f"is the name of the sync in line {line}. Give this one a `name` of its own", name)

    def _check_vendor_names(self, values: dict[str, Any], spots: Spots) -> None:
        for field in ("send_as", "send_as_was"):
            name = values.get(field) or UNSET
            if name is UNSET:
                continue
            if name != name.strip() or not name.isprintable():
                self.note(spots[field], "has a line break, or a space at its start or end", name)
            elif values.get("forms") != ("list",) and reserved(name):
                self.note(spots[field], "is a name that calls use already; choose another", name)
        key = values.get("computation", UNSET)
        values.setdefault("send_as", "" if key is UNSET else key)
        if "send_as_was" in spots and values["send_as_was"] == values["send_as"]:
            self.note(spots["send_as_was"], "is the name that it has now; remove this line", values["send_as"])

    # -- forms
    def _forms(self, values: dict[str, Any], spots: Spots, kind: str) -> None:
        takes = self.destination.forms if self.destination else get_args(Form)
        of_accounts = values.get("computation", UNSET) in self.computations.of_accounts
        expand = values.get("expand", "")
        if expand and kind and not of_accounts:
            message = "is for computations of accounts, and this is one of people; remove this line"
            self.note(spots["expand"].at_key(), message)
        why_not = {form: why for form in takes if (why := _why_not(form, kind, of_accounts, expand == "users"))}
        possible = tuple(form for form in takes if form not in why_not)
        if of_accounts:  # the default is what it is for: a call for each account, or for each member
            first = "group" if not expand else "identify"
            possible = tuple(sorted(possible, key=lambda form: form != first))
        if not possible:
            self._impossible(values, spots, of_accounts)
        elif "forms" not in spots:
            values["forms"] = possible[:1] if self.destination else UNSET
        else:
            values["forms"] = self._given_forms(spots["forms"], why_not, possible)

    def _impossible(self, values: dict[str, Any], spots: Spots, of_accounts: bool) -> None:
        message = f"is a computed trait. {self._vendor} keeps lists, and lists are for audiences only"
        if of_accounts and self.destination and {*self.destination.forms} - {"list"}:
            message = f"is of accounts. {self._vendor} takes no `group` calls; with `expand: users`, members are told"
        self.note(spots["computation"], message, values["computation"])
        values["forms"] = UNSET

    def _given_forms(self, spot: Spot, why_not: Mapping[str, str], possible: tuple[str, ...]) -> Any:
        found: list[str] = []
        before = len(self.reader.problems)
        items = self.reader.one_or_more(spot)
        for at in items:
            form = self.reader.value(at, str)
            if form in found:
                self.note(at, "is given twice", form)
            elif form in possible:
                found.append(form)
            elif form in why_not:
                self.note(at, why_not[form], form, possible)
            elif form is not UNSET:
                words = f"is not a form that {self._vendor} takes" if form in get_args(Form) else "is no form"
                self.note(at, words, form, possible, closest(form, possible))
        if not found and len(self.reader.problems) == before:
            self.note(spot, "is empty", allowed=possible)
        return tuple(found) if len(self.reader.problems) == before else UNSET

    @property
    def _vendor(self) -> str:
        return self.destination.name if self.destination else "the destination"

    # -- what goes along
    def _check_events(self, values: Mapping[str, Any], spots: Spots, kind: str) -> None:
        if "events" not in spots or values["forms"] is UNSET:
            return
        if "track" not in values["forms"]:
            add = ", or add `track` to `as`" if self.destination and "track" in self.destination.forms else ""
            message = f"names `track` events, and this sync sends none; remove it{add}"
            self.note(spots["events"].at_key(), message)
        elif values["events"] is not UNSET and kind:
            others = {"trait": ("entered", "exited"), "audience": ("computed",)}[kind]
            entries = self.reader.mapping(spots["events"]) or {}
            for name in [name for name in others if name in entries]:
                what = {"trait": "a computed trait", "audience": "an audience"}
                message = f"is an event of {what[_OTHER[kind]]}, and this is {what[kind]}; remove this line"
                self.note(entries[name].at_key(), message)

    def _enrich(self, values: dict[str, Any], spots: Spots) -> None:
        names = values.get("enrich", UNSET)
        if not names or names is UNSET:
            return
        spot = spots["enrich"]
        if values["forms"] == ("track",):
            self.note(
                spot.at_key(),
                "goes along with `identify`, `group` and `list` calls, and this sync sends only `track`; remove it",
            )
        names = [self.computations.key_or_trait(name) for name in names]
        for name in dict.fromkeys(name for name in names if names.count(name) > 1):
            self.note(spot, "is given twice", name)
        own = [name for name in (values.get("computation"), values["send_as"]) if name in names]
        if own:
            self.note(spot, "is the sync's own key, which is sent anyway", own[0])
        values["enrich"] = tuple(names)

    def _history(self, values: dict[str, Any], spots: Spots) -> None:
        """Takes it away where the destination accepts none."""
        if self.destination and not self.destination.history:
            if values.get("historical") is True:
                self.note(spots["historical"], f"{self._vendor} takes no historical data; remove this line")
            values["historical"] = False


def _why_not(form: str, kind: str, of_accounts: bool, expand: bool) -> str:
    """Why a computation cannot have this form; "": it can."""
    if form == "list":
        return "is for audiences only, and this is a computed trait" if kind == "trait" else ""
    if form == "group":
        return "" if of_accounts or not kind else "is for computations of accounts, and this is one of people"
    if form == "member":
        return "" if of_accounts or not kind else "says who belongs to accounts, and this computation is one of people"
    return "tells each member of an account: add `expand: users`" if of_accounts and not expand else ""


_OTHER = {"trait": "audience", "audience": "trait"}
