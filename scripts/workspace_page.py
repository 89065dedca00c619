"""The generated parts of docs/workspace.md: every key of a workspace file, from the records and the destinations."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_type_hints

import msgspec
from msgspec.structs import FieldInfo
from msgspec.structs import fields as fields_of

from pipeline.commands.destinations import default_words, identifiers
from pipeline.first_workspace import default, in_yaml
from pipeline.yaml_reader import described, in_words
from schemas.workspace import Computation, Connection, EventNames, Sync, Workspace
from scripts.events_page import table
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination


def _keys(record: type[msgspec.Struct]) -> str:
    """A table of a record's keys."""
    hints = get_type_hints(record, include_extras=True)
    rows = [_key(field, hints[field.name]) for field in fields_of(record)]
    return table(("key", "meaning", "default", "example"), rows)


def _key(field: FieldInfo, annotation: Any) -> tuple[str, str, str, str]:
    (says,) = (note for note in annotation.__metadata__ if isinstance(note, msgspec.Meta))
    extra: Mapping[str, str] = says.extra or {}
    known = extra["default"] or _default(field)
    examples = [f"`{field.encode_name}: {_yaml(example)}`" for example in says.examples or ()]
    return (f"`{field.encode_name}`", extra["says"], known, ", ".join(examples))


def _default(field: FieldInfo) -> str:
    if field.required:
        return "required"
    value = default(field)
    if isinstance(value, bool | str) and value != "":
        return f"`{_yaml(value)}`"
    return "none" if value in (None, "", (), [], {}) else "as below"


def _yaml(value: Any) -> str:
    """In one line."""
    match value:
        case dict():
            return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(_yaml, value))}]"
        case str():
            return value
    return json.dumps(value)


def _settings() -> str:
    return "\n".join(part for destination in catalogue().values() for part in _settings_of(destination))


def _settings_of(destination: type[Destination]) -> Iterator[str]:
    yield f"### {destination.name}\n"
    facts = [f"`destination: {destination.slug}`", f"forms: {', '.join(destination.forms)}"]
    facts.append(f"identifiers: {identifiers(destination.identifiers, 'every type')}")
    yield f"{'; '.join(facts)}. [Its documentation]({destination.page})."
    if destination.one_record:
        yield f"One record per person: `identifiers: {in_yaml(destination.one_record)}`."
    yield ""
    hints = get_type_hints(destination.Settings, include_extras=True)
    rows = [
        (f"`{f.encode_name}`", described(hints[f.name]), in_words(hints[f.name]), default_words(f))
        for f in fields_of(destination.Settings)
    ]
    yield table(("setting", "meaning", "what it is", "default"), rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "workspace": lambda: _keys(Workspace),
    "computations": lambda: _keys(Computation),
    "connections": lambda: _keys(Connection),
    "syncs": lambda: _keys(Sync),
    "event_names": lambda: _keys(EventNames),
    "settings": _settings,
}
