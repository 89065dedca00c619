"""HubSpot's companies and their properties. https://developers.hubspot.com/docs/api-reference/legacy/crm/objects/companies

A company is found by its record id, or by a property with unique values; names may repeat.
"""

from collections.abc import Callable
from typing import Any

from sandbox.memory import People, Person
from sandbox.vendor import Answer, Request, Vendor, on
from sandbox.vendors.hubspot_schema import OF_COMPANIES, Properties
from sandbox.vendors.hubspot_shapes import Item, Refusal, as_time, batch, distinct, ids, inputs, not_found, problem

OBJECTS = "/crm/v3/objects/companies"
ASSOCIATIONS = "/crm/v4/associations/contacts/companies/batch"
PROPERTIES = "/crm/v3/properties/companies"


class Companies(Vendor):
    """The part of HubSpot that has companies."""

    def __init__(self, refuses: Callable[[str], bool]) -> None:
        super().__init__(refuses)
        self._companies = People()
        self._declared = Properties(self.refused, OF_COMPANIES)

    def told(self, identifier: str | None, at: float) -> dict[str, Any]:
        companies = [company.shown() for company in self._companies.having(identifier)]
        return {**super().told(identifier, at), "companies": companies}

    # -- properties
    @on("GET", PROPERTIES)
    def company_properties(self, request: Request) -> Answer:
        return Answer(200, {"results": list(self._declared.declared.values())})

    @on("POST", PROPERTIES)
    def create_company_property(self, request: Request) -> Answer:
        return Answer(201, self._declared.declare(request.object))

    @on("POST", f"{PROPERTIES}/batch/create")
    def create_company_properties(self, request: Request) -> Answer:
        results, errors = [], []
        for item in inputs(request):
            try:
                results.append(self._declared.declare(item))
            except Refusal as refusal:
                errors.append({**refusal.answer.json, "context": {"name": [str(item.get("name"))]}})
        return batch(201, results, errors, request.at)

    # -- companies
    @on("POST", OBJECTS)
    def create_company(self, request: Request) -> Answer:
        return Answer(201, self._shown_company(self._make(self._valid(request.object, None), request.at)))

    @on("GET", f"{OBJECTS}/{{key}}")
    def read_company(self, request: Request, key: str) -> Answer:
        company = self._companies.find(request.query.get("idProperty", "hs_object_id"), key)
        return Answer(200, self._shown_company(company)) if company else _missing()

    @on("PATCH", f"{OBJECTS}/{{key}}")
    def update_company(self, request: Request, key: str) -> Answer:
        company = self._companies.find(request.query.get("idProperty", "hs_object_id"), key)
        if company is None:
            return _missing()
        self._set(company, self._valid(request.object, company), request.at)
        return Answer(200, self._shown_company(company))

    @on("POST", f"{OBJECTS}/batch/upsert")
    def upsert_companies(self, request: Request) -> Answer:
        """Every input is checked before the first is written. Without a trace id on each, one error refuses all."""
        distinct(ids(request))
        items = inputs(request)
        traced = all(isinstance(item.get("objectWriteTraceId"), str) for item in items)
        results, errors = [], []
        ready: list[tuple[Item, Person | None, dict[str, str]]] = []
        for item in items:
            try:
                company = self._named(item)
                values = {**self._valid(item, company), item["idProperty"]: item["id"]}
                ready.append((item, company, values))
            except Refusal as refusal:
                if not traced or "PROPERTY_DOESNT_EXIST" in str(refusal):
                    raise
                errors.append({**refusal.answer.json, "context": {"objectWriteTraceId": [item["objectWriteTraceId"]]}})
        for item, company, values in ready:
            new = company is None
            written = self._make(values, request.at) if company is None else self._set(company, values, request.at)
            trace = {"objectWriteTraceId": item["objectWriteTraceId"]} if traced else {}
            results.append({**self._shown_company(written), "new": new, **trace})
        return batch(200, results, errors, request.at)

    @on("POST", f"{OBJECTS}/batch/read")
    def read_companies(self, request: Request) -> Answer:
        by = request.object.get("idProperty", "hs_object_id")
        found = {key: self._companies.find(by, key) for key in ids(request)}
        missing = [key for key, company in found.items() if company is None]
        results = [self._shown_company(company) for company in found.values() if company]
        return batch(200, results, [not_found(missing)] if missing else [], request.at)

    # -- associations of contacts
    @on("POST", f"{ASSOCIATIONS}/associate/default")
    def associate(self, request: Request) -> Answer:
        """Nothing is kept of a pair of which one is not there."""
        results, errors = [], []
        for item in inputs(request):
            contact, company = self._pair(item.get("from"), item.get("to"))
            if contact is None or company is None:
                ids_of = [str(each.get("id")) for each in (item.get("from"), item.get("to")) if isinstance(each, dict)]
                gone = problem(404, "OBJECT_NOT_FOUND", "One of the objects does not exist").json
                errors.append({**gone, "context": {"fromObjectId": ids_of[:1], "toObjectId": ids_of[1:]}})
                continue
            self.people.tell(contact, request.at, {_called(company): True})
            results.append({"from": item["from"], "to": item["to"]})
        return batch(200, results, errors, request.at)

    @on("POST", f"{ASSOCIATIONS}/archive")
    def dissociate(self, request: Request) -> Answer:
        for item in inputs(request):
            several = item.get("to")
            for to in several if isinstance(several, list) else []:
                contact, company = self._pair(item.get("from"), to)
                if contact and company:
                    self.people.tell(contact, request.at, {_called(company): None})
        return Answer(204)

    def _pair(self, contact: Any, company: Any) -> tuple[Person | None, Person | None]:
        if not isinstance(contact, dict) or not isinstance(company, dict):
            raise Refusal(400, "VALIDATION_ERROR", "from and to are objects with an id")
        return (
            self.people.find("hs_object_id", str(contact.get("id"))),
            self._companies.find("hs_object_id", str(company.get("id"))),
        )

    # -- within
    def _named(self, item: Item) -> Person | None:
        """The company that an input is about, by a property that must have unique values."""
        by = item.get("idProperty")
        if not isinstance(by, str):
            raise Refusal(400, "VALIDATION_ERROR", "idProperty is required")
        self._declared.check(by, item["id"])
        if not self._declared.unique(by):
            raise Refusal(400, "VALIDATION_ERROR", f"Property {by} is not a unique property")
        return self._companies.find(by, item["id"])

    def _valid(self, item: Item, company: Person | None) -> dict[str, str]:
        """The values of an input; no other company has one of those that are unique."""
        values = self._declared.values(item)
        if self.refused(str(item.get("id", ""))):
            raise Refusal(400, "VALIDATION_ERROR", "this company is refused")
        for name, value in values.items():
            if self._declared.unique(name) and self._companies.find(name, value) not in (None, company):
                raise Refusal(409, "CONFLICT", f"another company has this {name}")
        return values

    def _make(self, values: dict[str, str], at: float) -> Person:
        company = self._companies.add()
        self._companies.identify(company, "hs_object_id", str(9000 + company.number))
        return self._set(company, {"createdate": as_time(at), **values}, at)

    def _set(self, company: Person, values: dict[str, str], at: float) -> Person:
        for name, value in values.items():
            if self._declared.unique(name):
                self._companies.identify(company, name, value)
        self._companies.tell(company, at, values)
        return company

    def _shown_company(self, company: Person) -> dict[str, Any]:
        return {"id": company.identifiers["hs_object_id"], "properties": company.values, "archived": False}


def _called(company: Person) -> str:
    """What is shown of a contact that belongs to it: by the id of its owner, where it has one."""
    return f"company {[*company.identifiers.values()][-1]}"


def _missing() -> Answer:
    return problem(404, "OBJECT_NOT_FOUND", "resource not found")
