"""Intercom's companies: accounts, by `company_id`, made where they are not there; and the contacts in them."""

from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import quote

from transforms.destinations.contract import Blocked, Delivered, Later, Outcome, Rejected, Reply, Request, refused
from transforms.destinations.intercom_attributes import Ask
from transforms.destinations.intercom_contacts import error_of, lost_attribute, unfit
from transforms.destinations.plain import Item
from transforms.destinations.reading import word

COMPANIES = "/companies"
# Attributes that every company has; any other trait is a custom one.
STANDARD = {
    "name": "string", "plan": "string", "website": "string", "industry": "string", "size": "integer",
    "monthly_spend": "integer", "remote_created_at": "integer",
}  # fmt: skip
LARGEST = 2**31 - 1  # of `monthly_spend`


def write(ask: Ask, account: Item, known: Mapping[str, str]) -> Generator[Request, Reply, Outcome | str]:
    """What became of it; or the name of an attribute that is not there. `known`: types of the custom ones."""
    own = {name: value for name, value in account.traits.items() if name in STANDARD}
    custom = {name: value for name, value in account.traits.items() if name not in STANDARD}
    if missing := next((name for name in custom if name not in known), ""):
        return missing
    fitted, words = unfit({**own, **custom}, {**known, **STANDARD})
    if words:
        return Rejected("invalid_value", words)
    body: dict[str, Any] = {"company_id": account.account}
    for name in own:
        whole = STANDARD[name] == "integer" and fitted[name] is not None  # Intercom cuts others itself
        body[name] = min(int(fitted[name]), LARGEST) if whole else fitted[name]
    reply = yield ask("POST", COMPANIES, json={**body, "custom_attributes": {name: fitted[name] for name in custom}})
    said = word(error_of(reply), "message")
    return lost_attribute(said) or (Delivered() if reply.ok else _refused(reply))


def belong(ask: Ask, contact: str, accounts: Mapping[str, bool]) -> Generator[Request, Reply, Outcome]:
    """Attach a contact to its companies, which are made where they are not there, and detach it from the others."""
    path = f"/contacts/{quote(contact, safe='')}{COMPANIES}"
    for account, member in accounts.items():
        if member:
            reply = yield ask("POST", COMPANIES, json={"company_id": account})
        else:
            reply = yield ask("GET", COMPANIES, params={"company_id": account})
        if reply.status == 404 and not member:
            continue
        if not reply.ok:
            return _refused(reply)
        company = quote(word(reply.object, "id"), safe="")
        if not company:
            return Later(words="Intercom does not say the id of the company")
        if member:
            reply = yield ask("POST", path, json={"id": word(reply.object, "id")})
        else:
            reply = yield ask("DELETE", f"{path}/{company}")
        if reply.status == 404 and member:
            return Later(words="the contact or the company was merged or deleted at Intercom meanwhile")
        if not reply.ok and reply.status != 404:
            return _refused(reply)
    return Delivered()


def _refused(reply: Reply) -> Outcome:
    words = word(error_of(reply), "message")
    if reply.status == 403:  # the token may not: nobody's fault
        return Blocked(f"Intercom does not let this token write companies: {words or reply.words()}")
    return refused(reply, words=words)
