"""The base of all fake vendors: what arrives, what is answered, and how an endpoint is declared."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from sandbox.memory import Events, People

# An e-mail address (or any other identifier) that ends so is always refused, as an invalid one.
REFUSED = "@refused.example"

JSON_TYPE = "application/json"


@dataclass(frozen=True)
class Request:
    """What arrived, as the vendor sees it. Header names are lower case."""

    method: str
    host: str
    target: str  # path and query, as sent
    headers: dict[str, str]
    body: bytes
    at: float  # unix seconds

    @cached_property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @cached_property
    def json(self) -> Any:
        """The body as JSON; None where it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    @property
    def object(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is none."""
        return self.json if isinstance(self.json, dict) else {}

    def bearer(self) -> str | None:
        return self.authorization("bearer")

    def authorization(self, scheme: str) -> str | None:
        """What follows this scheme in the Authorization header; None where it is not well formed."""
        found, _, credential = self.headers.get("authorization", "").partition(" ")
        return credential if found.lower() == scheme and re.fullmatch(r"\S+", credential) else None


@dataclass(frozen=True)
class Answer:
    """What the vendor answers; `json` None is an empty body."""

    status: int
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        return b"" if self.json is None else msgspec.json.encode(self.json)


@dataclass(frozen=True)
class Cap:
    """At most `requests` in any `seconds`, of one endpoint class; "" is all of an account but those of `besides`."""

    requests: int
    seconds: float = 1.0
    endpoint: str = ""
    besides: tuple[str, ...] = ()

    def counts(self, endpoint: str) -> bool:
        return self.endpoint == endpoint or (not self.endpoint and endpoint not in self.besides)


Endpoint = TypeVar("Endpoint", bound=Callable[..., Answer])


def on(method: str, path: str) -> Callable[[Endpoint], Endpoint]:
    """Declare a method of a vendor as endpoint; `{name}` in the path is one segment, an argument."""

    def declare(endpoint: Endpoint) -> Endpoint:
        endpoint.__dict__.setdefault("routes", []).append((method, path))
        return endpoint

    return declare


class Vendor:
    """One account at one vendor: a host and a credential. State lives as long as the object."""

    slug: ClassVar[str]
    hosts: ClassVar[tuple[str, ...]]  # patterns; () answers for every host that nobody else serves
    also: ClassVar[tuple[str, ...]] = ()  # slugs of other destinations at these hosts
    caps: ClassVar[tuple[Cap, ...]] = ()
    max_bytes: ClassVar[int] = 10_000_000

    _exact: ClassVar[dict[tuple[str, str], str]]
    _patterns: ClassVar[list[tuple[str, re.Pattern[str], str]]]

    def __init_subclass__(cls) -> None:
        cls._exact, cls._patterns = {}, []
        for name, member in [each for part in reversed(cls.__mro__) for each in vars(part).items()]:
            for method, path in getattr(member, "routes", ()):
                if "{" in path:
                    cls._patterns.append((method, re.compile(re.sub(r"\{\w+\}", "([^/]+)", path)), name))
                else:
                    cls._exact[method, path] = name

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        """`refuses(identifier)`: a fault wants this item refused."""
        self._refuses = refuses
        self.people = People()
        self.events = Events()

    # -- credentials
    @classmethod
    def credential(cls, request: Request) -> str | None:
        """The secret that the request carries; None where it is missing or ill formed."""
        return request.bearer()

    @classmethod
    def account(cls, request: Request) -> str:
        """What tells the accounts of one host apart. By default every credential has its own account."""
        return cls.credential(request) or ""

    @classmethod
    def authorized(cls, request: Request, known: set[str]) -> bool:
        """`known`: the secrets that are accepted; empty accepts any that is well formed."""
        credential = cls.credential(request)
        return credential is not None and (not known or credential in known)

    @classmethod
    def secret(cls, request: Request, settings: Any) -> str | None:
        """Which secret proves a connection with these settings, that makes such requests; None: there is none."""
        return cls.credential(request)

    # -- answers that every vendor has a shape for
    def unauthorized(self) -> Answer:
        return Answer(401, {"message": "Unauthorized"})

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        """The answer where the cap is reached; the next request fits in `wait` seconds."""
        return Answer(429, {"message": "Too Many Requests"})

    def failed(self, status: int) -> Answer:
        """The answer for any other failure that a fault asks for."""
        return Answer(status, {"message": "the vendor is unavailable"})

    def too_large(self) -> Answer:
        return Answer(413, {"message": "Request entity too large"})

    def unknown(self, request: Request) -> Answer:
        """The answer where there is no such endpoint."""
        return Answer(404, {"message": "Not Found"})

    def quota(self, cap: Cap, remaining: int, at: float) -> dict[str, str]:
        """Headers of every answer that tell how much of the cap is left."""
        return {}

    # -- answering
    def endpoint(self, request: Request) -> str:
        """The class of `Cap.endpoint` it counts for."""
        return ""

    def place(self, request: Request) -> str:
        """The path under which the endpoint is declared."""
        return request.path

    def respond(self, request: Request) -> Answer:
        if len(request.body) > self.max_bytes:
            return self.too_large()
        name, arguments = self._find_endpoint(request.method, self.place(request))
        answer: Answer = getattr(self, name)(request, *arguments)
        return answer

    def _find_endpoint(self, method: str, path: str) -> tuple[str, list[str]]:
        """The name of a method, and its arguments."""
        if name := self._exact.get((method, path)):
            return name, []
        for its_method, pattern, name in self._patterns:
            if its_method == method and (match := pattern.fullmatch(path)):
                return name, [unquote(part) for part in match.groups()]
        return "unknown", []

    def refused(self, *identifiers: str | None) -> bool:
        """Whether an item with these identifiers is refused, by convention or by a fault."""
        given = [i for i in identifiers if i]
        if not given:
            return False
        for identifier in given:
            if identifier.endswith(REFUSED):
                return True
        return self._refuses(given[0])

    # -- what it was told
    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        """People and events, of everybody or of one identifier; `at` is now, in unix seconds."""
        return {
            "people": [p.shown() for p in self.people.having(identifier)],
            "events": list(self.events.having(identifier)),
        }

    def counts(self) -> dict[str, int]:
        return {"people": len(self.people), "events": len(self.events)}
