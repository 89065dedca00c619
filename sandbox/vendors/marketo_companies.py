"""Marketo's companies. https://experienceleague.adobe.com/en/docs/marketo-developer/marketo/rest/lead-database/companies

The API makes no fields of companies; in place of Admin > Field Management there is a page of the sandbox's own here:
POST /admin/company-fields {"name": …, "dataType": …}.
"""

from collections.abc import Callable
from typing import Any

from sandbox.memory import People
from sandbox.vendor import Answer, Request, Vendor, on

MOST = 300
BY = "externalCompanyId"
FIELDS = {
    BY: "string", "company": "string", "mainPhone": "string", "website": "url", "industry": "string",
    "annualRevenue": "currency", "numberOfEmployees": "integer", "billingStreet": "text", "billingCity": "string",
    "billingState": "string", "billingPostalCode": "string", "billingCountry": "string", "sicCode": "string",
}  # fmt: skip
LENGTHS = {BY: 100} | {name: 255 for name, kind in FIELDS.items() if kind in ("string", "url") and name != BY}
NUMBERS = ("currency", "integer", "float")
KINDS = {*FIELDS.values(), *NUMBERS, "boolean", "date", "datetime"}


class Companies(Vendor):
    """The part of Marketo that has companies."""

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._companies = People()
        self.columns = dict(FIELDS)

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        found = [company.shown() for company in self._companies.having(identifier)]
        return {**super().told(identifier, at), "companies": found}

    @on("POST", "/admin/company-fields")
    def make_company_field(self, request: Request) -> Answer:
        name, kind = request.object.get("name"), request.object.get("dataType")
        if not isinstance(name, str) or not isinstance(kind, str) or not name or kind not in KINDS:
            return _errors("1003", "a name and a dataType are needed")
        self.columns[name] = kind
        return _good([])

    @on("GET", "/rest/v1/companies/describe.json")
    def describe_companies(self, request: Request) -> Answer:
        fields: list[dict[str, Any]] = [
            {"name": name, "displayName": name, "dataType": kind, "updateable": name != BY}
            | ({"length": LENGTHS[name]} if name in LENGTHS else {})
            for name, kind in self.columns.items()
        ]
        return _good([{"name": "Company", "idField": "id", "dedupeFields": [BY], "fields": fields}])

    @on("POST", "/rest/v1/companies.json")
    def write_companies(self, request: Request) -> Answer:
        body = request.object
        companies = [each for each in body.get("input") or () if isinstance(each, dict)]
        if body.get("action") != "createOrUpdate" or body.get("dedupeBy", "dedupeFields") != "dedupeFields":
            return _errors("1003", "Invalid data")
        if not 0 < len(companies) <= MOST:
            return _errors("1003", f"1 to {MOST} companies are taken")
        if unknown := sorted({name for each in companies for name in each} - {*self.columns}):
            return _errors("1006", f"Field '{unknown[0]}' not found")
        return _good([{"seq": n, **self._write_company(each, request.at)} for n, each in enumerate(companies)])

    def _write_company(self, given: dict[str, Any], at: float) -> dict[str, Any]:
        account = given.get(BY)
        if not isinstance(account, str) or not account:
            return _skipped("1002", f"Missing value for the required parameter '{BY}'")
        if self.refused(account):
            return _skipped("1001", f"Invalid value for '{BY}'")
        for name, value in given.items():
            if not self._takes(name, value):
                return _skipped("1001", f"Invalid value '{str(value)[:20]}'. Required of type '{self.columns[name]}'")
        company = self._companies.find(BY, account)
        status = "updated" if company else "created"
        company = company or self._companies.add()
        self._companies.identify(company, BY, account)
        self._companies.tell(company, at, given)
        return {"status": status, "id": company.number}

    def _takes(self, name: str, value: Any) -> bool:
        kind = self.columns[name]
        if value is None:
            return True
        if kind in NUMBERS:
            return isinstance(value, int | float) and not isinstance(value, bool)
        if kind == "boolean":
            return isinstance(value, bool)
        return isinstance(value, str) and len(value) <= LENGTHS.get(name, 32_000)


def _good(result: list[Any]) -> Answer:
    return Answer(200, {"requestId": "88f6#17e976d6ab4", "success": True, "result": result})


def _errors(code: str, words: str) -> Answer:
    return Answer(200, {"requestId": "88f6#1", "success": False, "errors": [{"code": code, "message": words}]})


def _skipped(code: str, words: str) -> dict[str, Any]:
    return {"status": "skipped", "reasons": [{"code": code, "message": words}]}
