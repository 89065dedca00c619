"""Intercom's companies. https://developers.intercom.com/docs/references/rest-api/api.intercom.io/companies

A company is found by the `company_id` that its owner gave it. Intercom shows it from its first contact on.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.memory import People, Person
from sandbox.vendor import Answer, Request, Vendor, on

KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "float": (int, float), "boolean": bool, "date": (int, str), "datetime": (int, str),
}  # fmt: skip
STANDARD = {
    "name": "string", "plan": "string", "website": "string", "industry": "string", "size": "integer",
    "monthly_spend": "integer", "remote_created_at": "integer",
}  # fmt: skip


class Companies(Vendor):
    """The part of Intercom that has companies."""

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._companies = People()
        self._columns: dict[str, str] = {}  # attributes of companies: types by name

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        found = [company.shown() for company in self._companies.having(identifier)]
        return {**super().told(identifier, at), "companies": found}

    @on("POST", "/companies")
    def write_company(self, request: Request) -> Answer:
        body = request.object
        account = body.get("company_id")
        if not isinstance(account, str) or not account or self.refused(account):
            return _error(400, "parameter_invalid", "company_id is missing or not valid")
        own = {name: body[name] for name in STANDARD if name in body}
        custom = body.get("custom_attributes") or {}
        if words := invalid_values(own, STANDARD) or invalid_values(custom, self._columns):
            return _error(400, "parameter_invalid", words)
        company = self._companies.find("company_id", account)
        if company is None:
            company = self._companies.add()
            self._companies.identify(company, "company_id", account)
            self._companies.identify(company, "id", f"c{company.number:023d}")
        self._companies.tell(company, request.at, {**own, **custom})
        return Answer(200, _shown(company))

    @on("GET", "/companies")
    def read_company(self, request: Request) -> Answer:
        company = self._companies.find("company_id", request.query.get("company_id", ""))
        return Answer(200, _shown(company)) if company else _error(404, "company_not_found", "Company Not Found")

    @on("POST", "/contacts/{contact}/companies")
    def attach(self, request: Request, contact: str) -> Answer:
        person, company = self._contact(contact), self._companies.find("id", str(request.object.get("id")))
        if person is None or company is None:
            return _error(404, "company_not_found" if person else "not_found", "Not Found")
        self.people.tell(person, request.at, {f"company {company.identifiers['company_id']}": True})
        return Answer(200, _shown(company))

    @on("DELETE", "/contacts/{contact}/companies/{number}")
    def detach(self, request: Request, contact: str, number: str) -> Answer:
        person, company = self._contact(contact), self._companies.find("id", number)
        name = f"company {company.identifiers['company_id']}" if company else ""
        if person is None or company is None or name not in person.values:
            return _error(404, "company_not_found" if person else "not_found", "Not Found")
        self.people.tell(person, request.at, {name: None})
        return Answer(200, _shown(company))

    def _contact(self, number: str) -> Person | None:
        return next((each for each in self.people.having(None) if str(each.number) == number), None)


def invalid_values(values: Mapping[str, Any], types: Mapping[str, str]) -> str:
    """What is wrong with values, if anything; nothing empties an attribute."""
    for name, value in values.items():
        kind = types.get(name)
        if kind is None:
            return f"Custom attribute '{name}' does not exist"
        fits = isinstance(value, KINDS[kind]) and isinstance(value, bool) == (kind == "boolean")
        if value is not None and not fits:
            return f"{name} must be a {kind}"
    return ""


def _shown(company: Person) -> dict[str, Any]:
    ids = company.identifiers
    return {"type": "company", "id": ids["id"], "company_id": ids["company_id"], "custom_attributes": company.values}


def _error(status: int, code: str, words: str) -> Answer:
    return Answer(status, {"type": "error.list", "errors": [{"code": code, "message": words}]})
