"""The workspace file: read whole, checked whole, every mistake told at once."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import UNSET
from msgspec.structs import fields as fields_of

from pipeline.computation_reader import Computations
from pipeline.problems import Problem, WorkspaceError, closest
from pipeline.source_reader import read_sources
from pipeline.sync_reader import Syncs, Told
from pipeline.trouble_reader import missing_variables, read_on_trouble
from pipeline.where_reader import read_where
from pipeline.yaml_reader import Firsts, Reader, Special, Spot, parse
from schemas.secret import Secret
from schemas.workspace import UNITS, Cap, Connection, Sync, Workspace
from schemas.workspace_schema import CAP, CONNECTION_NAME
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination, Limit
from transforms.destinations.names import collisions
from transforms.logic.caps import per

Destinations = Mapping[str, type[Destination]]


def load(path: str, destinations: Destinations | None = None, environment: Mapping[str, str] = os.environ) -> Workspace:
    """The workspace, complete. Raises WorkspaceError with all mistakes.

    A setting that is not secret may be written `${NAME}` too; its value is taken from the
    environment here. Secrets stay references; `missing_secrets` says which have no value.
    """
    return load_text(text_of(path), path, destinations, environment)


def load_text(
    text: str, path: str, destinations: Destinations | None = None, environment: Mapping[str, str] = os.environ
) -> Workspace:
    """`load`, of a text that came from elsewhere; `path` is what mistakes name."""
    reader = Reader(path, environment)
    spot = parse(path, text)
    workspace: Workspace = _Loader(reader, catalogue() if destinations is None else destinations).workspace(spot)
    if reader.problems:
        raise WorkspaceError(path, reader.problems)
    return workspace


def missing_secrets(workspace: Workspace, file: str = "", environment: Mapping[str, str] = os.environ) -> list[Problem]:
    """One problem for each secret whose environment variable is not set, empty, or cannot be sent as it is."""
    problems = [
        Problem(file, None, field, None, fault)
        for i, connection in enumerate(workspace.connections)
        for field, secret in _secrets(connection.settings, f"connections[{i}].settings")
        if (fault := _fault(connection.name, secret.variable, environment.get(secret.variable, "")))
    ] + [
        Problem(file, None, f"sources[{i}].url", None, fault)
        for i, source in enumerate(workspace.sources)
        if source.url and (fault := _fault(source.name, source.url.variable, environment.get(source.url.variable, "")))
    ]
    return [*problems, *missing_variables(workspace.on_trouble, file, environment)]


def with_lines(problems: Sequence[Problem], file: str) -> list[Problem]:
    """The same, each with the line of what it is about. Raises WorkspaceError."""
    root = parse(file, text_of(file))
    return [replace(problem, line=root.at(problem.field).line) for problem in problems]


def _fault(connection: str, variable: str, value: str) -> str:
    if not value:
        return f"{connection} needs the environment variable {variable}"
    if value != value.strip() or not value.isprintable():  # a file's last line break comes along easily
        return f"the environment variable {variable} has a line break, or a space at an end; set it again without"
    return ""


def cap_of(destination: type[Destination]) -> Limit | None:
    """The destination's own cap on a connection's requests; None where it has none."""
    return next((limit for limit in destination.limits if not limit.endpoint), None)


def text_of(path: str) -> str:
    """What is in the file. Raises WorkspaceError."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        problem = Problem(path, None, "", None, "there is no such file; `profilecast init` writes a first one")
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
        self.computations = Computations(reader)

    def workspace(self, spot: Spot) -> Any:
        """The Workspace, or UNSET when anything is wrong."""
        keep: Special = {"computations": lambda at: at, "connections": lambda at: at, "sources": lambda at: at}
        told: Special = {"on_trouble": lambda at: read_on_trouble(self.reader, at)}
        values, spots = self.reader.record(spot, Workspace, {**keep, **told})
        name = values.get("workspace", UNSET)
        self.computations.nameless = "computations" not in spots
        computations = self.computations.read(name, self.items(spots, "computations"))
        connections = self.connections(Workspace(name, computations, ()), self.items(spots, "connections"))
        sources = read_sources(self.reader, self.computations, self.items(spots, "sources"))
        if self.reader.problems:
            return UNSET
        return Workspace(name, computations, connections, sources, values.get("on_trouble", ()))

    def items(self, spots: Mapping[str, Spot], name: str) -> list[Spot]:
        return self.reader.items(spots[name]) if name in spots else []

    # -- connections
    def connections(self, workspace: Workspace, items: Iterable[Spot]) -> tuple[Connection, ...]:
        first = Firsts(self.note)
        found = []
        former: list[tuple[str, Spot]] = []
        for item in items:
            values, spots = self.reader.record(item, Connection, self.connection_fields)
            name, was = values.get("name", UNSET), values.get("was", UNSET)
            if self.check_name(name, spots.get("name", item)):
                first.of("name", name, spots["name"])
            if self.check_name(was, spots.get("was", item)):
                former.append((was, spots["was"]))
            connection = self.connection(workspace, item, values, spots)
            if connection is not None:
                found.append(connection)
        for was, spot in former:
            if line := first.lines.get(("name", was)):
                message = f"is the name of a connection in line {line}; `was` is for an old name"
                self.note(spot, message, was)
            else:
                first.of("former name", was, spot)
        return tuple(found)

    def connection(
        self, workspace: Workspace, item: Spot, values: dict[str, Any], spots: Mapping[str, Spot]
    ) -> Connection | None:
        """None where it cannot be had; what is only wrong is noted."""
        destination, settings, understood = values.get("destination", UNSET), UNSET, None
        if destination is not UNSET:
            self.check_cap(destination, values, spots)
            settings = self.settings(destination, spots.get("settings"), item)
            understood = _understood(destination, workspace, settings)
        vendor = None if destination is UNSET else destination
        told = Told(self.reader, vendor, understood)
        defaults = told.strategies(spots.get("identifiers"))
        reading = Syncs(self.reader, self.computations, vendor, told, (spots.get("identifiers"), defaults))
        syncs = reading.read(self.items(spots, "syncs"))
        if vendor is None or settings is UNSET:
            return None
        done = {"destination": vendor.slug, "settings": settings, "syncs": syncs, "identifiers": defaults}
        if UNSET in {**values, **done}.values() or "name" not in values:
            return None
        connection = Connection(**(values | done))
        with suppress(Exception):  # a fault in its module: see `_understood`
            self.check_collisions(vendor(workspace, connection), syncs, reading.spots)
        return connection

    @property
    def connection_fields(self) -> Special:
        return {
            "destination": self.destination,
            "cap": self.cap,
            "settings": lambda at: at,
            "syncs": lambda at: at,
            "identifiers": lambda at: at,
            "where": lambda at: read_where(self.reader, at, self.computations),
        }

    def check_collisions(
        self, destination: Destination, syncs: Sequence[Sync], spots: Mapping[str, Mapping[str, Spot]]
    ) -> None:
        """What the vendor would take for one thing."""
        for collision in collisions(destination, syncs):
            field = "events" if collision.what == "event" else "send_as"
            last = next(
                sync
                for sync in reversed(syncs)
                if sync.name in collision.syncs or not {*sync.enrich}.isdisjoint(collision.keys)
            )
            spot = spots[last.name].get(field) or spots[last.name]["computation"]
            self.note(spot, collision.words())

    def check_name(self, name: Any, spot: Spot) -> bool:
        """Whether it does for a connection. A name that could not be read was noted already."""
        if name is UNSET or re.fullmatch(CONNECTION_NAME, name):
            return name is not UNSET
        better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        self.note(spot, "should have only a-z, 0-9 and `-`, and not begin with `-`", name, suggestion=better)
        return False

    def destination(self, spot: Spot) -> Any:
        text = self.reader.value(spot, str)
        if text is UNSET or text in self.by_spelling:
            return self.by_spelling.get(text, UNSET)
        meant = closest(text, self.by_spelling)
        return self.note(spot, "is not a known destination", text, self.slugs, meant)

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
            self.note(spots["cap_raised_by_vendor"], "needs a `cap` beside it: the higher one")
        if isinstance(cap, Cap) and own and not raised and cap.requests / cap.seconds > own.requests / own.seconds:
            limit = per(own.requests, own.seconds)
            self.note(
                spots["cap"],
                f"is above the cap of {destination.name}, which is {limit}; lower it, or add"
                f" `cap_raised_by_vendor: true` if {destination.name} granted you {spots['cap'].text}",
                spots["cap"].text,
            )


def _understood(destination: type[Destination], workspace: Workspace, settings: Any) -> tuple[str, ...] | None:
    """The identifiers that a connection understands; None where its settings are unreadable, and may decide."""
    if settings is not UNSET:
        try:
            return destination(workspace, Connection("", destination.slug, (), settings)).identifiers
        except Exception:  # a fault in its module: the run says so, and goes on with the other connections
            return destination.identifiers
    return None
