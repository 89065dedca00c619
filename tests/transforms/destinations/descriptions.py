"""What vendors' own API descriptions say of a request, by `tests/data/openapi/`: JSON Schema does the most of it."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml
from jsonschema import Draft202012Validator, FormatChecker

DATA = Path(__file__).parents[2] / "data" / "openapi"
JSON, FORM = "json", "form-urlencoded"
TRUE_OR_FALSE = {"true": True, "1": True, "false": False, "0": False}
FORMATS = FormatChecker(formats=())

# What a description refuses and is sent all the same: the beginning of the words, and why.
EXCEPTIONS = {
    r"\w+ \S+: header Intercom-Version: '2\.16' is not one of": (
        "the description is that of 2.14; in that of 2.16 (same commit) every request that is made here is as good"
    ),
    r"POST /companies: body/custom_attributes/\w+: None is not of type": (
        "null empties an attribute, as it does at contacts; the schema has texts only, its own example numbers too"
    ),
    r"GET /api/v2/organizations/search: query external_id: '.*' is not of type 'integer'": (
        "an organization's external id is a text in the same description (OrganizationObject)"
    ),
}


class Travelling(NamedTuple):
    """A request as the vendor gets it; names of headers in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


class Operation:
    """One that a vendor describes."""

    def __init__(self, vendor: "Description", path: str, method: str, described: Mapping[str, Any]) -> None:
        self.vendor, self.described = vendor, described
        self.name = f"{method.upper()} {path}"
        bare = vendor.base + path.partition("#")[0]  # one URL may have several descriptions, each with a mark
        self.names = re.findall(r"{(\w+)}", bare)
        pattern = re.sub(r"\\{\w+\\}", "([^/]+)", re.escape(bare))
        self.path = re.compile(pattern + vendor.meta.get("path_suffix", ""))  # its groups come last

    def faults(self, request: Travelling) -> list[str]:
        """What in a request the description refuses."""
        return [
            f"{self.name}: {fault}"
            for fault in (*self._parameters(request), *self._signed(request), *self._body(request))
        ]

    def _parameters(self, request: Travelling) -> Iterator[str]:
        url = urlsplit(request.url)
        found = self.path.fullmatch(url.path)
        assert found
        given = {
            "path": dict(zip(self.names, map(unquote, found.groups()[: len(self.names)]), strict=True)),
            "query": dict(parse_qsl(url.query, keep_blank_values=True)),
            "header": dict(request.headers),
        }
        for each in self.described.get("parameters", ()):
            where, name = each["in"], each["name"]
            text = given[where].get(name.lower() if where == "header" else name)
            if text is not None:
                yield from self.vendor.refused(self._read(text, each["schema"]), each["schema"], f"{where} {name}")
            elif each.get("required"):
                yield f"{where} {name} is missing"

    def _read(self, text: str, schema: Any) -> Any:
        """A parameter's text as the value that is meant; the text where it is none."""
        match self.vendor.whole(schema).get("type"):
            case "integer" if re.fullmatch(r"-?\d+", text):
                return int(text)
            case "number" if re.fullmatch(r"-?\d+(\.\d+)?", text):
                return float(text)
            case "boolean":
                return TRUE_OR_FALSE.get(text.lower(), text)
            case "array":
                return text.split(",")
            case _:
                return text

    def _signed(self, request: Travelling) -> Iterator[str]:
        wanted = self.described.get("x-adapted-auth", self.vendor.meta["auth"])
        if {} in self.described.get("security", ()) or not wanted:
            return
        if not any(re.search(each["pattern"], request.headers.get(each["name"].lower(), "")) for each in wanted):
            yield f"no header {' or '.join(sorted({each['name'] for each in wanted}))} as it has to be"

    def _body(self, request: Travelling) -> Iterator[str]:
        described = self.described.get("requestBody")
        if not described:
            return
        if not request.body:
            yield "the body is missing"  # whether it is required or not: what is asked stands there
            return
        kind = request.headers.get("content-type", "").partition(";")[0]
        way = JSON if kind.endswith(JSON) else FORM
        schema = next((media["schema"] for name, media in described["content"].items() if name.endswith(way)), None)
        if schema is None:
            yield f"the type {kind or 'of the body is missing'}; described are {', '.join(described['content'])}"
            return
        if len(request.body) > described.get("x-adapted-max-bytes", len(request.body)):
            yield f"a body of {len(request.body)} bytes"
        text = request.body.decode()
        body = json.loads(text) if way == JSON else dict(parse_qsl(text, keep_blank_values=True))
        yield from self.vendor.refused(body, schema, "body")
        if (limit := described.get("x-adapted-max-total")) and isinstance(body, dict):
            total = sum(len(body.get(key, ())) for key in limit["keys"])
            yield from [f"body: {total} items, at most {limit['n']}"] if total > limit["n"] else ()
        if way == FORM:
            yield from self._fields(body, self.vendor.whole(schema).get("properties", {}))

    def _fields(self, form: Mapping[str, str], described: Mapping[str, Any]) -> Iterator[str]:
        """Of a form, the fields that are JSON text."""
        for name, schema in described.items():
            if name in form and "contentSchema" in schema:
                yield from self.vendor.refused(json.loads(form[name]), schema["contentSchema"], f"body {name}")


