"""Facebook Custom Audiences: audiences and their hashed members. https://developers.facebook.com/docs/marketing-api/"""

import hashlib
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from sandbox.vendor import Answer, Cap, Request, Vendor, on

MAX_ROWS = 10_000
OLDEST = 25  # version of the API that still answers: v24.0 expired on 2026-11-10
SOURCES = ("USER_PROVIDED_ONLY", "PARTNER_PROVIDED_ONLY", "BOTH_USER_AND_PARTNER_PROVIDED")
HASHED = ("EMAIL", "PHONE", "FN", "LN", "FI", "GEN", "DOBY", "DOBM", "DOBD", "CT", "ST", "ZIP", "COUNTRY")
PLAIN = ("EXTERN_ID", "MADID", "LOOKALIKE_VALUE")
ALONE = {"EMAIL_SHA256": "EMAIL", "PHONE_SHA256": "PHONE"}  # one key, `data` a flat array
OF_NOTHING = hashlib.sha256(b"").hexdigest()
FINDING = {"EMAIL", "PHONE", "MADID"}  # unsure: names and places may find somebody, too
KEPT = 90 * 86_400.0  # seconds for which an ad account keeps what an EXTERN_ID was tied to
SHOWN = ("id", "name", "description", "subtype", "customer_file_source", "operation_status")

Member = dict[str, str]  # values by schema key


class Audience:
    """A custom audience: rows that match somebody, and those that match nobody; found by any of their keys."""

    def __init__(self, number: int, fields: dict[str, Any]) -> None:
        self.fields = {**fields, "id": str(23_840_000_000_000_000 + number), "operation_status": {"code": 200}}
        self.members: dict[frozenset[tuple[str, str]], Member] = {}  # one row of several keys is one member
        self.unmatched: dict[frozenset[tuple[str, str]], Member] = {}
        self._rows: dict[tuple[str, str], set[frozenset[tuple[str, str]]]] = {}  # rows by any of their keys

    def add(self, member: Member, matches: bool = True) -> None:
        row = frozenset(member.items())
        (self.members if matches else self.unmatched)[row] = member
        for key in row:
            self._rows.setdefault(key, set()).add(row)

    def remove(self, member: Member) -> None:
        """Every row goes that has any of the keys."""
        for row in set().union(*(self._rows.get(key, ()) for key in member.items())):
            self.members.pop(row, None)
            self.unmatched.pop(row, None)
            for key in row:
                self._rows[key].discard(row)

    def shown(self, identifier: str | None) -> dict[str, Any]:
        """With its members; `identifier` as it is, or as the hash of it."""
        rows = {*self.members, *self.unmatched}
        if identifier:
            keys = ((key, value) for key in HASHED + PLAIN for value in (identifier, _hash(identifier)))
            rows = set().union(*(self._rows.get(key, ()) for key in keys))
        return {
            "id": self.fields["id"],
            "name": self.fields["name"],
            "members": [member for row, member in self.members.items() if row in rows],
            "unmatched": [member for row, member in self.unmatched.items() if row in rows],
        }


class Account:
    """An ad account: its audiences, and whom its EXTERN_IDs stand for."""

    def __init__(self) -> None:
        self.audiences: dict[str, Audience] = {}  # by id
        self._tied: dict[str, float] = {}  # EXTERN_IDs: when they last came with what finds somebody

    def matches(self, member: Member, at: float) -> bool:
        """Whether a row can match anybody; what it ties its EXTERN_ID to is kept."""
        external = member.get("EXTERN_ID", "")
        if member.keys() & FINDING:
            if external:
                self._tied[external] = at
            return True
        return at - self._tied.get(external, -KEPT) < KEPT


