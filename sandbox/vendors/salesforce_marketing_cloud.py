"""Salesforce Marketing Cloud: data extensions, their rows, journey events; tokens. https://developer.salesforce.com/docs/marketing/marketing-cloud

Every event definition that is asked for is there, unless its key begins with `Missing`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from sandbox.vendor import Answer, Cap, Request, Vendor, on

LIFE = 1_079  # seconds, of a token
GRANTED = re.compile(r"sfmc\.[0-9a-f]{16}\.(\d+)")
OBJECTS = "/data/v1/customobjects"
TYPES: dict[str, Any] = {
    "Text": str, "Number": int, "Date": str, "Boolean": bool, "EmailAddress": str, "Phone": str, "Locale": str,
    "Decimal": (int, float),
}  # fmt: skip
DEADLOCK = "deadlock"  # a contact key that begins so meets one at its first job
MAKES, TAKES = 2.0, 4.0  # seconds, of new columns and of a job
ROWS, JOB_ROWS = 50, 30_000


@dataclass
class Extension:
    """A data extension."""

    name: str
    fields: list[dict[str, Any]]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    pending: list[tuple[float, dict[str, Any]]] = field(default_factory=list)  # columns, and when they are there


class MarketingCloud(Vendor):
    """Tokens say themselves when they end: the hosts that give and take them share no state here."""

    slug = "salesforce-marketing-cloud"
    also = ("salesforce-marketing-cloud-lists",)
    hosts = (r"[a-z0-9-]+\.(auth|rest)\.marketingcloudapis\.com",)
    caps = (Cap(20),)

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._extensions: dict[str, Extension] = {}
        self._jobs: dict[str, tuple[float, list[dict[str, Any]]]] = {}
        self._met: set[str] = set()

    # -- credentials
    @classmethod
    def credential(cls, request: Request) -> str | None:
        return "" if ".auth." in request.host else request.bearer()

    @classmethod
    def account(cls, request: Request) -> str:
        return ""  # the subdomain is the account

    @classmethod
    def authorized(cls, request: Request, known: set[str]) -> bool:
        if ".auth." in request.host:
            return not known or _client(request) in known
        granted = GRANTED.fullmatch(request.bearer() or "")
        return granted is not None and int(granted[1]) > request.at

    @classmethod
    def secret(cls, request: Request, settings: Any) -> str | None:
        return _client(request)

    def unauthorized(self) -> Answer:
        return Answer(401, {"error": "invalid_client", "message": "Not Authorized", "errorcode": 0})

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        after = int(wait) + 1
        body = {"message": "Rate limit exceeded", "errorcode": 50100, "retryAfter": after}
        return Answer(429, body, {"Retry-After": str(after)})

    @on("POST", "/v2/token")
    def grant(self, request: Request) -> Answer:
        told = request.object
        if told.get("grant_type") != "client_credentials" or not told.get("client_secret"):
            return Answer(400, {"error": "invalid_request", "error_description": "grant_type or client_secret"})
        token = f"sfmc.{_client(request)}.{int(request.at) + LIFE}"
        host = request.host.replace(".auth.", ".rest.")
        return Answer(200, {"access_token": token, "expires_in": LIFE, "rest_instance_url": f"https://{host}/"})

    # -- data extensions
    @on("GET", OBJECTS)
    def search(self, request: Request) -> Answer:
        """`$search` is needed; it finds parts of names."""
        wanted, size = request.query.get("$search", ""), int(request.query.get("$pageSize", "25"))
        if not wanted:
            return _refused(400, 10001, "$search is required")
        found = [
            {"id": id, "key": id, "name": each.name}
            for id, each in self._extensions.items()
            if wanted.lower() in each.name.lower()
        ]
        first = (int(request.query.get("$page", "1")) - 1) * size
        return Answer(200, {"count": len(found), "page": 1, "pageSize": size, "items": found[first : first + size]})

    @on("POST", OBJECTS)
    def make(self, request: Request) -> Answer:
        told = request.object
        name, fields = str(told.get("name", "")), _rows(told.get("fields"))
        keys = [each for each in fields if each.get("isPrimaryKey")]
        if not re.fullmatch(r"[\w -]{1,100}", name) or name.lower() in {
            e.name.lower() for e in self._extensions.values()
        }:
            return _refused(400, 10003, "the name is taken, or has other signs than letters, digits, blanks, - and _")
        if len(keys) != 1 or any(words := self._wrong_field(each) for each in fields):
            return _refused(400, 10004, words if len(keys) == 1 else "one primary key is needed")
        if told.get("isSendable") and told.get("sendableCustomObjectField") not in {each["name"] for each in fields}:
            return _refused(400, 10005, "sendableCustomObjectField is no field")
        id = f"de-{len(self._extensions) + 1}"
        self._extensions[id] = Extension(name, fields)
        return Answer(201, {"id": id, "key": id, "name": name})

    def _wrong_field(self, told: dict[str, Any]) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][\w -]{0,127}", str(told.get("name", "")), re.ASCII):
            return f"no name of a field: {told.get('name')}"
        if told.get("type") not in TYPES:
            return f"no type of a field: {told.get('type')}"
        return "a nullable primary key" if told.get("isPrimaryKey") and told.get("isNullable") else ""

    @on("DELETE", f"{OBJECTS}/{{id}}")
    def delete(self, request: Request, id: str) -> Answer:
        return Answer(200) if self._extensions.pop(id, None) else _not_found()

    @on("GET", f"{OBJECTS}/{{id}}/fields")
    def fields(self, request: Request, id: str) -> Answer:
        found = self._find(id, request.at)
        return Answer(200, {"id": id, "fields": found.fields}) if found else _not_found()

    @on("POST", "/data/v1/customobjectsasync/{id}/fields")
    def add_fields(self, request: Request, id: str) -> Answer:
        """They are there some seconds later."""
        found, told = self._find(id, request.at), _rows(request.object.get("fields"))
        if found is None:
            return _not_found()
        known = {each["name"].lower() for each in found.fields}
        for each in told:
            if words := self._wrong_field(each):
                return _refused(400, 10004, words)
            if each["name"].lower() in known:
                return _refused(400, 10004, f"the field {each['name']} is there")
        found.pending += [(request.at + MAKES, each) for each in told]
        return Answer(202, {"requestId": "columns", "resultMessages": []})

    def _find(self, id: str, at: float) -> Extension | None:
        found = self._extensions.get(id)
        if found:
            found.fields += [each for due, each in found.pending if due <= at]
            found.pending = [(due, each) for due, each in found.pending if due > at]
        return found

    # -- rows
    @on("POST", "/hub/v1/dataevents/{id}/rowset")
    def save(self, request: Request, id: str) -> Answer:
        """Rows before the first bad one are saved, those after it are not, and the answer does not say which it is."""
        found, told = self._find(id, request.at), request.json
        if found is None:
            return _not_found()
        if not isinstance(told, list) or not 0 < len(told) <= ROWS:
            return _refused(400, 10006, f"1 to {ROWS} rows are taken")
        for each in told:
            row = {**each.get("keys", {}), **each.get("values", {})}
            if words := self._wrong(found, row):
                errors = [{"message": words, "errorcode": 10000}]
                return Answer(400, {"message": "Unable to save rows", "errorcode": 10006, "additionalErrors": errors})
            self._write(found, row, request.at)
        return Answer(200, told)

    def _wrong(self, extension: Extension, row: dict[str, Any]) -> str:
        fields = {each["name"].lower(): each for each in extension.fields}
        if unknown := [name for name in row if name.lower() not in fields]:
            return f"no column {unknown[0]}"
        key = next(each["name"] for each in extension.fields if each.get("isPrimaryKey"))
        if not row.get(key) or self.refused(str(row[key]), str(row.get("Email") or "")):
            return "the primary key is missing or not valid"
        for name, value in row.items():
            kind, most = fields[name.lower()]["type"], fields[name.lower()].get("length", 4_000)
            if value is None:
                return f"{name}: null"
            if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "Boolean"):
                return f"{name}: {value} is no {kind}"
            if isinstance(value, str) and len(value) > most:
                return f"{name}: longer than {most}"
            if kind == "EmailAddress" and value and not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
                return f"{name}: {value} is no address"
        return ""

    def _write(self, extension: Extension, row: dict[str, Any], at: float) -> None:
        key = str(row["Contact Key"])
        extension.rows.setdefault(key, {}).update(row)
        person = self.people.find("Contact Key", key) or self.people.add()
        self.people.identify(person, "Contact Key", key)
        if row.get("Email"):
            self.people.identify(person, "Email", row["Email"])
        self.people.tell(person, at, {f"{extension.name}.{name}": value for name, value in row.items()})

    # -- jobs
    @on("PUT", "/data/v1/async/dataextensions/{id}/rows")
    def begin(self, request: Request, id: str) -> Answer:
        found, told = self._find(id, request.at), _rows(request.object.get("items"))
        if found is None:
            return _not_found()
        if not 0 < len(told) <= JOB_ROWS:
            return _refused(400, 10006, f"1 to {JOB_ROWS} rows are taken")
        results = [self._row(found, row, request.at) for row in told]
        job = f"job-{len(self._jobs) + 1}"
        self._jobs[job] = (request.at + TAKES, results)
        return Answer(202, {"requestId": job, "resultMessages": []})

    def _row(self, extension: Extension, row: dict[str, Any], at: float) -> dict[str, Any]:
        key = str(row.get("Contact Key"))
        if key.startswith(DEADLOCK) and key not in self._met:
            self._met.add(key)
            return {"status": "Error", "errorCode": 3, "message": "Transaction was deadlocked. Rerun the transaction."}
        if words := self._wrong(extension, row):
            return {"status": "Error", "errorCode": 2, "message": words}
        self._write(extension, row, at)
        return {"status": "OK", "errorCode": 0, "message": "Updated"}

    @on("GET", "/data/v1/async/{job}/status")
    def status(self, request: Request, job: str) -> Answer:
        """There is no `status` until the job is picked up."""
        if job not in self._jobs:
            return _not_found()
        due, results = self._jobs[job]
        if request.at < due - TAKES / 2:
            return Answer(200, {"requestId": job, "resultMessages": []})
        done, bad = request.at >= due, any(each["status"] == "Error" for each in results)
        now = {"requestStatus": "Complete", "resultStatus": "Has Errors" if bad else "OK", "hasErrors": bad}
        return Answer(200, {"status": now if done else {"requestStatus": "Executing", "hasErrors": False}})

    @on("GET", "/data/v1/async/{job}/results")
    def results(self, request: Request, job: str) -> Answer:
        if job not in self._jobs:
            return _not_found()
        size, page = int(request.query.get("$pageSize", "50")), int(request.query.get("$page", "1"))
        found = self._jobs[job][1]
        items = found[(page - 1) * size : page * size]
        return Answer(200, {"page": page, "pageSize": size, "count": len(found), "items": items, "requestId": job})

    # -- journeys
    @on("POST", "/interaction/v1/events")
    def event(self, request: Request) -> Answer:
        told = request.object
        key, kind, data = (told.get(name) for name in ("ContactKey", "EventDefinitionKey", "Data"))
        if not key or not isinstance(data, dict) or self.refused(str(key)):
            return _refused(400, 10000, "ContactKey or Data is missing or not valid")
        if not kind or str(kind).startswith("Missing"):
            return _refused(400, 30003, f"EventDefinitionKey {kind} is not known")
        self.events.add(request.at, str(kind), {"Contact Key": str(key)}, data)
        return Answer(201, {"eventInstanceId": f"e-{len(self.events)}"})

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        lists = [
            {"name": each.name, "members": sorted(key for key, row in each.rows.items() if row.get("Member"))}
            for each in self._extensions.values()
            if any(field["name"] == "Member" for field in each.fields)
        ]
        return {**super().told(identifier, at), "lists": lists}


def _client(request: Request) -> str:
    return blake2b(str(request.object.get("client_secret", "")).encode(), digest_size=8).hexdigest()


def _rows(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _refused(status: int, code: int, words: str) -> Answer:
    return Answer(status, {"message": words, "errorcode": code})


def _not_found() -> Answer:
    return _refused(404, 10001, "ObjectNotFound")
