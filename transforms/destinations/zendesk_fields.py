"""Zendesk's fields of users or organizations: made where they are missing, missed where Zendesk shows none."""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from schemas.canonical import canonical
from transforms.destinations.contract import Blocked, Later, Memory, Outcome, Reply, Request
from transforms.destinations.names import in_ascii
from transforms.destinations.reading import part, rows, word
from transforms.destinations.young import Young

FIELDS = "/api/v2/user_fields"
OF_ORGANIZATIONS = "/api/v2/organization_fields"
FIELD_KEY = 100  # letters; a longer one may be refused (unsure)

Ask = Callable[..., Request]  # method, path, json, after


class Fields:
    """The fields of users or organizations of one account, as far as this process knows them."""

    def __init__(self, ask: Ask, of: str = "user", kept: str = "fields") -> None:
        """`kept`: under which name the connection's memory has their types."""
        self._ask, self._of, self._kept = ask, of, kept
        self.created: set[str] = set()  # keys of fields that this process made, and that were not lost since
        self._young = Young()  # keys of fields that were just made
        self._doubted: set[str] = set()  # fields that an answer did not show
        self._unseen: set[str] = set()  # of these, those that are there all the same: answers do not show every field

    def make(
        self, wanted: Mapping[str, Any], titles: Mapping[str, str], memory: Memory
    ) -> Generator[Request, Reply, dict[str, str]]:
        """Find or create these fields, each with a value; those that cannot be had, and why."""
        existing = yield from self._existing()
        if isinstance(existing, Blocked):
            return dict.fromkeys(wanted, existing.words)
        failed: dict[str, Reply] = {}
        for key in [key for key in wanted if key not in existing]:
            kind = _type(wanted[key])
            field = {"key": key, "title": titles[key], "type": kind, "active": True, "description": ""}
            reply = yield self._ask("POST", f"/api/v2/{self._of}_fields", json={f"{self._of}_field": field})
            if reply.ok:
                existing[key] = (kind, True)
                self._young.made(key)
                self.created.add(key)
            else:
                failed[key] = reply
        if failed:  # a key is taken by a field that somebody else just made, or by one that was deleted
            again = yield from self._existing()
            existing |= {} if isinstance(again, Blocked) else again
        missing = {}
        for key in wanted:
            if key not in existing:
                missing[key] = f"Zendesk has no {self._of} field {key!r}, and does not make one: {failed[key].words()}"
                continue
            kind, active = existing[key]
            if active:
                memory[self._kept][key] = kind
                self._unseen |= {key} & self._doubted
            else:
                missing[key] = f"the {self._of} field {key!r} is deactivated in Zendesk"
        return missing

    def _existing(self) -> Generator[Request, Reply, dict[str, tuple[str, bool]] | Blocked]:
        """Type of each field by key, and whether it is active."""
        found: dict[str, tuple[str, bool]] = {}
        after = ""
        while True:
            reply = yield self._ask("GET", f"/api/v2/{self._of}_fields?page%5Bsize%5D=100{after}")
            if not reply.ok:
                return Blocked(f"Zendesk does not show its {self._of} fields: {reply.words()}")
            page = reply.object
            for field in rows(page, f"{self._of}_fields"):
                found[word(field, "key")] = (word(field, "type"), field.get("active") is not False)
            more = part(page, "meta")
            before, cursor = after, word(more, "after_cursor")
            after = f"&page%5Bafter%5D={quote(cursor, safe='')}"
            if not (more.get("has_more") and cursor) or after == before:
                return found

    def missed(self, record: Mapping[str, Any], keys: Iterable[str], memory: Memory) -> dict[str, Outcome]:
        """Of these fields, those that Zendesk shows this record without, and what becomes of their calls.

        Zendesk shows every record with all fields, and drops values of those it does not have without a word.
        """
        shown = record.get(f"{self._of}_fields")
        if not isinstance(shown, dict):
            return {}
        for key in shown:
            self._young.seen(key)
        return {key: self._lose(key, memory) for key in keys if key not in shown and key not in self._unseen}

    def _lose(self, key: str, memory: Memory) -> Outcome:
        """Note that Zendesk does not have a field: not yet, or not any more."""
        if wait := self._young.wait(key):
            return Later(wait, f"Zendesk does not know its new {self._of} field {key!r} everywhere yet")
        known = memory.get(self._kept, {}).pop(key, None)
        self.created.discard(key)
        self._doubted.add(key)
        return Blocked(f"Zendesk shows no {self._of} field {key!r}", prepare=True, lost=known is not None)


def field_key(name: str) -> str:
    """Letters, digits and _, and not digits only."""
    key = in_ascii(name, FIELD_KEY)
    return f"field_{key}" if key.isdigit() else key


def field_value(value: Any, kind: str) -> Any:
    """A value in the form that a field of this type takes."""
    if value is None or isinstance(value, str):
        return value
    if kind in ("text", "textarea", "regexp") or isinstance(value, list | dict):
        return canonical(value).decode()
    return value


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "checkbox"
    return "decimal" if isinstance(value, int | float) else "text"