class Facebook(Vendor):
    slug = "facebook-custom-audiences"
    hosts = (r"graph\.facebook\.com",)

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._accounts: dict[str, Account] = {}
        self._made = 0

    @classmethod
    def credential(cls, request: Request) -> str | None:
        token = request.bearer() or request.query.get("access_token") or _fields(request).get("access_token")
        return token if isinstance(token, str) and re.fullmatch(r"\S+", token) else None

    # Errors are told by the code in the body; the status is nearly always 400.
    def unauthorized(self) -> Answer:
        return _error(400, 190, "Invalid OAuth access token.", "OAuthException")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        words = "There have been too many calls to this ad account. Wait a bit and try again."
        usage = '{"0":[{"call_count":100,"estimated_time_to_regain_access":1}]}'
        answer = _error(400, 80003, words, transient=True)
        return Answer(400, answer.json, {"X-Business-Use-Case-Usage": usage})

    def failed(self, status: int) -> Answer:
        if status >= 500:
            return _error(status, 2, "Service temporarily unavailable", transient=True)
        if status == 409:  # the audience is being changed
            return _error(400, 2650, "Failed to update the custom audience", subcode=1870145)
        return _error(status, 100, "Invalid parameter")

    def too_large(self) -> Answer:
        return _error(413, 1, "The request is too large", transient=False)

    def unknown(self, request: Request) -> Answer:
        return _error(400, 2500, "Unknown path components")

    def place(self, request: Request) -> str:
        return re.sub(r"^/v\d+\.\d+(?=/)", "", request.path).rstrip("/")

    def respond(self, request: Request) -> Answer:
        version = re.match(r"/v(\d+)\.\d+/", request.path)
        if version and int(version[1]) < OLDEST:
            words = "(#2635) You are calling a deprecated version of the Ads API. Please update to the latest version."
            return _error(400, 2635, words)
        return super().respond(request)

    @on("GET", "/act_{account}/customaudiences")
    def audiences(self, request: Request, account: str) -> Answer:
        found = list(self._account(account).audiences.values())
        given = (request.query.get("limit", "25"), request.query.get("after", "0"))
        if not all(number.isdigit() for number in given):
            return _error(400, 100, "limit and after must be numbers")
        limit, start = map(int, given)
        page = found[start : start + limit]
        answer: dict[str, Any] = {"data": [_shown(audience, request) for audience in page]}
        if start + limit < len(found):
            after = str(start + limit)
            following = f"https://{request.host}{request.path}?fields={request.query.get('fields', 'id')}"
            answer["paging"] = {"cursors": {"after": after}, "next": f"{following}&limit={limit}&after={after}"}
        return Answer(200, answer)

    @on("POST", "/act_{account}/customaudiences")
    def create(self, request: Request, account: str) -> Answer:
        """Not idempotent: the same name makes another audience."""
        fields = _fields(request)
        if not account.isdigit():
            return _error(400, 100, "The ad account must be act_ and digits")
        if not fields.get("name") or fields.get("subtype") != "CUSTOM":
            return _error(400, 100, "name and subtype CUSTOM are required")
        if fields.get("customer_file_source") not in SOURCES:
            return _error(400, 100, f"customer_file_source must be one of {', '.join(SOURCES)}")
        self._made += 1
        audience = Audience(self._made, {key: fields[key] for key in SHOWN if key in fields})
        self._account(account).audiences[audience.fields["id"]] = audience
        return Answer(200, {"id": audience.fields["id"]})

    @on("GET", "/{key}")
    def show(self, request: Request, key: str) -> Answer:
        _, audience = self._find(key)
        return Answer(200, _shown(audience, request)) if audience else _missing(key)

    @on("DELETE", "/{key}")
    def delete(self, request: Request, key: str) -> Answer:
        for account in self._accounts.values():
            if account.audiences.pop(key, None):
                return Answer(200, {"success": True})
        return _missing(key)

    @on("POST", "/{key}/users")
    def add(self, request: Request, key: str) -> Answer:
        account, audience = self._find(key)
        if audience is None:
            return _missing(key)
        return self._change(request, key, lambda row: audience.add(row, account.matches(row, request.at)))

    @on("DELETE", "/{key}/users")
    def remove(self, request: Request, key: str) -> Answer:
        _, audience = self._find(key)
        return self._change(request, key, audience.remove) if audience else _missing(key)

    @on("DELETE", "/act_{account}/usersofanyaudience")
    def opt_out(self, request: Request, account: str) -> Answer:
        """Rows as of one audience; they leave every audience of the account."""

        def leave(row: Member) -> None:
            for audience in self._account(account).audiences.values():
                audience.remove(row)

        return self._change(request, f"act_{account}", leave)

    def _account(self, number: str) -> Account:
        return self._accounts.setdefault(number, Account())

    def _find(self, key: str) -> tuple[Account, Audience | None]:
        """An audience, and the account that it is of."""
        for account in self._accounts.values():
            if found := account.audiences.get(key):
                return account, found
        return Account(), None

    def _change(self, request: Request, key: str, change: Callable[[Member], None]) -> Answer:
        """Rows are taken or refused as a whole; bad values in them are only counted."""
        payload = _fields(request).get("payload")
        rows = _rows(payload if isinstance(payload, dict) else {})
        if isinstance(rows, str):
            return _error(400, 100, rows)
        invalid = 0
        for member in rows:
            if _wrong(member) or self.refused(*member.values()):
                invalid += 1
            else:
                change(member)
        session = _fields(request).get("session")
        return Answer(
            200,
            {
                "audience_id": key,
                "session_id": str(session.get("session_id", 1) if isinstance(session, dict) else 1),
                "num_received": len(rows),
                "num_invalid_entries": invalid,
                "invalid_entry_samples": {},
            },
        )

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        return {"people": [], "events": [], "lists": [audience.shown(identifier) for audience in self._audiences()]}

    def counts(self) -> dict[str, int]:
        audiences = self._audiences()
        return {"lists": len(audiences), "members": sum(len(a.members) for a in audiences)}

    def _audiences(self) -> list[Audience]:
        return [audience for account in self._accounts.values() for audience in account.audiences.values()]


