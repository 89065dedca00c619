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
from schemas.workspace import Computation, Connection, EventNames, OnTrouble, Source, Sync, Workspace
from scripts.events_page import table
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination
from transforms.destinations.partners import PARTNERS, KeyAndEndpoint, PartnerWebhook


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
    own = [kind for kind in catalogue().values() if not issubclass(kind, PartnerWebhook)]
    return "\n".join([*(part for kind in own for part in _settings_of(kind)), *_settings_of_partners()])


def _settings_of_partners() -> Iterator[str]:
    """One section for all; those whose endpoint is known have no `url`."""
    yield f"### Partners\n\n`destination: {PARTNERS[0].slug}`, for example; [their form]({PartnerWebhook.page}).\n"
    known = [f"`{partner.slug}`" for partner in PARTNERS if partner.endpoint]
    yield f"`profilecast destinations` lists them. {' and '.join(known)} have no `url`.\n"
    yield _table_of(KeyAndEndpoint)


def _settings_of(destination: type[Destination]) -> Iterator[str]:
    yield f"### {destination.name}\n"
    facts = [f"`destination: {destination.slug}`", f"forms: {', '.join(destination.forms)}"]
    facts.append(f"identifiers: {identifiers(destination.identifiers, 'every type')}")
    yield f"{'; '.join(facts)}. [Its documentation]({destination.page})."
    if destination.one_record:
        yield f"One record per person: `identifiers: {in_yaml(destination.one_record)}`."
    yield ""
    yield _table_of(destination.Settings)


def _table_of(settings: type[msgspec.Struct]) -> str:
    hints = get_type_hints(settings, include_extras=True)
    rows = [
        (f"`{f.encode_name}`", described(hints[f.name]), in_words(hints[f.name]), default_words(f))
        for f in fields_of(settings)
    ]
    return table(("setting", "meaning", "what it is", "default"), rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "workspace": lambda: _keys(Workspace),
    "computations": lambda: _keys(Computation),
    "connections": lambda: _keys(Connection),
    "syncs": lambda: _keys(Sync),
    "sources": lambda: _keys(Source),
    "on_trouble": lambda: _keys(OnTrouble),
    "event_names": lambda: _keys(EventNames),
    "settings": _settings,
}
