"""The text of a first workspace file: commented, and correct as it stands."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from textwrap import wrap
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT
from msgspec.structs import FieldInfo
from msgspec.structs import fields as fields_of

from pipeline.workspace import cap_of
from pipeline.yaml_reader import bare, described
from schemas.secret import Secret
from transforms.destinations.contract import Destination
from transforms.logic.caps import per

_HEAD = """\
# What is known about people (computations), and who is told of it (connections).
# `profilecast check` finds mistakes in this file. For an editor that completes and checks it:
#   profilecast check --schema > workspace.schema.json
# and this as the first line of the file:
#   # yaml-language-server: $schema=workspace.schema.json

# The name of it all; every call carries it as its namespace.
workspace: my-shop

# An audience has members; a trait has a value for each person. Input events name a computation
# by its key, which is the snake_case of its name unless you give it another `key`.
computations:
  - name: Big spenders              # key: big_spenders
    kind: audience
  - name: Total revenue 180 days    # key: total_revenue_180_days
    kind: trait

connections:
"""

_EVENT_SYNCS = """\
    syncs:
      # identify sets a property of the person; track reports the change as an event.
      - computation: big_spenders
        as: [identify, track]
      - computation: total_revenue_180_days
        as: identify
        # historical: false             # send only what changes from now on
        # enrich: [first_name, plan]    # traits of the person that go along
        # identifiers: {email: last}    # of several e-mail addresses, tell only the last
"""

_LIST_SYNCS = """\
    syncs:
      # A list takes audiences only, and is named after them.
      - computation: big_spenders
        # historical: false             # send only what changes from now on
"""


class Planned(NamedTuple):
    """A connection to be written."""

    name: str
    destination: type[Destination]

    def variable(self, field: FieldInfo) -> str:
        """The environment variable of a secret setting: `BRAZE_API_KEY`."""
        return f"{self.name}_{field.encode_name}".upper().replace("-", "_")

    def variables(self) -> list[str]:
        """Those of the secrets that it needs."""
        hints = _hints(self.destination)
        return [self.variable(field) for field in needed(self.destination) if _is_secret(hints[field.name])]


def planned(destinations: Sequence[type[Destination]]) -> list[Planned]:
    """Each with a name of its own: `braze`, `braze-2`."""
    made: list[Planned] = []
    for destination in destinations:
        before = sum(earlier.destination is destination for earlier in made)
        made.append(Planned(f"{destination.slug}-{before + 1}" if before else destination.slug, destination))
    return made


def first_workspace(connections: Sequence[Planned]) -> str:
    """The options of a sync are shown once for events and once for lists."""
    kinds = [connection.destination.kind for connection in connections]
    texts = [_connection(connection, kinds[i] not in kinds[:i]) for i, connection in enumerate(connections)]
    return _HEAD + "\n".join(texts)


def _connection(connection: Planned, explained: bool) -> str:
    destination = connection.destination
    own = cap_of(destination)
    cap = per(own.requests / 2, own.seconds) if own else "50/s"
    instead = f"without it the cap is {per(own.requests, own.seconds)}" if own else "without it there is no cap"
    lines = [
        f"  - name: {connection.name}",
        f"    destination: {destination.slug}    # see: profilecast destinations {destination.slug}",
        "    settings:",
        *(f"      {line}" for line in _settings(connection)),
        f"    # cap: {cap}    # {instead}",
        *_syncs(destination, explained),
    ]
    return "\n".join(lines) + "\n"


def _syncs(destination: type[Destination], explained: bool) -> list[str]:
    text = _LIST_SYNCS if destination.kind == "list" else _EVENT_SYNCS
    return [line for line in text.splitlines() if explained or not line.lstrip().startswith("#")]


def _settings(connection: Planned) -> Iterator[str]:
    """What is needed with a value, the rest as comments with its default."""
    hints = _hints(connection.destination)
    used = [field.name for field in needed(connection.destination)]
    for field in fields_of(connection.destination.Settings):
        annotation = hints[field.name]
        yield from (f"# {line}" for line in wrap(described(annotation), 90))
        if _is_secret(annotation):
            value = f"${{{connection.variable(field)}}}"
        else:
            value = _yaml(placeholder(field, annotation) if field.name in used else default(field))
        yield f"{'' if field.name in used else '# '}{field.encode_name}: {value}".rstrip()


def needed(destination: type[Destination]) -> list[FieldInfo]:
    """The required settings, and the fewest others that make them complete."""
    hints = _hints(destination)
    fields = fields_of(destination.Settings)
    required = [field for field in fields if field.required]
    open_ones = [field for field in fields if not field.required and default(field) in (None, "")]
    choices = chain.from_iterable(combinations(open_ones, size) for size in range(len(open_ones) + 1))
    for more in choices:
        chosen = [*required, *more]
        try:
            destination.Settings(**{field.name: placeholder(field, hints[field.name]) for field in chosen})
        except ValueError:
            continue
        return chosen
    return required


def placeholder(field: FieldInfo, annotation: Any) -> Any:
    """Something that the setting accepts, to be replaced."""
    if _is_secret(annotation):
        return Secret("${NAME}")
    if get_origin(bare(annotation)) is Literal:
        return get_args(bare(annotation))[0]
    addresses = re.findall(r"https://\S+\w", described(annotation))
    yours = f"your-{field.encode_name.replace('_', '-')}"
    for text in (*addresses, yours, "https://example.com", "1234567890", "true", "1"):
        try:
            return msgspec.convert(text, annotation, strict=False)
        except msgspec.ValidationError:
            continue
    raise ValueError(f"no example fits the setting {field.encode_name}")


def default(field: FieldInfo) -> Any:
    return field.default_factory() if field.default is NODEFAULT and not field.required else field.default


def _hints(destination: type[Destination]) -> dict[str, Any]:
    return get_type_hints(destination.Settings, include_extras=True)


def _is_secret(annotation: Any) -> bool:
    return bare(annotation) is Secret or bare(annotation) == Secret | None


def _yaml(value: Any) -> str:
    """Short values in one line; JSON is YAML."""
    if value is None:
        return ""
    plain = isinstance(value, str) and value.replace("-", "").replace("_", "").replace(".", "").isalpha()
    return str(value) if plain or str(value).startswith("https://") else json.dumps(value)
