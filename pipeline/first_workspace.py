"""The text of a first workspace file: commented, and correct as it stands."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
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

# Facts come in event files, or from tables in a file or a warehouse: `sources:` in docs/workspace.md.

# An audience has members; a trait has a value for each person. Events call a computation by its
# key: the snake_case of its name, unless you give it another `key`.
computations:
  - name: Big spenders              # key: big_spenders
    kind: audience
  - name: Total revenue 180 days    # key: total_revenue_180_days
    kind: trait

connections:
"""

_FORMS = {
    "identify": "identify sets a property of the person.",
    "track": "track reports each change as an event.",
    "group": "group sets a property of an account, of computations with `level: account`.",
    "member": "member says to which accounts a person belongs, beside a computation with `level: account`.",
    "list": "list keeps a list of the people in the audience.",
}


_MOST = 4  # settings that are not required, of one way to complete the others


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
    """The options of a sync are shown once for the destinations that take the same forms."""
    forms = [connection.destination.forms for connection in connections]
    texts = [_connection(connection, forms[i] not in forms[:i]) for i, connection in enumerate(connections)]
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
        *(f"    {line}" for line in _identifiers(destination)),
        "    syncs:",
        *(f"      {line}" for line in _syncs(destination) if explained or not line.lstrip().startswith("#")),
    ]
    return "\n".join(lines) + "\n"


def _identifiers(destination: type[Destination]) -> Iterator[str]:
    """Where the vendor keeps one record per person: what makes one of several identifiers, and why."""
    if not destination.one_record:
        return
    by = [kind for kind in destination.identifiers if kind not in destination.one_record]
    along = [kind for kind, strategy in destination.one_record.items() if strategy == "attach"]
    never = [kind for kind, strategy in destination.one_record.items() if strategy == "none"]
    why = [f"{destination.name} keeps one record per person: here it is told by {' and '.join(by)}."]
    if along:
        go, who = ("go", "the first of them") if len(along) > 1 else ("goes", "it")
        others = f"only for people without {' and '.join(by)}"
        why.append(f"{' and '.join(along)} {go} along, and {who} has calls of its own {others}.")
    if never:
        why.append(
            f"{' and '.join(never)} {'is' if len(never) == 1 else 'are'} not told, or it would be a second record."
        )
    why.append("Without this, every identifier has calls of its own.")
    yield from (f"# {line}" for line in wrap(" ".join(why), 90))
    yield f"identifiers: {in_yaml(destination.one_record)}"


def _syncs(destination: type[Destination]) -> Iterator[str]:
    """An audience in every form, and a trait where a form takes traits; options as comments."""
    forms = destination.forms
    yield from (f"# {_FORMS[form]}" for form in forms)
    yield "- computation: big_spenders"
    of_people = [form for form in forms if form not in ("group", "member")]
    yield f"  as: {_yaml_list(of_people)}"
    plain = [form for form in of_people if form != "list"]
    if plain:
        yield "- computation: total_revenue_180_days"
        yield f"  as: {plain[0]}"
    options = [
        ("historical: false", "send only what changes from now on"),
        ("where: {country: [DE, AT]}", "only for these people"),
        ("send_as: vip", "what it is called there"),
    ]
    if plain[:1] == ["identify"]:
        options.append(("enrich: [first_name, plan]", "traits of the person that go along"))
    kind = "email" if {"email", "*"} & set(destination.identifiers) else destination.identifiers[0]
    options.append((f"identifiers: {{{kind}: last}}", "of a person with several, only the last"))
    yield from (f"  # {option:<30}# {meaning}" for option, meaning in options)


def _yaml_list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"[{', '.join(items)}]"


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


def settings_of(connection: Planned) -> dict[str, Any]:
    """The settings that it needs, with something that each accepts."""
    hints = _hints(connection.destination)
    return {
        field.encode_name: f"${{{connection.variable(field)}}}"
        if _is_secret(hints[field.name])
        else placeholder(field, hints[field.name])
        for field in needed(connection.destination)
    }


def needed(destination: type[Destination]) -> list[FieldInfo]:
    """The required settings, and those others that make them complete; of several ways, the one that is declared first.

    Fewer settings are another way only where they are not part of these.
    """
    fields = fields_of(destination.Settings)
    required = [field for field in fields if field.required]
    open_ones = [field for field in fields if not field.required and default(field) in (None, "")]
    choices = chain.from_iterable(combinations(range(len(open_ones)), size) for size in range(_MOST + 1))
    ways: list[tuple[int, ...]] = []
    for more in choices:
        part = any(set(way) <= set(more) for way in ways)
        if not part and _complete(destination, [*required, *(open_ones[n] for n in more)]):
            ways.append(more)
    return [*required, *(open_ones[n] for n in min(ways, default=()))]


def _complete(destination: type[Destination], chosen: Sequence[FieldInfo]) -> bool:
    hints = _hints(destination)
    try:
        destination.Settings(**{field.name: placeholder(field, hints[field.name]) for field in chosen})
    except ValueError:
        return False
    return True


def placeholder(field: FieldInfo, annotation: Any) -> Any:
    """Something that the setting accepts, to be replaced."""
    if _is_secret(annotation):
        return Secret("${NAME}")
    if get_origin(bare(annotation)) is Literal:
        return get_args(bare(annotation))[0]
    addresses = re.findall(r"https://\S+\w", described(annotation))
    described_so = re.findall(r"such as (\S+\w)", described(annotation))
    yours = f"your-{field.encode_name.replace('_', '-')}"
    for text in (*addresses, yours, *described_so, "https://example.com", "1234567890", "true", "1"):
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


def in_yaml(entries: Mapping[str, str]) -> str:
    """In one line: `{email: attach, phone: none}`."""
    return f"{{{', '.join(f'{key}: {value}' for key, value in entries.items())}}}"


def _yaml(value: Any) -> str:
    """Short values in one line; JSON is YAML."""
    if value is None:
        return ""
    plain = isinstance(value, str) and value.replace("-", "").replace("_", "").replace(".", "").isalpha()
    return str(value) if plain or str(value).startswith("https://") else json.dumps(value)
