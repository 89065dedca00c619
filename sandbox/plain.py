"""Fake vendors that are declared: what a request must carry, and what is told by it. For vendors without state.

    class Acme(PlainVendor):
        slug, hosts = "acme", (r"api\\.acme\\.example",)
        secret_in = bearer()
        takes = (
            Takes("POST", "/v1/people", ids={"id": str, "email": str}, traits="fields"),
            Takes("POST", "/v1/events", ids={"id": str}, event="name", traits="data", needs={"time": str}),
        )

Written from the vendor's documentation, and not from the destination's module, so that a mistake in one shows.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote

import msgspec

from sandbox.vendor import Answer, Request, Vendor

Secret = Callable[[Request], str | None]


def header(name: str, before: str = "") -> Secret:
    """The credential is what follows `before` in a header."""

    def find(request: Request) -> str | None:
        value = request.headers.get(name, "")
        return value.removeprefix(before) if value.startswith(before) and value != before else None

    return find


def bearer() -> Secret:
    return header("authorization", "Bearer ")


def in_body(name: str) -> Secret:
    """The credential is a field of the body."""
    return lambda request: _text(_at(_body(request), name))


def basic_user() -> Secret:
    """The credential is the user of an `Authorization: Basic`."""

    def find(request: Request) -> str | None:
        try:
            given = b64decode(request.authorization("basic") or "", validate=True).decode()
        except ValueError:
            return None
        return given.partition(":")[0] or None

    return find


def in_query(name: str) -> Secret:
    return lambda request: request.query.get(name)


@dataclass(frozen=True)
class Takes:
    """An endpoint: where the objects of its requests are, and what each of them must have.

    Paths into a body are names with dots, through texts of JSON too; `rows` leads to a list of objects, "" is the
    body itself. A segment `{id}` of the URL's path is the field `id` of every object.
    """

    method: str
    path: str
    ids: Mapping[str, type]  # paths of identifiers in an object: one of them is needed
    rows: str = ""
    traits: str = ""  # path of what is told in an object, or of its JSON; "": nothing; "*": all that has no other part
    pairs: tuple[str, str] | None = None  # traits are a list of objects: the fields that name and that hold each
    event: str = ""  # path of an event's name; "": it is about a person
    needs: Mapping[str, type] = field(default_factory=dict)  # paths of what each object must have
    headers: Mapping[str, str] = field(default_factory=dict)  # that must be there
    most: int = 1_000  # objects in a request
    status: int = 200
    answer: Any = None
    deletes: bool = False

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The fields that are in the path of a URL; None where it is another endpoint's."""
        found = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path), path) if method == self.method else None
        return {name: unquote(value) for name, value in found.groupdict().items()} if found else None

    def values(self, told: Any) -> Any:
        """What is told in an object."""
        if self.traits == "*":
            named = {path.partition(".")[0] for path in (*self.ids, *self.needs, self.event)}
            return {name: value for name, value in told.items() if name not in named}
        found = _at(told, self.traits) if self.traits else {}
        if isinstance(found, str):
            found = _decoded(found)
        if self.pairs and isinstance(found, list):
            name, value = self.pairs
            found = {str(_at(row, name)): _at(row, value) for row in found}
        return found


class PlainVendor(Vendor):
    """A vendor that answers as its endpoints are declared."""

    takes: ClassVar[tuple[Takes, ...]]
    secret_in: ClassVar[Secret]

    @classmethod
    def credential(cls, request: Request) -> str | None:
        return cls.__dict__["secret_in"](request)  # type: ignore[no-any-return]  # a function, and no method

    def respond(self, request: Request) -> Answer:
        if len(request.body) > self.max_bytes:
            return self.too_large()
        for takes in self.takes:
            in_path = takes.match(request.method, self.place(request))
            if in_path is not None:
                return self._take(takes, request, in_path)
        return self.unknown(request)

    def invalid(self, words: str) -> Answer:
        """The answer to a request that is not as it should be."""
        return Answer(400, {"message": words})

    def _take(self, takes: Takes, request: Request, in_path: dict[str, str]) -> Answer:
        missing = [name for name, value in takes.headers.items() if request.headers.get(name.lower()) != value]
        if missing:
            return self.invalid(f"the header {missing[0]} is missing or of another version")
        rows = _rows(_body(request), takes.rows)
        objects = [{**row, **in_path} if isinstance(row, dict) else row for row in rows]
        if not 0 < len(objects) <= takes.most:
            return self.invalid(f"{len(objects)} objects; 1 to {takes.most} are taken")
        for position, each in enumerate(objects):
            if words := self._wrong(takes, each):
                return self.invalid(f"object {position}: {words}")
        for each in objects:
            self._tell(takes, each, request.at)
        return Answer(takes.status, takes.answer)

    def _wrong(self, takes: Takes, told: Any) -> str | None:
        found = {path: value for path in takes.ids if (value := _at(told, path)) is not None}
        if not found:
            return f"one of {', '.join(takes.ids)} is needed"
        wanted = {**{path: takes.ids[path] for path in found}, **takes.needs}
        if takes.event:
            wanted[takes.event] = str
        for path, kind in wanted.items():
            value = _at(told, path)
            if not isinstance(value, kind) or value == "":
                return f"`{path}` must be a {kind.__name__}"
        if not isinstance(takes.values(told), dict):
            return f"`{takes.traits}` must be an object"
        return "the identifier is not valid" if self.refused(*map(str, found.values())) else None

    def _tell(self, takes: Takes, told: Any, at: float) -> None:
        ids = {path.rpartition(".")[2]: str(value) for path in takes.ids if (value := _at(told, path)) is not None}
        person = self.people.find_any(ids)
        if takes.deletes:
            if person:
                self.people.forget(person)
            return
        values = takes.values(told)
        if takes.event:
            self.events.add(at, _at(told, takes.event), ids, values)
            return
        person = person or self.people.add()
        for kind, value in ids.items():
            self.people.identify(person, kind, value)
        self.people.tell(person, at, values)


def _body(request: Request) -> Any:
    """An object, or a list of them."""
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    return request.json if isinstance(request.json, list) else request.object


def _rows(body: Any, path: str) -> Iterator[Any]:
    found = _at(body, path) if path else body if isinstance(body, list) else [body]
    yield from found if isinstance(found, list) else ()


def _at(value: Any, path: str) -> Any:
    """What is at a path; a number in it is a place in a list, and a text on the way is JSON."""
    for name in path.split("."):
        value = _decoded(value) if isinstance(value, str) else value
        if isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return value


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
