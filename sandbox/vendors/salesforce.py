"""Salesforce: an org's leads, contacts and accounts, by SOQL and by collections of records; tokens of a client.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/

Every custom field that is asked for is there, but for those that begin with `Missing`; the first value makes its type.
"""

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl

from sandbox.memory import Person
from sandbox.vendor import Answer, Cap, Request, Vendor, on

TOKEN = "/services/oauth2/token"
GRANTED = re.compile(r"(00D-[0-9a-f]{16})!\d+")
LIFE = 7_200  # seconds, of a session that is not used
DATA = "/services/data/v62.0"
MOST = 200
PREFIX = {"Lead": "00Q", "Contact": "003", "Account": "001"}
NEEDED = {"Lead": ("LastName", "Company"), "Contact": ("LastName",), "Account": ("Name",)}
BOTH = {"Id", "Email", "FirstName", "LastName", "Phone", "MobilePhone", "Title"}
FIELDS = {
    "Lead": BOTH
    | {"Company", "Street", "City", "State", "PostalCode", "Country", "Website", "Industry", "LeadSource", "Rating"},
    "Contact": BOTH | {f"Mailing{part}" for part in ("Street", "City", "State", "PostalCode", "Country")},
    "Account": {"Id", "Name", "AccountNumber", "Phone", "Website", "Industry", "Description", "NumberOfEmployees"}
    | {
        f"{kind}{part}"
        for kind in ("Billing", "Shipping")
        for part in ("Street", "City", "State", "PostalCode", "Country")
    },
}
SOQL = re.compile(r"SELECT ([\w, ]+) FROM (\w+) WHERE Email IN \((.*)\)")


