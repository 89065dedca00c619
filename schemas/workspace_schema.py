"""The JSON Schema of workspace files, for editors; made of the typed records and the destinations' settings."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from schemas.secret import Secret
from schemas.workspace import Workspace

if TYPE_CHECKING:
    from transforms.destinations.contract import Destination

CONNECTION_NAME = r"[a-z0-9][a-z0-9-]*"  # names a folder too
# Editors know no letters but those of ASCII; `transforms.logic.keys.is_key` does.
KEY = r"[^ -/:-@\[-^`{-~]+"
NAME = r"[^ -,./:-@\[-^`{-~]+"
CAP = r"([0-9]+(?:\.[0-9]+)?) *\/ *([smhd])"  # 50/s
SHARE = r"([0-9]+(?:\.[0-9]+)?)%"
DURATION = r"([0-9]+(?:\.[0-9]+)?)([smhd])"  # 10m
REFERENCE = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"

_ABOUT = ("description", "examples", "default")
_REFERENCED = {"type": "string", "pattern": REFERENCE, "description": "Taken from the environment."}


def json_schema(destinations: Mapping[str, "type[Destination]"]) -> dict[str, Any]:
    """Draft 2020-12. The keys of `settings` and the forms of a sync depend on the `destination` beside them."""
    _, definitions = msgspec.json.schema_components([Workspace], schema_hook=_secret, ref_template="#/$defs/{name}")
    definitions = {name: _written(definition) for name, definition in definitions.items()}
    definitions["Cap"] = {"type": "string", "pattern": _whole(CAP)}
    definitions["Where"] = _where()
    computation, sync, connection = (definitions[name]["properties"] for name in ("Computation", "Sync", "Connection"))
    computation["key"]["pattern"] = _whole(KEY)
    sync["name"]["pattern"] = _whole(NAME)
    _finish_source(definitions["Source"]["properties"])
    connection["name"]["pattern"] = connection["was"]["pattern"] = _whole(CONNECTION_NAME)
    connection["destination"]["enum"] = [s for d in destinations.values() for s in (d.slug, *d.aliases)]
    connection["settings"]["type"] = ["object", "null"]
    connection["cap"] = _instead(connection["cap"], "Cap")
    told = definitions["OnTrouble"]
    told["oneOf"] = [{"required": [way]} for way in ("webhook", "slack", "command")]
    told["properties"]["after"] |= {"type": "string", "pattern": _whole(DURATION), "default": "10m"}
    for record in (sync, connection):
        record["where"] = _instead(record["where"], "Where")
    definitions["Connection"]["allOf"] = [_settings_of(d, definitions) for d in destinations.values()]
    workspace = definitions.pop("Workspace")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **workspace,
        "title": "profilecast workspace",
        "$defs": definitions,
    }


def _finish_source(source: dict[str, Any]) -> None:
    source["name"]["pattern"] = _whole(CONNECTION_NAME)
    source["url"] = {**_secret(Secret), **{word: source["url"][word] for word in _ABOUT[:2]}}
    about = {word: source["max_lost"][word] for word in _ABOUT[:2]}
    source["max_lost"] = {"type": "string", "pattern": _whole(SHARE), **about}
    about = {word: source["every"][word] for word in _ABOUT[:2]}
    source["every"] = {"type": "string", "pattern": _whole(DURATION), "default": "1h", **about}


def _instead(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """The same key as another definition has it."""
    return {"$ref": f"#/$defs/{name}", **{word: schema[word] for word in _ABOUT if word in schema}}


def _where() -> dict[str, Any]:
    """What `transforms.logic.where` describes."""
    scalar: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
    values = {"anyOf": [scalar, {"type": "array", "items": scalar, "minItems": 1}]}
    refused = {"type": "object", "properties": {"not": values}, "required": ["not"], "additionalProperties": False}
    types = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    return {
        "type": "object",
        "properties": {"has": {**types, "description": "Types of identifiers that the person must have."}},
        "additionalProperties": {"anyOf": [*values["anyOf"], refused]},
    }


def _settings_of(destination: "type[Destination]", definitions: dict[str, Any]) -> dict[str, Any]:
    """The settings of one destination, added to the definitions, and when they apply."""
    (reference,), found = msgspec.json.schema_components(
        [destination.Settings], schema_hook=_secret, ref_template=f"#/$defs/{destination.slug}.{{name}}"
    )
    for name, definition in found.items():
        definitions[f"{destination.slug}.{name}"] = _written({**definition, "title": destination.name}, settings=True)
    required = any(field.required for field in msgspec.structs.fields(destination.Settings))
    then: dict[str, Any] = {"properties": {"settings": reference}, "required": ["settings"] if required else []}
    form = {"enum": list(destination.forms)}
    options: dict[str, Any] = {"as": {"anyOf": [form, {"type": "array", "items": form, "minItems": 1}]}}
    if "track" not in destination.forms:
        options["events"] = False
    then["properties"]["syncs"] = {"items": {"properties": options}}
    named = {"enum": [destination.slug, *destination.aliases]}
    return {"if": {"properties": {"destination": named}, "required": ["destination"]}, "then": then}


def _secret(kind: type) -> dict[str, Any]:
    if kind is not Secret:
        raise NotImplementedError  # msgspec's way of hearing that a hook does not know a type
    return {
        "type": "string",
        "pattern": _whole(REFERENCE),
        "description": "Secret: the name of an environment variable.",
    }


def _written(schema: Any, settings: bool = False) -> Any:
    """As a file may say it: one item for a list of one, `${NAME}` for a plain setting."""
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = dict(schema)
    for word in ("items", "additionalProperties"):
        if word in made:
            made[word] = _written(made[word], settings)
    if "anyOf" in made:
        made["anyOf"] = [_written(choice, settings) for choice in made["anyOf"]]
    if "properties" in made:
        made["properties"] = {name: _written(inner, settings) for name, inner in made["properties"].items()}
    about = {word: made.pop(word) for word in _ABOUT if word in made}
    if about.get("default") in ("", [], {}):  # said in words
        del about["default"]
    return {**_alternatives(made, settings), **about}


def _alternatives(schema: dict[str, Any], settings: bool) -> dict[str, Any]:
    kind = schema.get("type")
    if kind == "array":
        item: dict[str, Any] = schema.get("items", {})
        return schema if "$ref" in item else {"anyOf": [item, schema]}
    if not settings or schema.get("pattern") == _whole(REFERENCE):
        return schema
    if kind in ("integer", "number", "boolean") or "enum" in schema:
        return {"anyOf": [schema, _REFERENCED]}
    if kind == "string":  # digits need no quotes
        return {"anyOf": [{**schema, "type": ["string", "number"]}, _REFERENCED]}
    return schema


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"
