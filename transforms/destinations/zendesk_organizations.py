"""Zendesk's organizations: accounts, by their external id, one in each request; and the users that belong to them."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from transforms.destinations.contract import (
    Blocked,
    Call,
    Conversation,
    Delivered,
    Destination,
    Later,
    Outcome,
    Reply,
    Request,
    Target,
    all_of,
    retry_after,
)
from transforms.destinations.reading import part, rows, word
from transforms.destinations.zendesk_fields import Ask, Fields, field_key, field_value
from transforms.destinations.zendesk_users import USERS, User, Users, not_found, outcome

ORGANIZATIONS = "/api/v2/organizations/create_or_update"
SEARCH = "/api/v2/organizations/search"
MEMBERSHIPS = "/api/v2/organization_memberships"
# Traits that are attributes of an organization; everything else is an organization field.
STANDARD = frozenset({"name", "details", "notes"})
KEPT = "organization_fields"  # in the memory of the connection


class Organizations:
    """The organizations of one connection."""

    def __init__(self, ask: Ask, owner: Destination) -> None:
        self._ask, self._owner = ask, owner
        self._fields = Fields(ask, "organization", KEPT)

    def prepare(self, targets: Mapping[Target, Call]) -> Generator[Request, Reply, dict[Target, str]]:
        """Create the organization fields that are missing. The targets that lack one, and why."""
        accounts = {target: call for target, call in targets.items() if target.form == "group"}
        wanted: dict[str, Any] = {}
        titles: dict[str, str] = {}
        for title, value in (pair for call in accounts.values() for pair in self._samples(call)):
            key = field_key(title)
            if key not in self._kept and (value is not None or key not in wanted):
                wanted[key], titles[key] = value, title
        if not wanted:
            return {}
        missing = yield from self._fields.make(wanted, titles, self._owner.memory)
        refusals: dict[Target, str] = {}
        for target, call in accounts.items():
            keys = [field_key(title) for title, _ in self._samples(call)]
            if lacking := [key for key in keys if key in missing]:
                refusals[target] = missing[lacking[0]]
            if not self._fields.created.isdisjoint(keys):
                self._owner.made.add(target)
        return refusals

    @property
    def _kept(self) -> dict[str, str]:
        """Types of fields by key."""
        found: dict[str, str] = self._owner.memory.setdefault(KEPT, {})
        return found

    def _samples(self, call: Call) -> Iterator[tuple[str, Any]]:
        """The fields of a call by our names, with the enrichment that this call happens to lack."""
        sync = self._owner.sync(call)
        enriched = sync.enrich if sync else ()
        yield from ((name, None) for name in enriched if name not in STANDARD)
        yield from _own(call)

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        """Write one organization. One that is new and has no name is called by its id, for it must have one."""
        organization: dict[str, Any] = {"external_id": calls[0].identifier.id}
        fields: dict[str, Any] = {}
        for call in calls:
            told = {name: call.traits[name] for name in STANDARD & call.traits.keys() if name != call.key}
            organization |= {name: value for name, value in told.items() if name != "name" or str(value or "").strip()}
            own = ((field_key(name), value) for name, value in _own(call))
            fields |= {key: field_value(value, self._kept.get(key, "")) for key, value in own}
        reply = yield from self._write({**organization, "organization_fields": fields})
        told_of = _outcome(reply)
        if not reply.ok:
            return all_of(calls, told_of)
        lost = self._fields.missed(part(reply.object, "organization"), fields, self._owner.memory)
        return [_settled(call, told_of, lost) for call in calls]

    def _write(self, organization: dict[str, Any]) -> Generator[Request, Reply, Reply]:
        reply = yield self._ask("POST", ORGANIZATIONS, json={"organization": organization})
        if reply.status == 422 and "name" not in organization and _lacks_name(reply):
            named = {**organization, "name": organization["external_id"]}
            reply = yield self._ask("POST", ORGANIZATIONS, json={"organization": named})
        return reply

    # -- who belongs to them
    def belong(self, user: User, users: Users, accounts: Mapping[str, bool]) -> Generator[Request, Reply, Outcome]:
        """Make a user a member of its organizations and of no other of these; what is not there is made.

        Who moves leaves first: not every plan lets a user have several organizations.
        """
        yield from users.find([user])
        if user.result is None and not user.known:
            reply = yield self._ask("POST", USERS, json={"user": user.created()})
            user.known = part(reply.object, "user")
            unsaid = None if user.id else Later(words="Zendesk does not say the id of the user that it made")
            user.result = unsaid if reply.ok else _outcome(reply)
        if user.result is not None:
            return user.result
        for account, member in sorted(accounts.items(), key=lambda each: each[1]):
            told = yield from (self._join(user.id, account) if member else self._leave(user.id, account))
            if told != Delivered():
                return told
        return Delivered()

    def _join(self, user: str, account: str) -> Generator[Request, Reply, Outcome]:
        reply = yield from self._write({"external_id": account})
        number = word(part(reply.object, "organization"), "id")
        if not reply.ok or not (user.isdecimal() and number.isdecimal()):
            return _outcome(reply) if not reply.ok else Later(words="Zendesk does not say the ids of what it made")
        ids = {"user_id": int(user), "organization_id": int(number)}
        reply = yield self._ask("POST", MEMBERSHIPS, json={"organization_membership": ids})
        there = reply.status == 422 and "already" in reply.words()
        return Delivered() if there else _outcome(reply)

    def _leave(self, user: str, account: str) -> Generator[Request, Reply, Outcome]:
        """Who is no member has left."""
        reply = yield self._ask("GET", f"{SEARCH}?external_id={quote_plus(account)}")
        if not reply.ok:
            return _outcome(reply)
        for found in rows(reply.object, "organizations"):
            number = word(found, "id")
            if number and word(found, "external_id").lower() == account.lower():
                path = f"/api/v2/users/{quote(user, safe='')}/organizations/{quote(number, safe='')}"
                reply = yield self._ask("DELETE", path)
                if not reply.ok and not not_found(reply):
                    return _outcome(reply)
        return Delivered()


def _outcome(reply: Reply) -> Outcome:
    if reply.status == 403:
        return Blocked(f"Zendesk does not let us write organizations: {reply.words()}")
    if reply.status == 422 and not reply.object:  # only its words tell a name that is missing, or one that is a member
        return Later(words="Zendesk's refusal cannot be read")
    if reply.status == 429:  # of this one user
        return Later(retry_after(reply), reply.words())
    return outcome(reply)


def _own(call: Call) -> Iterator[tuple[str, Any]]:
    """The organization fields that a call sets, by our names."""
    own = {**call.traits, call.key: call.value}
    yield from ((name, value) for name, value in own.items() if name == call.key or name not in STANDARD)


def _lacks_name(reply: Reply) -> bool:
    """Whether an organization was refused because it is new, and has no name."""
    errors = rows(part(reply.object, "details"), "name")
    return bool(errors) and all(word(error, "error") != "DuplicateValue" for error in errors)


def _settled(call: Call, told: Outcome, lost: Mapping[str, Outcome]) -> Outcome:
    """The outcome of a call: Zendesk takes an organization, and drops the fields that it does not have."""
    return next((lost[key] for name, _ in _own(call) if (key := field_key(name)) in lost), told)
