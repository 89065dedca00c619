"""Eloqua's instances, contact fields and values: where an instance is, what a field is called, what it takes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from transforms.destinations.auth import Auth, Session, SigningIn, basic
from transforms.destinations.http import Reply, Request, Verdict
from transforms.destinations.plain import text
from transforms.destinations.reading import part, rows, word

LOGIN = "https://login.eloqua.com/id"
EMAIL = "C_EmailAddress"
# Traits whose fields have another name.
NAMES = {"phone": "busphone", "street": "address1", "state": "stateprov", "zip": "zippostal"}
LONGEST = {"text": 250, "string": 250, "largeText": 32_000}  # characters


@dataclass(frozen=True)
class Pod(Auth):
    """A company's instance is at one of several places, and may move: it is asked for where with every sign-in."""

    signs_in: ClassVar[bool] = True

    def sign_in(self, settings: Any, kept: str, now: float) -> SigningIn:
        reply = yield Request("GET", LOGIN, headers=self._basic(settings))
        return Session(token=_base(reply), base_url=_base(reply))  # there is no token: every request names the user

    def refused(self, reply: Reply) -> Verdict:
        """A wrong password has an answer of 200, which is a text."""
        if reply.ok and not _base(reply):
            words = reply.json()
            if words is None:
                return Verdict("transient", words=reply.words())
            return Verdict("credentials", words=words if isinstance(words, str) else "Eloqua does not say where it is")
        return super().refused(reply)

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        return self._basic(settings)

    def _basic(self, settings: Any) -> dict[str, str]:
        return {"authorization": basic(f"{settings.company}\\{settings.user}", settings.password.reveal())}


def _base(reply: Reply) -> str:
    base = word(part(reply.object, "urls"), "base").rstrip("/")
    return base if re.fullmatch(r"https://[\w.-]+\.eloqua\.com", base) else ""


class Field(NamedTuple):
    """A contact field, as imports call it, and its type."""

    name: str
    kind: str


def fields_in(reply: Reply) -> dict[str, list[str]]:
    """The fields on a page, by what is left of each of their names."""
    found: dict[str, list[str]] = {}
    for each in rows(reply.object, "items"):
        internal = word(each, "internalName")
        if internal and internal != EMAIL:
            field = [internal, word(each, "dataType")]
            found[plain(internal.removeprefix("C_"))] = field
            found.setdefault(plain(re.sub(r"\d+$", "", internal.removeprefix("C_"))), field)
            found.setdefault(plain(word(each, "name")), field)
    return found


def field_of(fields: Mapping[str, Any], name: str) -> Field | None:
    found = fields.get(plain(NAMES.get(name, name)))
    return Field(*found) if found else None


def plain(name: str) -> str:
    """Letters and digits: `Big Spenders`, `big_spenders` and `C_Big_Spenders1` are one."""
    return re.sub(r"[\W_]", "", name.lower())


def fitted(value: Any, kind: str) -> tuple[str, str]:
    """A value as a field of this type takes it, and what the field takes instead. Nothing empties a field."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and kind in ("number", "numeric") and not number:
        return "", "takes numbers only"
    if kind == "number" and isinstance(value, float) and not value.is_integer():
        return "", "takes whole numbers only"
    if kind == "numeric" and number:
        return f"{value:.4f}".rstrip("0").rstrip("."), ""
    fit = text(value)
    most = LONGEST.get(kind, LONGEST["text"])
    return (fit, "") if len(fit) <= most else ("", f"has room for {most} characters")


def quoted(text: str) -> str:
    """A text in a search."""
    return "'" + text.replace("'", "''") + "'"


def words_of(reply: Reply) -> str:
    """Errors come as a list of failures, or as one."""
    body = reply.json()
    first = body[0] if isinstance(body, list) and body else body
    failures = rows(first, "failures")
    said = failures[0] if failures else first
    place, requirement = word(said, "property") or word(said, "field"), word(part(said, "requirement"), "type")
    words = " ".join(each for each in (word(said, "message"), place, requirement) if each)
    return words or reply.words()
