"""Responsys: tokens, a profile list, its extension tables, custom events.

https://docs.oracle.com/en/cloud/saas/marketing/responsys-rest-api
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from sandbox.vendor import Answer, Cap, Request, Vendor, on

LOGIN = "/rest/api/v1.3/auth/token"
LIST = "/rest/api/v1.3/lists/{list}"
MOST, LIFE = 200, 7_200.0
TAKEN = {"CUSTOMER_ID_", "EMAIL_ADDRESS_", "MOBILE_NUMBER_", "RIID_"}
PLACES = {
    "CITY_", "STATE_", "COUNTRY_", "POSTAL_CODE_", "POSTAL_STREET_1_", "POSTAL_STREET_2_", "EMAIL_PERMISSION_STATUS_",
}  # fmt: skip
KINDS = re.compile("STR(25|100|255|500|4000)|CHAR|INTEGER|NUMBER|TIMESTAMP")


class Responsys(Vendor):
    """One account. Its tokens say whose they are, so that any of them is the same account."""

    slug = "responsys"
    hosts = (r"[\w-]+-api\.responsys\.ocs\.oraclecloud\.com",)
    also = ("responsys-batch",)
    caps = (Cap(200, 60.0, "login"), Cap(1_000, 60.0))

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._tables: dict[str, dict[str, dict[str, str]]] = {}  # rows by who they are of, by table
        self._columns: dict[str, set[str]] = {}

    @classmethod
    def credential(cls, request: Request) -> str | None:
        if request.path == LOGIN:
            return parse_qs(request.body.decode("utf-8", "replace")).get("password", [""])[0] or None
        token = request.headers.get("authorization", "")
        return token.removeprefix("token-of-") if token.startswith("token-of-") else None

    def endpoint(self, request: Request) -> str:
        return "login" if request.path == LOGIN else ""

    def unauthorized(self) -> Answer:
        return _error(401, "INVALID_TOKEN", "Not a valid authentication token")

    def throttled(self, cap: Cap, wait: float, at: float) -> Answer:
        return _error(429, "API_LIMIT_EXCEEDED", "You exceeded your allowable limit to call the function.")

    def failed(self, status: int) -> Answer:
        return _error(status, "UNEXPECTED_EXCEPTION", "The service is not available.")

    @on("POST", LOGIN)
    def sign_in(self, request: Request) -> Answer:
        form = parse_qs(request.body.decode())
        if form.get("auth_type") != ["password"] or not form.get("user_name"):
            return _error(400, "INVALID_PARAMETER", "user_name, password and auth_type are needed")
        token = f"token-of-{form['password'][0]}"
        return Answer(
            200, {"authToken": token, "issuedAt": int(request.at * 1000), "endPoint": f"https://{request.host}"}
        )

    # -- merges
    @on("POST", LIST + "/members")
    def merge_list(self, request: Request, listed: str) -> Answer:
        rule = request.object.get("mergeRule")
        if not isinstance(rule, dict) or rule.get("matchColumnName1") not in TAKEN:
            return _error(400, "INVALID_PARAMETER", "The merge rule is not valid.")
        rows = _records(request)
        if isinstance(rows, Answer):
            return rows
        if unknown := sorted({name for row in rows for name in row} - TAKEN - PLACES):
            return _error(400, "INVALID_PARAMETER", f"Column {unknown[0]} is not in the list.")
        return _merged([self._merge(row, rule["matchColumnName1"], request.at) for row in rows])

    def _merge(self, row: dict[str, str], match: str, at: float) -> str:
        value = row.get(match) or ""
        if not value or self.refused(value):
            return f"MERGEFAILED: {match} is not valid"
        person = self.people.find(match, value) or self.people.add()
        for name in TAKEN & row.keys():
            if row[name]:
                self.people.identify(person, name, row[name])
        if places := {name: row[name] for name in PLACES & row.keys()}:
            self.people.tell(person, at, places)
        return str(person.number)

    @on("GET", LIST + "/listExtensions")
    def tables(self, request: Request, listed: str) -> Answer:
        found = [{"profileExtension": {"objectName": name, "folderName": "profilecast"}} for name in self._columns]
        return Answer(200, found)

    @on("POST", LIST + "/listExtensions")
    def make_table(self, request: Request, listed: str) -> Answer:
        told, fields = request.object.get("profileExtension"), request.object.get("fields")
        name, folder = (told.get("objectName"), told.get("folderName")) if isinstance(told, dict) else (None, None)
        if not isinstance(name, str) or not folder or not isinstance(fields, list) or not fields:
            return _error(400, "INVALID_PARAMETER", "objectName, folderName and fields are needed")
        if name.lower() in self._columns:
            return _error(400, "OBJECT_ALREADY_EXISTS", f"The table {name} exists.")
        for each in fields:
            if not KINDS.fullmatch(str(each.get("fieldType"))) or not 0 < len(str(each.get("fieldName"))) <= 30:
                return _error(400, "INVALID_PARAMETER", "A field is not valid.")
        self._columns[name.lower()] = {each["fieldName"].upper() for each in fields}
        self._tables[name.lower()] = {}
        return Answer(200, True)

    @on("DELETE", LIST + "/listExtensions/{table}")
    def delete_table(self, request: Request, listed: str, table: str) -> Answer:
        return Answer(200) if self._columns.pop(table.lower(), None) else _error(404, "OBJECT_DOES_NOT_EXIST", table)

    @on("POST", LIST + "/listExtensions/{table}/members")
    def merge_table(self, request: Request, listed: str, table: str) -> Answer:
        known = self._columns.get(table.lower())
        match = f"{request.object.get('matchColumnName1')}_"
        if known is None:
            return _error(404, "OBJECT_DOES_NOT_EXIST", f"The table {table} does not exist.")
        if match not in TAKEN:
            return _error(400, "INVALID_PARAMETER", "matchColumnName1 is not valid.")
        rows = _records(request)
        if isinstance(rows, Answer):
            return rows
        if len(rows[0]) < 2:
            return _error(400, "INVALID_PARAMETER", "Merge cannot be done on one field.")
        if unknown := sorted({name.upper() for row in rows for name in row} - known - TAKEN):
            return _error(400, "INVALID_PARAMETER", f"Column {unknown[0]} is not in the table.")
        return _merged([self._flag(table.lower(), row, match, request.at) for row in rows])

    def _flag(self, table: str, row: dict[str, str], match: str, at: float) -> str:
        person = self.people.find(match, row.get(match) or "")
        if person is None:
            return "MERGEFAILED: no such member of the list"
        values = {name: value for name, value in row.items() if name not in TAKEN}
        self._tables[table].setdefault(row[match], {}).update(values)
        self.people.tell(person, at, {f"{table}.{name}": value for name, value in values.items()})
        return str(person.number)

    # -- events
    @on("POST", "/rest/api/v1.3/events/{event}")
    def trigger(self, request: Request, event: str) -> Answer:
        recipients = request.object.get("recipientData")
        if not isinstance(recipients, list) or not recipients or not re.fullmatch(r"\w+", event):
            return _error(400, "INVALID_PARAMETER", "recipientData is needed")
        if len(recipients) > MOST:
            return _error(400, "RECIPIENT_LIMIT_EXCEEDED", f"At most {MOST} recipients are taken.")
        return Answer(200, [self._happened(event, each, request.at) for each in recipients])

    def _happened(self, event: str, told: dict[str, Any], at: float) -> dict[str, Any]:
        who = told.get("recipient", {})
        names = {"customerId": "CUSTOMER_ID_", "emailAddress": "EMAIL_ADDRESS_", "mobileNumber": "MOBILE_NUMBER_"}
        ids = {names[name]: value for name, value in who.items() if name in names}
        person = self.people.find_any(ids)
        if person is None or not who.get("listName", {}).get("objectName"):
            return {"errorMessage": "NO_RECIPIENT_FOUND", "success": False, "recipientId": -1}
        data = {each["name"]: each["value"] for each in told.get("optionalData", [])}
        self.events.add(at, event, ids, data)
        return {"errorMessage": None, "success": True, "recipientId": person.number}

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        lists = [
            {"name": name, "members": [who for who, row in rows.items() if row.get(name.upper(), "1") != "0"]}
            for name, rows in self._tables.items()
        ]
        return {**super().told(identifier, at), "lists": lists}


def _records(request: Request) -> list[dict[str, str]] | Answer:
    data = request.object.get("recordData")
    names, records = (data.get("fieldNames"), data.get("records")) if isinstance(data, dict) else (None, None)
    if not isinstance(names, list) or not isinstance(records, list) or not names or not records:
        return _error(400, "INVALID_REQUEST_CONTENT", "recordData is needed")
    if len(records) > MOST:
        return _error(400, "RECIPIENT_LIMIT_EXCEEDED", f"At most {MOST} records are taken.")
    for each in records:
        if not isinstance(each, list) or len(each) != len(names) or not all(isinstance(v, str | None) for v in each):
            return _error(400, "INVALID_REQUEST_CONTENT", "A record has not one text for each of fieldNames.")
    return [dict(zip(names, each, strict=True)) for each in records]


def _merged(told: list[str]) -> Answer:
    return Answer(200, {"recordData": {"fieldNames": ["RIID_"], "records": [[each] for each in told]}})


def _error(status: int, code: str, words: str) -> Answer:
    return Answer(status, {"type": "", "title": words, "errorCode": code, "detail": words, "errorDetails": []})
