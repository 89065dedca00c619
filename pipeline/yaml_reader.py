"""YAML that remembers its lines, read into typed records. Mistakes are noted, none is raised.

What could not be read is `msgspec.UNSET`, so that one mistake is told once and the rest is still checked.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from unicodedata import normalize

import msgspec
import yaml
from msgspec import UNSET
from msgspec.structs import fields as fields_of

from pipeline.problems import Problem, WorkspaceError, closest
from schemas.secret import Secret

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_UNKNOWN = "is not a known key"
_TAG = "tag:yaml.org,2002:"
# Inside `{a: ${NAME}}` YAML would take the inner braces for its own, so while it is parsed a
# reference wears other brackets of the same width: columns stay right.
_OPEN, _CLOSE = "\ue000", "\ue001"


@dataclass(frozen=True)
class Spot:
    """A node and its place: `connections[0].name`."""

    node: yaml.Node
    field: str
    key: yaml.Node | None = None  # of the entry that it is the value of

    @property
    def line(self) -> int:
        return int(self.node.start_mark.line) + 1

    @property
    def text(self) -> str:
        """What is written there, where it is a scalar."""
        written = self.node.value if isinstance(self.node, yaml.ScalarNode) else ""
        return str(written).replace(_OPEN, "{").replace(_CLOSE, "}")

    @property
    def empty(self) -> bool:
        return bool(self.node.tag == f"{_TAG}null")

    def at(self, field: str) -> "Spot":
        """What is at `connections[0].name` below it, or the nearest that is there."""
        spot = self
        for name, number in re.findall(r"([^.\[\]]+)|\[(\d+)\]", field):
            below = _below(spot.node, name, number)
            if below is None:
                break
            spot = below
        return spot

    def at_key(self) -> "Spot":
        """The same field, at the line of its key."""
        return Spot(self.key or self.node, self.field)


def _below(node: yaml.Node, name: str, number: str) -> Spot | None:
    """An entry by its key, or an item by its number."""
    if isinstance(node, yaml.SequenceNode) and number and int(number) < len(node.value):
        return Spot(node.value[int(number)], "")
    entries = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((Spot(value, "", key) for key, value in entries if not number and Spot(key, "").text == name), None)


Special = Mapping[str, Callable[[Spot], Any]]


def parse(file: str, text: str) -> Spot:
    """The whole document. Raises WorkspaceError where it is not YAML, or empty."""
    try:
        node = yaml.compose(_REFERENCE.sub(rf"${_OPEN}\1{_CLOSE}", text), yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise WorkspaceError(file, [_syntax(file, error)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        message = f"the character U+{error.character:04X} is not allowed in YAML; remove it"
        raise WorkspaceError(file, [Problem(file, line, "", None, message)]) from None
    if node is None:
        raise WorkspaceError(file, [Problem(file, None, "", None, "the file is empty")])
    return Spot(node, "")


def _syntax(file: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    words = (error.problem or error.context or "it cannot be read").replace(_OPEN, "{").replace(_CLOSE, "}")
    if mark is None:
        return Problem(file, None, "", None, f"this is not YAML: {words}")
    return Problem(file, mark.line + 1, "", None, f"this is not YAML: {words}, at column {mark.column + 1}")


class Reader:
    """Reads nodes as types, and keeps the `problems`.

    With `settings=True` the scalars may be `${NAME}`, taken from `environment`, and may be empty text. Other text is
    made NFC, as that of events is.
    """

    def __init__(self, file: str, environment: Mapping[str, str]) -> None:
        self.file = file
        self.environment = environment
        self.problems: list[Problem] = []

    def note(
        self, spot: Spot, message: str, value: str | None = None, allowed: Iterable[str] = (), suggestion: str = ""
    ) -> Any:
        """Note a mistake; returns UNSET."""
        self.problems.append(Problem(self.file, spot.line, spot.field, value, message, tuple(allowed), suggestion))
        return UNSET

    # -- structure
    def mapping(self, spot: Spot) -> dict[str, Spot] | None:
        """The entries, by key; None where it is not a mapping."""
        if not isinstance(spot.node, yaml.MappingNode):
            self.note(spot, f"expected `key: value` entries, got {_kind(spot.node)}")
            return None
        found: dict[str, Spot] = {}
        for key, value in spot.node.value:
            name = Spot(key, "").text
            entry = Spot(value, _join(spot.field, name), key)
            if not isinstance(key, yaml.ScalarNode):
                self.note(Spot(key, spot.field), f"expected a name before the colon, got {_kind(key)}")
            elif name in found:
                first = found[name].at_key().line
                self.note(entry.at_key(), f"is given twice; the first is in line {first}", name)
            else:
                found[name] = entry
        return found

    def entries(self, spot: Spot, known: Iterable[str], required: Mapping[str, str]) -> dict[str, Spot]:
        """The entries whose keys are known; unknown and missing ones are noted. `required` says what is expected."""
        found = self.mapping(spot)
        if found is None:
            return {}
        known = tuple(known)
        missing = [name for name in required if name not in found]
        for name in [name for name in found if name not in known]:
            meant = closest(name, [key for key in known if key not in found])
            there = "" if meant else closest(name, [key for key in known if key in found])
            words = f"{_UNKNOWN}; {there} is given in line {found[there].at_key().line}" if there else _UNKNOWN
            self.note(found.pop(name).at_key(), words, name, known, meant)
            missing = [key for key in missing if key != meant]
        for name in missing:
            self.note(Spot(spot.node, _join(spot.field, name)), f"is missing; expected {required[name]}")
        return found

    def items(self, spot: Spot) -> list[Spot]:
        """The items of a list."""
        if isinstance(spot.node, yaml.SequenceNode):
            return [Spot(node, f"{spot.field}[{i}]") for i, node in enumerate(spot.node.value)]
        self.note(spot, f"expected a list (lines that begin with `-`), got {_kind(spot.node)}")
        return []

    def one_or_more(self, spot: Spot) -> list[Spot]:
        """The items of a list; one scalar stands for a list of one."""
        alone = isinstance(spot.node, yaml.ScalarNode) and not spot.empty
        return [spot] if alone else self.items(spot)

    def record(
        self, spot: Spot, record: type[msgspec.Struct], special: Special | None = None, settings: bool = False
    ) -> tuple[dict[str, Any], dict[str, Spot]]:
        """Values and spots by attribute, of the keys that are given; `special` reads the named attributes."""
        fields = fields_of(record)
        annotations = get_type_hints(record, include_extras=True)
        required = {field.encode_name: in_words(annotations[field.name]) for field in fields if field.required}
        found = self.entries(spot, [field.encode_name for field in fields], required)
        spots = {field.name: found[field.encode_name] for field in fields if field.encode_name in found}
        values = {
            name: special[name](at) if special and name in special else self.value(at, annotations[name], settings)
            for name, at in spots.items()
        }
        return values, spots

    # -- values
    def value(self, spot: Spot, annotation: Any, settings: bool = False) -> Any:
        """The value, or UNSET when it is not what is wanted."""
        wanted = bare(annotation)
        if get_origin(wanted) in (Union, UnionType):
            return self._union(spot, annotation, settings)
        match get_origin(wanted) or wanted:
            case container if container in (list, tuple):
                return self._list(spot, container, get_args(wanted)[0], settings)
            case container if container is dict:
                entries = self.mapping(spot) or {}
                values = {k: self.value(at, get_args(wanted)[1], settings) for k, at in entries.items()}
                return UNSET if UNSET in values.values() else values
            case secret if secret is Secret:
                return self._secret(spot)
            case record if isinstance(record, type) and issubclass(record, msgspec.Struct):
                return self.build(spot, record, settings)
        return self._scalar(spot, annotation, settings)

    def build(self, spot: Spot, record: type[msgspec.Struct], settings: bool = False) -> Any:
        """A whole record, or UNSET when something in it is wrong."""
        before = len(self.problems)
        values, _ = self.record(spot, record, settings=settings)
        if len(self.problems) > before:
            return UNSET
        try:
            return record(**values)
        except ValueError as error:
            return self.note(spot, str(error))

    def _union(self, spot: Spot, annotation: Any, settings: bool) -> Any:
        members = [member for member in get_args(bare(annotation)) if member is not NoneType]
        if spot.empty and NoneType in get_args(bare(annotation)):
            return None
        if len(members) == 1:
            return self.value(spot, members[0], settings)
        return self._scalar(spot, annotation, settings)

    def _list(self, spot: Spot, container: type, item: Any, settings: bool) -> Any:
        values = [self.value(at, item, settings) for at in self.one_or_more(spot)]
        return UNSET if UNSET in values else container(values)

    def _secret(self, spot: Spot) -> Any:
        try:
            return Secret(spot.text)
        except ValueError:
            reference = f"${{{re.sub(r'[^A-Z0-9]+', '_', spot.field.rsplit('.', 1)[-1].upper())}}}"
            if spot.empty:
                return self.note(spot, f"has no value; expected the name of an environment variable, like {reference}")
            return self.note(
                spot, f"must not hold the secret itself; write the name of an environment variable, like {reference}"
            )

    def _scalar(self, spot: Spot, annotation: Any, settings: bool) -> Any:
        if spot.empty:
            return self.note(spot, f"has no value; expected {in_words(annotation)}")
        if not isinstance(spot.node, yaml.ScalarNode):
            return self.note(spot, f"expected {in_words(annotation)}, got {_kind(spot.node)}")
        if settings and _REFERENCE.search(spot.text):
            return self._from_environment(spot, annotation)
        if settings:
            return self._convert(spot, spot.text, annotation)
        if not spot.text.strip():
            return self.note(spot, f"is empty; expected {in_words(annotation)}")
        return self._convert(spot, nfc(spot.text), annotation)

    def json_scalar(self, spot: Spot) -> Any:
        """What an event's JSON would have: null, a truth value, a number or text. Where YAML and JSON differ, UNSET."""
        if not isinstance(spot.node, yaml.ScalarNode):
            return self.note(spot, f"expected a single value, got {_kind(spot.node)}")
        text = spot.text
        if spot.node.style is not None:  # in quotes, or a block
            return text
        if not text:
            return self.note(spot, "has no value; expected one, or `null` for what is not known")
        if spot.empty:
            return None
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        if spot.node.tag == f"{_TAG}bool":
            quoted = f'"{text}"'
            meant = _BOOLEANS[text.lower()]
            return self.note(spot, f"could mean {meant} or the text; write {meant}, or {quoted} in quotes", text)
        if _JSON_NUMBER.fullmatch(text):
            return self._number(spot)
        if spot.node.tag in (f"{_TAG}int", f"{_TAG}float"):
            return self.note(
                spot, "could be a number or text; write the number in plain digits, or the text in quotes", text
            )
        return text

    def _number(self, spot: Spot) -> Any:
        try:
            number = msgspec.json.decode(spot.text)
        except msgspec.DecodeError:
            number = None
        if isinstance(number, float) or (isinstance(number, int) and -(2**63) <= number < 2**64):
            return number
        return self.note(spot, "should be a number of at most 64 bits", spot.text)

    def _from_environment(self, spot: Spot, annotation: Any) -> Any:
        missing = [name for name in _REFERENCE.findall(spot.text) if not self.environment.get(name)]
        for name in dict.fromkeys(missing):
            self.note(spot, f"the environment variable {name} is not set")
        if missing:
            return UNSET
        return self._convert(spot, _REFERENCE.sub(lambda match: self.environment[match[1]], spot.text), annotation)

    def _convert(self, spot: Spot, text: str, annotation: Any) -> Any:
        """A scalar's text as the type; shows what is written, not what the environment made of it."""
        wanted = bare(annotation)
        if wanted is bool:
            text = _BOOLEANS.get(text.lower(), text)
        try:
            return msgspec.convert(text, annotation, strict=False)
        except msgspec.ValidationError as error:
            if get_origin(wanted) is Literal:
                allowed = [str(choice) for choice in get_args(wanted)]
                return self.note(spot, "is not allowed here", spot.text, allowed, closest(spot.text, allowed))
            return self.note(spot, f"should be {in_words(annotation, error)}", spot.text)


