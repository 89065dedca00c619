"""Intercom's contacts: looked up, then changed or made; there is no upsert."""

import re
from collections.abc import Callable, Generator, Mapping
from typing import Any
from urllib.parse import quote

from schemas.calls import Identifier
from schemas.outcomes import Delivered, Later, Outcome, Rejected
from transforms.destinations.http import Reply, Request, refused
from transforms.destinations.plain import text
from transforms.destinations.reading import rows, word

NAMES = {"user_id": "external_id", "email": "email"}
# Attributes that every contact has; any other trait is a custom one.
STANDARD = ("name", "phone", "avatar", "signed_up_at")
MOST = 255  # characters of a text (unsure)
SEARCH = "/contacts/search"
KEPT = 100_000  # ids of contacts in memory

UNREAD = Later(words="Intercom's refusal cannot be read")

Asking = Generator[Request, Reply, Outcome]


class Contacts:
    """The contacts of one workspace; the ids of those that this process has met."""

    def __init__(self, ask: Callable[..., Request]) -> None:
        self._ask = ask
        self._ids: dict[Identifier, str] = {}

    def write(
        self, whom: Identifier, ids: Mapping[str, str], told: dict[str, Any]
    ) -> Generator[Request, Reply, Outcome | str]:
        """What became of it; or the name of an attribute that is not there.

        `ids`: the identifier and those that go along. An address that another contact has is left with it.
        """
        own = {NAMES[name]: value for name, value in ids.items() if name in NAMES}
        found = yield from self.find(whom)
        if isinstance(found, Rejected):
            return found
        if found:
            reply = yield self._ask("PUT", f"/contacts/{quote(found, safe='')}", json={**own, **told})
        else:
            reply = yield self._ask("POST", "/contacts", json={"role": "user", **own, **told})
            if _unread(reply):
                return UNREAD
            taken = _conflicting(reply)
            if taken:
                reply = yield from self._adopt(whom, taken, {**own, **told})
                found = taken
        if reply.status == 404:  # merged or deleted meanwhile
            self._ids.pop(whom, None)
            return Later(words="the contact was merged or deleted at Intercom meanwhile")
        return self._written(whom, found or word(reply.object, "id"), reply)

    def _adopt(self, whom: Identifier, taken: str, body: dict[str, Any]) -> Generator[Request, Reply, Reply]:
        """Change a contact that is in the way of making one; unless it has a user id, which is another one."""
        path = f"/contacts/{quote(taken, safe='')}"
        reply = yield self._ask("GET", path)
        if reply.ok and whom.type == "user_id" and word(reply.object, "external_id") not in ("", whom.id):
            return Reply(409, body=b"Intercom has a contact with this e-mail address, and with another user id")
        return (yield self._ask("PUT", path, json=body))

    def _written(self, whom: Identifier, contact: str, reply: Reply) -> Outcome | str:
        words = word(error_of(reply), "message")
        if missing := lost_attribute(words):
            return missing
        if not reply.ok:
            return refused(reply, words=words)
        if contact and len(self._ids) < KEPT:
            self._ids[whom] = contact
        return Delivered()

    def find_or_make(self, whom: Identifier) -> Generator[Request, Reply, str | Outcome]:
        """The id of a contact, which is made where it is not there; or why it cannot be had."""
        found = yield from self.find(whom)
        if found:
            return found
        reply = yield self._ask("POST", "/contacts", json={"role": "user", NAMES[whom.type]: whom.id})
        if _unread(reply):
            return UNREAD
        if taken := _conflicting(reply):  # a search does not find new ones at once
            return taken
        told = self._written(whom, word(reply.object, "id"), reply)
        if told != Delivered():
            return told
        return word(reply.object, "id") or Later(words="Intercom does not say the id of the contact that it made")

    def delete(self, whom: Identifier) -> Asking:
        """Delete a contact for good; who is not there is deleted."""
        found = yield from self.find(whom)
        if isinstance(found, Rejected):
            return found
        if not found:
            return Delivered()
        self._ids.pop(whom, None)
        reply = yield self._ask("DELETE", f"/contacts/{quote(found, safe='')}")
        return (
            Delivered() if reply.ok or reply.status == 404 else refused(reply, words=word(error_of(reply), "message"))
        )

    def find(self, whom: Identifier) -> Generator[Request, Reply, str | Rejected]:
        """The id of a contact; "" where there is none. Of several with one address, the user."""
        if whom in self._ids:
            return self._ids[whom]
        if whom.type == "user_id":
            reply = yield self._ask("GET", f"/contacts/find_by_external_id/{quote(whom.id, safe='')}")
            if reply.ok or reply.status == 404:
                return word(reply.object, "id")
            return refused(reply, words=word(error_of(reply), "message"))
        query = {"query": {"field": "email", "operator": "=", "value": whom.id}}
        reply = yield self._ask("POST", SEARCH, json=query)
        if not reply.ok:
            return refused(reply, words=word(error_of(reply), "message"))
        known = [each for each in rows(reply.object, "data") if word(each, "id")]
        users = [each for each in known if word(each, "role") == "user"] if len(known) > 1 else known
        if len(known) > 1 and len(users) != 1:
            return Rejected("conflict", f"Intercom has {len(known)} contacts with this e-mail address")
        return word(users[0], "id") if users else ""


def _unread(reply: Reply) -> bool:
    """Whether an answer that should say which contact is in the way cannot be read: it may be the one just made."""
    return reply.status == 409 and not reply.object


def _conflicting(reply: Reply) -> str:
    """The id of the contact that is in the way of making one."""
    found = re.search(r"\bid=(\w+)", word(error_of(reply), "message")) if reply.status == 409 else None
    return found[1] if found else ""


def error_of(reply: Reply) -> dict[str, Any]:
    return next(iter(rows(reply.object, "errors")), {})


def lost_attribute(words: str) -> str:
    """The attribute that Intercom says it does not have; "" where it says nothing of the kind."""
    found = re.search(r"[Cc]ustom attribute '([^']+)' does not exist", words)
    return found[1] if found else ""


def kind_of(value: Any) -> str:
    """The type of a new attribute, by a value."""
    if isinstance(value, bool):
        return "boolean"
    return "float" if isinstance(value, int | float) else "string"


def unfit(told: Mapping[str, Any], kinds: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Values as their attributes take them; or why one does not fit: Intercom would refuse the whole contact."""
    fitted: dict[str, Any] = {}
    for name, value in told.items():
        kind = kinds[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None:
            fitted[name] = None
        elif (kind == "boolean" and not isinstance(value, bool)) or (kind in ("integer", "float") and not number):
            return (
                {},
                f"Intercom's attribute {name!r} takes {'true and false' if kind == 'boolean' else 'numbers'} only",
            )
        elif kind in ("string", "options"):
            fitted[name] = text(value)
            if len(fitted[name]) > MOST:
                return {}, f"Intercom's attribute {name!r} has room for {MOST} characters"
        else:
            fitted[name] = value
    return fitted, ""