def _error(
    status: int, code: int, words: str, kind: str = "OAuthException", transient: bool = False, subcode: int = 0
) -> Answer:
    body: dict[str, Any] = {"message": words, "type": kind, "code": code, "is_transient": transient, "fbtrace_id": "A0"}
    return Answer(status, {"error": {**body, **({"error_subcode": subcode} if subcode else {})}})


def _missing(key: str) -> Answer:
    words = f"Unsupported request. Object with ID '{key}' does not exist or cannot be loaded."
    return _error(400, 100, words, "GraphMethodException", subcode=33)


def _fields(request: Request) -> dict[str, Any]:
    """The body's fields, as JSON or as form with JSON values."""
    if "x-www-form-urlencoded" not in request.headers.get("content-type", ""):
        return request.object
    form: dict[str, Any] = dict(parse_qsl(request.body.decode("utf-8", "replace")))
    for name in ("payload", "session"):
        try:
            form[name] = msgspec.json.decode(form.get(name, "null"))
        except msgspec.DecodeError:
            form.pop(name)
    return form


def _rows(payload: dict[str, Any]) -> list[Member] | str:
    """The rows of a payload without what is empty; or what is wrong with it as a whole."""
    schema, data = payload.get("schema"), payload.get("data")
    if not isinstance(data, list) or not data:
        return "payload.data must be an array that is not empty"
    if len(data) > MAX_ROWS:
        return f"payload.data may hold at most {MAX_ROWS} rows"
    if isinstance(schema, str):
        schema, data = [ALONE.get(schema, schema)], [row if isinstance(row, list) else [row] for row in data]
    if not isinstance(schema, list) or not schema or any(key not in HASHED + PLAIN for key in schema):
        return f"payload.schema must hold keys of {', '.join(HASHED + PLAIN)}"
    if any(not isinstance(row, list) or len(row) != len(schema) for row in data):
        return "every row of payload.data must have one value per key of payload.schema"
    return [
        {key: str(value) for key, value in zip(schema, row, strict=True) if value not in ("", None)} for row in data
    ]


def _wrong(member: Member) -> bool:
    """A row of nothing, or one with a value that should be a SHA-256 in lower-case hex and is not."""
    hashes = [value for key, value in member.items() if key in HASHED]
    return not member or any(not re.fullmatch("[0-9a-f]{64}", h) or h == OF_NOTHING for h in hashes)


def _shown(audience: Audience, request: Request) -> dict[str, Any]:
    wanted = ["id", *request.query.get("fields", "").split(",")]
    return {key: audience.fields[key] for key in SHOWN if key in wanted and key in audience.fields}


def _hash(identifier: str) -> str:
    return hashlib.sha256(identifier.strip().lower().encode()).hexdigest()