class Firsts:
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


def nfc(text: str) -> str:
    """One spelling for letters with marks; two that look alike are equal."""
    return normalize("NFC", text)


def bare(annotation: Any) -> Any:
    """Without `Annotated`."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def described(annotation: Any) -> str:
    """The description that `Annotated` carries; empty where there is none."""
    notes = getattr(annotation, "__metadata__", ())
    return next((note.description for note in notes if isinstance(note, msgspec.Meta) and note.description), "")


def _join(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _kind(node: yaml.Node) -> str:
    match node:
        case yaml.MappingNode():
            return "`key: value` entries"
        case yaml.SequenceNode():
            return "a list"
    return "nothing" if node.tag.endswith(":null") else "a single value"


def in_words(annotation: Any, error: msgspec.ValidationError | None = None) -> str:
    """What would be right, in words: `a whole number <= 1000`."""
    wanted = bare(annotation)
    members = [member for member in get_args(wanted) if member is not NoneType]
    if get_origin(wanted) in (Union, UnionType):
        return " or ".join(in_words(member) for member in members)
    if get_origin(wanted) is Literal:
        return f"one of {', '.join(str(choice) for choice in get_args(wanted))}"
    plain = _NAMES.get(get_origin(wanted) or wanted, "a value")
    constraint = re.fullmatch(r"Expected `\w+` (.+?)(?: - at `.*`)?", str(error)) if error else None
    return f"{plain} {constraint[1]}".replace("matching regex", "that matches") if constraint else plain


_NAMES: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    dict: "`key: value` entries",
    Secret: "a secret, written ${NAME}",
}
_BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
