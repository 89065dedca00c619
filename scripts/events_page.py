"""The generated parts of docs/events.md: event types, columns, and reasons for records that cannot be used."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from schemas import formats
from schemas.dead_letters import BAD_RECORD
from schemas.events import AnyEvent, ExternalId

_SCHEMA = formats.json_schema()["$defs"]
_TYPES = {"array": "list of identifiers", "boolean": "true or false", "object": "object", "string": "text"}


def events() -> str:
    """A section for each type of event, with an example of all its fields."""
    return "\n".join(_section(struct) for struct in get_args(AnyEvent)) + "\n" + _identifier()


def _section(struct: type) -> str:
    schema = _SCHEMA[struct.__name__]
    [name] = schema["properties"]["type"]["enum"]
    example = {"type": name} | {
        field: about["examples"][0] for field, about in schema["properties"].items() if "examples" in about
    }
    return (
        f"### `{name}`\n\n{schema['description']}\n\n{_fields(schema)}\n"
        f"```json\n{json.dumps(example, ensure_ascii=False)}\n```\n"
    )


def _identifier() -> str:
    schema = _SCHEMA[ExternalId.__name__]
    return f"### Identifiers\n\n{schema['description']} In `external_ids` and `removed_ids`.\n\n{_fields(schema)}"


def _fields(schema: dict[str, Any]) -> str:
    rows = (
        (f"`{field}`", _type(about), _needed(schema, field), about["description"])
        for field, about in schema["properties"].items()
        if "description" in about
    )
    return table(("field", "type", "needed", "meaning"), rows)


def _needed(schema: dict[str, Any], field: str) -> str:
    if {"required": [field]} in schema.get("oneOf", ()):
        return "one of the two"
    return "yes" if field in schema["required"] else "no"


def _type(about: dict[str, Any]) -> str:
    match about.get("type"):
        case None:
            return "any JSON"
        case list():
            return "text or whole number"
        case "string" if about.get("format") == "date-time":
            return "time"
        case kind:
            return _TYPES[kind]


def columns() -> str:
    """Avro fields and Parquet columns."""
    avro = {field["name"]: field["type"] for field in formats.avro_schema()["fields"]}
    parquet = formats.parquet_schema()
    rows = (
        (
            f"`{column.name}`",
            "yes" if column.needed else "no",
            f"`{json.dumps(_bare(avro[column.name]))}`",
            f"`{parquet.field(column.name).type}`",
            "JSON text"
            if column.kind == "json"
            else "a column of whole numbers will do"
            if column.kind == "id"
            else "",
        )
        for column in formats.COLUMNS
    )
    return table(("name", "needed", "Avro type", "Parquet type", ""), rows)


def _bare(avro: Any) -> Any:
    """Without the null of what is not needed."""
    return avro[1] if isinstance(avro, list) else avro


def reasons() -> str:
    """Why a record cannot be used."""
    return table(("reason", "meaning"), ((f"`{reason}`", meaning) for reason, meaning in BAD_RECORD.items()))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))