class Description:
    """One vendor's."""

    def __init__(self, path: Path) -> None:
        self.whole_text = json.loads(path.read_text("utf-8"))
        self.slug, self.meta = path.stem, self.whole_text["x-adapted"]
        self.base = urlsplit(self.whole_text["servers"][0]["url"]).path.rstrip("/")
        self._components = self.whole_text["components"]
        self._validators: dict[int, Draft202012Validator] = {}
        self.operations = [
            Operation(self, path, method, described)
            for path, item in self.whole_text["paths"].items()
            for method, described in item.items()
        ]

    def whole(self, schema: Any) -> Any:
        """A schema, not its name."""
        while "$ref" in schema:
            schema = self._components["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def serves(self, host: str) -> bool:
        return any(re.fullmatch(pattern, host) for pattern in self.meta["hosts"])

    def refused(self, value: Any, schema: Any, what: str) -> Iterator[str]:
        """Where a value does not keep to a schema."""
        if id(schema) not in self._validators:
            whole = {"allOf": [schema], "components": self._components}
            self._validators[id(schema)] = Draft202012Validator(whole, format_checker=FORMATS)
        for error in self._validators[id(schema)].iter_errors(value):
            yield f"{'/'.join(map(str, [what, *error.absolute_path]))}: {_words(error)}"

    def described(self, request: Travelling) -> list[Operation]:
        """What a request asks for; several where the vendor describes one URL more than once."""
        path = urlsplit(request.url).path
        found = [
            each for each in self.operations if each.name.startswith(f"{request.method} ") and each.path.fullmatch(path)
        ]
        fewest = min((len(each.names) for each in found), default=0)
        return [each for each in found if len(each.names) == fewest]


def _words(error: Any) -> str:
    return error.message if len(error.message) < 300 else f"{error.message[:80]} … {error.message[-200:]}"


@FORMATS.checks("date-time")
def _is_moment(value: object) -> bool:
    moment = r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)"
    return not isinstance(value, str) or bool(re.fullmatch(moment, value))


@cache
def descriptions() -> dict[str, Description]:
    """By the vendor's slug."""
    kept = yaml.safe_load((DATA / "kept.yaml").read_text("utf-8"))
    return {vendor: Description(DATA / f"{vendor}.json") for vendor in kept}


class Judged(NamedTuple):
    """Which operation a request asks for, and what is wrong with it."""

    operation: str
    faults: list[str]

    def unexplained(self) -> list[str]:
        """The faults that are no exceptions."""
        return [fault for fault in self.faults if not any(re.match(pattern, fault) for pattern in EXCEPTIONS)]


def vendor_of(slug: str) -> str | None:
    """Whose description is meant for a destination."""
    return next((each for each in descriptions() if slug == each or slug.startswith(f"{each}-")), None)


def judged(slug: str, request: Travelling) -> Judged | None:
    """What the vendor's description says of a request of this destination. None: nobody describes it."""
    host = urlsplit(request.url).hostname or ""
    described = descriptions().values()
    vendor = next((each for each in described if each.serves(host)), None)
    if vendor is None:
        own = vendor_of(slug)
        return Judged("", [f"{host} is no host of {own}"]) if own else None
    found = vendor.described(request)
    if not found:
        return Judged("", [f"{vendor.slug} describes no {request.method} {urlsplit(request.url).path}"])
    each = [Judged(f"{vendor.slug} {one.name}", one.faults(request)) for one in found]
    return min(each, key=lambda one: len(one.faults))


def unexplained(slug: str, request: Travelling) -> list[str]:
    """What a description refuses in a request, but for the exceptions."""
    found = judged(slug, request)
    return found.unexplained() if found else []


@cache
def shown_headers() -> frozenset[str]:
    """All that a description speaks of; in lower case."""
    found = {"content-type"}
    for each in descriptions().values():
        found |= {one["name"].lower() for one in each.meta["auth"]}
        for operation in each.operations:
            found |= {one["name"].lower() for one in operation.described.get("parameters", ()) if one["in"] == "header"}
    return frozenset(found)
