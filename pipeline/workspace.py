"""The workspace file: read whole, checked whole, every mistake told at once."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, get_args

import msgspec
import yaml
from msgspec import UNSET
from msgspec.structs import fields as fields_of

from pipeline.problems import Problem, WorkspaceError, closest
from pipeline.yaml_reader import Reader, Special, Spot, parse
from schemas.secret import Secret
from schemas.workspace import UNITS, Cap, Computation, Connection, Form, Strategy, Sync, Workspace
from schemas.workspace_schema import CAP, CONNECTION_NAME, KEY
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination, Limit
from transforms.logic.caps import per
from transforms.logic.keys import snake_case

# They stand beside the key in payloads, so a computation cannot be called like them.
RESERVED_KEYS = ("audience_key", "trait_key", "email", "phone")
ANY_IDENTIFIER = "*"

Destinations = Mapping[str, type[Destination]]


def load(path: str, destinations: Destinations | None = None, environment: Mapping[str, str] = os.environ) -> Workspace:
    """The workspace, complete. Raises WorkspaceError with all mistakes.

    A setting that is not secret may be written `${NAME}` too; its value is taken from the
    environment here. Secrets stay references; `missing_secrets` says which have no value.
    """
    reader = Reader(path, environment)
    spot = parse(path, _text(path))
    workspace: Workspace = _Loader(reader, catalogue() if destinations is None else destinations).workspace(spot)
    if reader.problems:
        raise WorkspaceError(path, reader.problems)
    return workspace


def missing_secrets(workspace: Workspace, file: str = "", environment: Mapping[str, str] = os.environ) -> list[Problem]:
    """One problem for each secret whose environment variable is not set, empty, or cannot be sent as it is."""
    return [
        Problem(file, None, field, None, fault)
        for i, connection in enumerate(workspace.connections)
        for field, secret in _secrets(connection.settings, f"connections[{i}].settings")
        if (fault := _fault(connection.name, secret.variable, environment.get(secret.variable, "")))
    ]


def _fault(connection: str, variable: str, value: str) -> str:
    if not value:
        return f"{connection} needs the environment variable {variable}"
    if value != value.strip() or not value.isprintable():  # a file's last line break comes along easily
        return f"the environment variable {variable} has a line break, or a space at an end; set it without"
    return ""


def cap_of(destination: type[Destination]) -> Limit | None:
    """The destination's own cap on a connection's requests; None where it has none."""
    return next((limit for limit in destination.limits if not limit.endpoint), None)


def _text(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        problem = Problem(path, None, "", None, "there is no such file; `profilecast init` writes one to begin with")
    except OSError as error:
        problem = Problem(path, None, "", None, f"it cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        problem = Problem(path, error.object.count(b"\n", 0, error.start) + 1, "", None, "the text is not UTF-8")
    raise WorkspaceError(path, [problem])


def _secrets(value: Any, field: str) -> Iterator[tuple[str, Secret]]:
    match value:
        case Secret():
            yield field, value
        case msgspec.Struct():
            for f in fields_of(type(value)):
                yield from _secrets(getattr(value, f.name), f"{field}.{f.encode_name}")
        case dict():
            for key, item in value.items():
                yield from _secrets(item, f"{field}.{key}")
        case list() | tuple():
            for i, item in enumerate(value):
                yield from _secrets(item, f"{field}[{i}]")


class _Loader:
    """Reads the parts in the order in which they refer to each other."""

    def __init__(self, reader: Reader, destinations: Destinations) -> None:
        self.reader = reader
        self.note = reader.note
        self.slugs = tuple(destinations)
        self.by_spelling = {spelling: d for d in destinations.values() for spelling in (d.slug, *d.aliases)}
        self.kinds: dict[str, str] = {}  # of computations, by key
        self.key_of: dict[str, str] = {}  # by key and by name
        self.half_read: set[str] = set()  # names and keys of computations that have other mistakes
        self.nameless = False  # a computation, so a sync may be of that one

    def workspace(self, spot: Spot) -> Any:
        """The Workspace, or UNSET when anything is wrong."""
        keep: Special = {"computations": lambda at: at, "connections": lambda at: at}
        values, spots = self.reader.record(spot, Workspace, keep)
        name = values.get("workspace", UNSET)
        computations = self.computations(name, self.items(spots, "computations"))
        connections = self.connections(Workspace(name, computations, ()), self.items(spots, "connections"))
        return UNSET if self.reader.problems else Workspace(name, computations, connections)

    def items(self, spots: Mapping[str, Spot], name: str) -> list[Spot]:
        return self.reader.items(spots[name]) if name in spots else []

    # -- computations
    def computations(self, workspace: Any, items: Iterable[Spot]) -> tuple[Computation, ...]:
        found = []
        first = _Firsts(self.note)
        for item in items:
            values, spots = self.reader.record(item, Computation)
            name, kind, key = (values.get(field, UNSET) for field in ("name", "kind", "key"))
            if "key" not in values and name is not UNSET:
                key = snake_case(name)
            at_key = spots.get("key") or spots.get("name") or item
            if first.of("name", name, spots.get("name", item)) and self.check_key(at_key, key):
                first.of("key", key, at_key)
            first.of("id", values.get("id", UNSET), spots.get("id", item))
            if UNSET in (name, kind, key):
                told = {each for each in (name, key) if each is not UNSET}
                self.half_read |= told
                self.nameless |= not told
                continue
            self.kinds[key] = kind
            self.key_of |= {name: self.key_of.get(name, key), key: key}
            found.append(Computation(name, kind, key, values.get("id") or _computation_id(workspace, key)))
        return tuple(found)

    def check_key(self, spot: Spot, key: Any) -> bool:
        before = len(self.reader.problems)
        if key == "":
            self.note(spot, "has neither letter nor digit to make a key of; give a `key` beside it", spot.text)
        elif key in RESERVED_KEYS:
            self.note(spot, f"makes the key {key!r}, which payloads use for themselves; give another `key`", spot.text)
        elif key is not UNSET and not re.fullmatch(KEY, key):
            self.note(spot, "should have only letters, digits and `_`", key, suggestion=snake_case(key))
        return len(self.reader.problems) == before

    # -- connections
    def connections(self, workspace: Workspace, items: Iterable[Spot]) -> tuple[Connection, ...]:
        first = _Firsts(self.note)
        found = []
        for item in items:
            values, spots = self.reader.record(item, Connection, self.connection_fields)
            name, destination = values.get("name", UNSET), values.get("destination", UNSET)
            self.check_name(first, name, spots.get("name", item))
            settings, understood = UNSET, None
            if destination is not UNSET:
                self.check_cap(destination, values, spots)
                settings = self.settings(destination, spots.get("settings"), item)
                understood = _understood(destination, workspace, settings)
            syncs = self.syncs(destination, understood, self.items(spots, "syncs"))
            if not self.reader.problems:
                done = {"destination": destination.slug, "settings": settings, "syncs": syncs}
                found.append(Connection(**(values | done)))
        return tuple(found)

    @property
    def connection_fields(self) -> Special:
        return {"destination": self.destination, "cap": self.cap, "settings": lambda at: at, "syncs": lambda at: at}

    def check_name(self, first: "_Firsts", name: Any, spot: Spot) -> None:
        if name is UNSET:
            return
        if re.fullmatch(CONNECTION_NAME, name):
            first.of("name", name, spot)
            return
        better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        self.note(spot, "should have only a-z, 0-9 and `-`, and not begin with `-`", name, suggestion=better)

    def destination(self, spot: Spot) -> Any:
        text = self.reader.value(spot, str)
        if text is UNSET or text in self.by_spelling:
            return self.by_spelling.get(text, UNSET)
        meant = closest(text, self.by_spelling)
        return self.note(spot, "is not a destination that is known", text, self.slugs, meant)

    def settings(self, destination: type[Destination], spot: Spot | None, connection: Spot) -> Any:
        """Absent settings are read as empty ones, so that what is required is named."""
        if spot is None or spot.empty:
            nothing = yaml.MappingNode("tag:yaml.org,2002:map", [], (spot or connection).node.start_mark)
            spot = Spot(nothing, f"{connection.field}.settings")
        return self.reader.build(spot, destination.Settings, settings=True)

    # -- caps
    def cap(self, spot: Spot) -> Any:
        match = re.fullmatch(CAP, spot.text.strip())
        if match and float(match[1]) > 0:
            return Cap(float(match[1]), UNITS[match[2]])
        example = f"{spot.text}/s" if re.fullmatch(r"[1-9]\d*", spot.text) else ""
        message = "should be a number per second, minute, hour or day, like 50/s, 600/m, 1000/h, 500000/d"
        return self.note(spot, message, spot.text, suggestion=example)

    def check_cap(self, destination: type[Destination], values: Mapping[str, Any], spots: Mapping[str, Spot]) -> None:
        cap, own = values.get("cap"), cap_of(destination)
        raised = values.get("cap_raised_by_vendor", False)
        if raised is True and "cap" not in spots:
            self.note(spots["cap_raised_by_vendor"], "says that the `cap` is a higher one, but there is no `cap`")
        if isinstance(cap, Cap) and own and not raised and cap.requests / cap.seconds > own.requests / own.seconds:
            limit = per(own.requests, own.seconds)
            self.note(
                spots["cap"],
                f"is above the cap of {destination.name}, which is {limit}; lower it, or add"
                f" `cap_raised_by_vendor: true` if {destination.name} granted you {spots['cap'].text}",
                spots["cap"].text,
            )

    # -- syncs
    def syncs(self, destination: Any, understood: tuple[str, ...] | None, items: Iterable[Spot]) -> tuple[Sync, ...]:
        """`destination` may be UNSET and `understood` None: the rest is checked all the same."""
        first = _Firsts(self.note)
        found = []
        for item in items:
            special: Special = {
                "computation": self.computation,
                "identifiers": lambda at: self.identifiers(at, understood),
            }
            values, spots = self.reader.record(item, Sync, special)
            key = values.get("computation", UNSET)
            first.of("computation", key, spots.get("computation", item))
            if values.get("forms") == ():
                self.note(spots["forms"], "is empty", allowed=get_args(Form))
            if key is not UNSET and key in (values.get("enrich") or ()):
                self.note(spots["enrich"], "is the sync's own key, which travels anyway", key)
            if destination is not UNSET:
                self.check_sync(destination, values, spots)
            if not self.reader.problems:
                found.append(Sync(**values))
        return tuple(found)

    def computation(self, spot: Spot) -> Any:
        text = self.reader.value(spot, str)
        if text is UNSET or text in self.key_of:
            return self.key_of.get(text, UNSET)
        if self.nameless or text in self.half_read:
            return UNSET
        return self.note(
            spot, "is not a computation of this workspace", text, tuple(self.kinds), closest(text, self.key_of)
        )

    def identifiers(self, spot: Spot, understood: tuple[str, ...] | None) -> Any:
        values = {}
        for name, at in (self.reader.mapping(spot) or {}).items():
            values[name] = self.reader.value(at, Strategy)
            if understood is not None and name not in understood and ANY_IDENTIFIER not in understood:
                message = "is not an identifier that this destination understands"
                self.note(at.at_key(), message, name, understood, closest(name, understood))
        return values

    def check_sync(self, destination: type[Destination], values: dict[str, Any], spots: Mapping[str, Spot]) -> None:
        """What depends on the destination; takes away history where it accepts none."""
        if destination.kind == "list":
            if self.kinds.get(values.get("computation", "")) == "trait":
                message = f"is a computed trait; computed traits go to event destinations only, and {destination.name}"
                self.note(spots["computation"], f"{message} keeps lists of audiences", values["computation"])
            for field, written in (("forms", "as"), ("events", "events")):
                if field in spots:
                    message = f"{destination.name} keeps lists, which take members and no calls; remove `{written}`"
                    self.note(spots[field].at_key(), message)
        if not destination.history:
            if values.get("historical") is True:
                self.note(spots["historical"], f"{destination.name} accepts no historical data; remove this line")
            values["historical"] = False


class _Firsts:
    """Notes what should be given once and is given again."""

    def __init__(self, note: Callable[..., Any]) -> None:
        self.note = note
        self.lines: dict[tuple[str, str], int] = {}

    def of(self, what: str, value: Any, spot: Spot) -> bool:
        """Whether it is the first."""
        if not value or value is UNSET:
            return True
        line = self.lines.get((what, value))
        if line is None:
            self.lines[what, value] = spot.line
            return True
        self.note(spot, f"is given twice; the first is in line {line}", value)
        return False


def _understood(destination: type[Destination], workspace: Workspace, settings: Any) -> tuple[str, ...] | None:
    """The identifiers that a connection understands; None where its unreadable settings decide."""
    if settings is not UNSET:
        return destination(workspace, Connection("", destination.slug, (), settings)).understands()
    return destination.identifiers if destination.understands is Destination.understands else None


def _computation_id(workspace: str, key: str) -> str:
    """The same in every run, different in another workspace."""
    return blake2b(f"{workspace}\0{key}".encode(), digest_size=12).hexdigest()