class Salesforce(Vendor):
    slug = "salesforce"
    hosts = (r"[a-z0-9-]+(\.[a-z0-9-]+)*\.my\.salesforce\.com",)
    caps = (Cap(5),)

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._kinds: dict[int, str] = {}  # of people, by number
        self._converted: dict[int, Person] = {}
        self._types: dict[tuple[str, str], type] = {}  # of custom fields
        self._ends: dict[str, float] = {}  # of sessions, in unix seconds

    # -- credentials
    @classmethod
    def credential(cls, request: Request) -> str | None:
        return "" if request.path == TOKEN else request.bearer()

    @classmethod
    def account(cls, request: Request) -> str:
        return ""  # the domain is the account

    @classmethod
    def authorized(cls, request: Request, known: set[str]) -> bool:
        """Tokens begin with what their client is called here."""
        return cls.credential(request) is not None and (not known or _client(request) in known)

    @classmethod
    def secret(cls, request: Request, settings: Any) -> str | None:
        return _client(request)

    def unauthorized(self) -> Answer:
        return _errors(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        return Answer(429, None, {"Retry-After": str(int(wait) + 1)})

    def failed(self, status: int) -> Answer:
        return _errors(status, "SERVER_UNAVAILABLE", "the server is too busy")

    def quota(self, cap: Cap, remaining: int, at: float) -> dict[str, str]:
        return {"Sforce-Limit-Info": "api-usage=18/15000"}

    @on("POST", TOKEN)
    def grant(self, request: Request) -> Answer:
        form = _form(request)
        if form.get("grant_type") != "client_credentials":
            return Answer(400, {"error": "unsupported_grant_type", "error_description": "grant type not supported"})
        if not form.get("client_id") or not form.get("client_secret"):
            return Answer(400, {"error": "invalid_client_id", "error_description": "client identifier invalid"})
        token = f"{_client(request)}!{len(self._ends) + 1}"
        self._ends[token] = request.at + LIFE
        body = {"access_token": token, "token_type": "Bearer", "issued_at": str(int(request.at * 1000))}
        return Answer(200, {**body, "instance_url": f"https://{request.host}"})

    def respond(self, request: Request) -> Answer:
        token = request.bearer() or ""
        if GRANTED.fullmatch(token) and self._ends.get(token, 0.0) <= request.at:
            return self.unauthorized()
        return super().respond(request)

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        """Accounts apart from people."""
        found = [*self.people.having(identifier)]
        accounts = [each for each in found if self._kinds[each.number] == "Account"]
        people = [each.shown() for each in found if each not in accounts]
        return {**super().told(identifier, at), "people": people, "companies": [each.shown() for each in accounts]}

    # -- records
    @on("GET", f"{DATA}/query/")
    def query(self, request: Request) -> Answer:
        """Addresses are compared without case."""
        asked = SOQL.fullmatch(request.query.get("q", ""))
        if not asked or asked[2] not in PREFIX or len(request.target) > 16_384:
            return _errors(400, "MALFORMED_QUERY", "unexpected token")
        names = [name.strip() for name in asked[1].split(",")]
        literals = re.findall(r"'((?:[^'\\]|\\.)*)'", asked[3])
        wanted = {re.sub(r"\\(.)", r"\1", each).lower() for each in literals}
        found = [self._shown(p, names) for p in self._all(asked[2]) if p.values.get("Email", "").lower() in wanted]
        return Answer(200, {"totalSize": len(found), "done": True, "records": found})

    def _all(self, kind: str) -> list[Person]:
        return [person for person in self.people.having(None) if self._kinds[person.number] == kind]

    def _shown(self, person: Person, names: list[str]) -> dict[str, Any]:
        contact = self._converted.get(person.number)
        own = {"Id": self._id(person), "IsConverted": contact is not None}
        own["ConvertedContactId"] = self._id(contact) if contact else None
        return {name: own.get(name, person.values.get(name)) for name in names}

    def _id(self, person: Person) -> str:
        return f"{PREFIX[self._kinds[person.number]]}{person.number:015d}"

    @on("POST", f"{DATA}/composite/sobjects")
    def create(self, request: Request) -> Answer:
        return self._each(request, lambda kind, given: self._write(None, kind, given, request.at))

    @on("PATCH", f"{DATA}/composite/sobjects")
    def update(self, request: Request) -> Answer:
        def write(kind: str, given: dict[str, Any]) -> dict[str, Any]:
            id = str(given.pop("id", ""))
            person = next((p for p in self._all(kind) if self._id(p) == id), None)
            if person is None:
                return _row("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", "id")
            if person.number in self._converted:
                return _row("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
            return self._write(person, kind, given, request.at)

        return self._each(request, write)

    @on("PATCH", f"{DATA}/composite/sobjects/{{kind}}/{{field}}")
    def upsert(self, request: Request, kind: str, field: str) -> Answer:
        """Two records of a request with one external id are errors, both."""
        if kind not in PREFIX or not field.endswith("__c") or field.startswith("Missing"):
            return _errors(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible")
        ids = [each.get(field) for each in _records(request)]

        def write(_: str, given: dict[str, Any]) -> dict[str, Any]:
            id = given.get(field)
            if not id or ids.count(id) > 1:
                return _row("DUPLICATE_VALUE" if id else "MISSING_ARGUMENT", f"{field}: missing or twice", field)
            person = next((p for p in self._all(kind) if p.values.get(field) == id), None)
            return self._write(person, kind, given, request.at)

        return self._each(request, write)

    def _each(self, request: Request, write: Callable[[str, dict[str, Any]], dict[str, Any]]) -> Answer:
        records = _records(request)
        if not 0 < len(records) <= MOST:
            return _errors(400, "INVALID_INPUT", f"1 to {MOST} records are taken")
        told = []
        for each in records:
            given = dict(each)
            kind = given.pop("attributes", {}).get("type")
            told.append(write(kind, given) if kind in PREFIX else _row("INVALID_TYPE", f"no object {kind!r}"))
        return Answer(200, told)

    def _write(self, person: Person | None, kind: str, given: dict[str, Any], at: float) -> dict[str, Any]:
        if wrong := self._wrong(person, kind, given):
            return wrong
        new = person is None
        person = person or self.people.add()
        self._kinds[person.number] = kind
        for name, value in given.items():
            if name == "Email" or (name.endswith("_Id__c") and isinstance(value, str)):
                self.people.identify(person, name, value)
        self.people.tell(person, at, given)
        return {"id": self._id(person), "success": True, "created": new, "errors": []}

    def _wrong(self, person: Person | None, kind: str, given: dict[str, Any]) -> dict[str, Any] | None:
        for name, value in given.items():
            custom = name.endswith("__c") and not name.startswith("Missing")
            if not custom and name not in FIELDS[kind]:
                return _row("INVALID_FIELD", f"No such column '{name}' on sobject of type {kind}")
            given_type = float if type(value) is int else type(value)
            if custom and value is not None and given_type is not self._types.setdefault((kind, name), given_type):
                return _row("INVALID_TYPE_ON_FIELD_IN_RECORD", f"{name}: value not of required type: {value}", name)
            if isinstance(value, str) and len(value) > 255:
                return _row("STRING_TOO_LONG", f"{name}: data value too large (max length=255)", name)
        missing = [name for name in NEEDED[kind] if not given.get(name)] if person is None else []
        if missing:
            words = f"Required fields are missing: [{', '.join(missing)}]"
            return _row("REQUIRED_FIELD_MISSING", words, *missing)
        email = given.get("Email")
        bad = email is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+", str(email))
        if bad or self.refused(email, *(str(v) for n, v in given.items() if n.endswith("_Id__c"))):
            return _row("INVALID_EMAIL_ADDRESS", f"Email: invalid email address: {email}", "Email")
        return None

    def convert(self, email: str) -> None:
        """What a seller does by hand: a lead becomes a contact."""
        lead = next(p for p in self._all("Lead") if p.values.get("Email") == email)
        contact = self._converted[lead.number] = self.people.add()
        self._kinds[contact.number] = "Contact"
        self.people.tell(contact, 0.0, {"Email": email, "LastName": lead.values["LastName"]})


def _records(request: Request) -> list[dict[str, Any]]:
    found = request.object.get("records")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode()))


def _client(request: Request) -> str:
    """What tokens of this client begin with."""
    if request.path == TOKEN:
        return f"00D-{blake2b(_form(request).get('client_secret', '').encode(), digest_size=8).hexdigest()}"
    return (request.bearer() or "").partition("!")[0]


def _row(code: str, words: str, *fields: str) -> dict[str, Any]:
    return {"success": False, "errors": [{"statusCode": code, "message": words, "fields": list(fields)}]}


def _errors(status: int, code: str, words: str) -> Answer:
    return Answer(status, [{"errorCode": code, "message": words}])
