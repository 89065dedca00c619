"""Zendesk's users: who is known there, and how they are written, one by one or a hundred at a time by a job.

    find ─┬─ known ─► update_many, or alone: without a name, for people change theirs in Zendesk
          └─ new ───► create_or_update_many where bulk imports are allowed, or alone: with a name

The rows of a job have no number and no documented order. A row is its user's by external id, e-mail address or id;
where a row names nobody, those that are left are written once more, alone.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

from msgspec.structs import asdict

from schemas.outcomes import Reason
from transforms.destinations.contract import Delivered, Later, Outcome, Rejected, Reply, Request, refused, retry_after
from transforms.destinations.reading import part, rows, word
from transforms.destinations.zendesk_fields import Ask

USERS = "/api/v2/users/create_or_update"
CREATE_MANY = "/api/v2/users/create_or_update_many"
UPDATE_MANY = "/api/v2/users/update_many"
SHOW_MANY = "/api/v2/users/show_many"
SEARCH = "/api/v2/users/search"
JOBS = (CREATE_MANY, UPDATE_MANY)

MOST = 100  # users of a job, external ids of `show_many`
QUERY = 5_000  # letters of a query; no limit is documented
SUSPECTS = 3  # users in a row that Zendesk may refuse before it looks as if it refused everybody
FEW = 2  # a job and its status are three requests: so many users are written alone
# Seconds between looks at a job, ten minutes in all; its status is kept for an hour.
POLLS = (1.0, 1.0, 2.0, 4.0, 8.0, *[15.0] * 39)

Asking = Generator[Request, Reply, None]


class Again(Request, frozen=True, dict=True):
    """About one of many, after refusals and no success since: refused too, the sender finds out whose fault it is."""


@dataclass
class User:
    """One user as it is to be written, and what became of that."""

    kind: str  # `external_id` or `email`
    value: str
    name: str = ""
    email: str = ""  # of one with an external id
    attributes: dict[str, Any] = field(default_factory=dict)  # others than these
    fields: dict[str, Any] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)  # as Zendesk shows it; {}: it is new there
    result: Outcome | None = None

    @property
    def id(self) -> str:
        return word(self.known, "id")

    @property
    def address(self) -> str:
        return self.value if self.kind == "email" else self.email

    def created(self) -> dict[str, Any]:
        return {**self._written(), "name": self.name, self.kind: self.value}

    def updated(self) -> dict[str, Any]:
        """Without its name: it has one, which may have been put right in Zendesk."""
        found_by_address = self.kind == "external_id" and not word(self.known, "external_id")
        return {**self._written(), **({self.kind: self.value} if found_by_address else {})}

    def _written(self) -> dict[str, Any]:
        address = {"email": self.email} if self.email else {}
        return {**self.attributes, **address, "skip_verify_email": True, "user_fields": self.fields}


class Users:
    """The users of one account."""

    def __init__(self, ask: Ask, bulk: bool) -> None:
        """`bulk`: Zendesk allows bulk imports."""
        self._ask, self._bulk = ask, bulk
        self._many = True  # until Zendesk says no to `update_many`: whether it takes a permission is not documented

    # -- who is known
    def find(self, users: Sequence[User]) -> Asking:
        """Set `known`. A user for whom Zendesk refuses the question gets a `result`."""
        external = [user for user in users if user.kind == "external_id"]
        listed = {user.value: user for user in external if "," not in user.value}
        for values in portions(listed, len(",")):
            yield from self._look(by_external_ids(*values), [listed[value] for value in values])
        for user in external:
            if "," in user.value:
                yield from self._look(by_external_ids(user.value), [user])
        # Search finds whoever has one of the addresses, some minutes after it was made (that it is "one of" is unsure:
        # if it is "all of", nobody is found, and users known by their address alone keep getting our name).
        left: dict[str, list[User]] = {}
        for user in users:
            if not (user.known or user.result) and user.address and '"' not in user.address:
                left.setdefault(user.address, []).append(user)
        for addresses in portions(left, len("email%3A%22%22+")):
            yield from self._look(by_email(*addresses), [user for address in addresses for user in left[address]])

    def _look(self, path: str, users: Sequence[User]) -> Asking:
        reply = yield self._ask("GET", path)
        if not reply.ok and not not_found(reply):
            for user in users:
                user.result = outcome(reply)
        there = [user for user in rows(reply.object, "users") if user.get("active") is not False and word(user, "id")]
        for user in users:
            user.known = next((each for each in there if _is(each, user)), {})

    # -- writing
    def write(self, users: Sequence[User]) -> Generator[Request, Reply, list[dict[str, Any]]]:
        """Set `result` of all of them; some of them as Zendesk shows them when they are written, if any are new."""
        shown: list[dict[str, Any]] = []
        users = [user for user in users if user.result is None]
        known, new = [user for user in users if user.known], [user for user in users if not user.known]
        if self._many:
            one_each: dict[str, User] = {}  # two identifiers may be one user's
            for user in known:
                one_each.setdefault(user.id, user)
            yield from self._job("PUT", UPDATE_MANY, list(one_each.values()))
        if self._bulk:
            made = yield from self._job("POST", CREATE_MANY, new)
            if made and not known:
                reply = yield self._ask("GET", f"/api/v2/users/{quote(made, safe='')}")
                shown.append(part(reply.object, "user"))
        shown += yield from self._one_by_one([user for user in users if user.result is None])
        return shown

    def _one_by_one(self, users: Sequence[User]) -> Generator[Request, Reply, list[dict[str, Any]]]:
        """Write users alone. Those whom Zendesk does not let us write are to blame if it takes somebody after them."""
        shown: list[dict[str, Any]] = []
        suspects: list[tuple[User, Reply]] = []
        for user in users:
            request = self._alone(user)
            reply = yield request if len(suspects) < SUSPECTS else Again(**asdict(request))
            if reply.status == 403:
                suspects.append((user, reply))
                continue
            user.result = Later(retry_after(reply), reply.words()) if reply.status == 429 else outcome(reply)
            shown.append(part(reply.object, "user"))
            while reply.ok and suspects:
                other, refusal = suspects.pop()
                other.result = outcome(refusal)
        for user, _ in suspects:
            reply = yield Again(**asdict(self._alone(user)))
            user.result = outcome(reply)
        return shown

    def _alone(self, user: User) -> Request:
        if user.known:
            return self._ask("PUT", f"/api/v2/users/{quote(user.id, safe='')}", json={"user": user.updated()})
        return self._ask("POST", USERS, json={"user": user.created()})

    def _job(self, method: str, path: str, users: Sequence[User]) -> Generator[Request, Reply, str]:
        """Write users by a job, wait for it, and set the `result` of those it tells of; the id of one who was taken.

        Of a job that does not come to its end, the others are told later.
        """
        if len(users) <= FEW:
            return ""
        many = [{"id": user.known["id"], **user.updated()} if user.known else user.created() for user in users]
        reply = yield self._ask(method, path, json={"users": many})
        if reply.status == 403:
            self._many = False
            return ""
        job = part(reply.object, "job_status")
        for after in POLLS:
            number = word(job, "id")
            if not number or job.get("status") not in ("queued", "working"):
                break
            reply = yield self._ask("GET", f"/api/v2/job_statuses/{quote(number, safe='')}", after=after)
            job = part(reply.object, "job_status")
        told = by_user(rows(job, "results"), users)
        for n, row in told.items():
            users[n].result = row_outcome(row)
        if job.get("status") != "completed":
            ending = f"Zendesk's job is {word(job, 'status') or 'lost'}: {word(job, 'message') or 'no message'}"
            for user in users:
                user.result = user.result or Later(words=ending)
        return next((word(row, "id") for n, row in told.items() if isinstance(users[n].result, Delivered)), "")


# -- the rows of a job
def by_user(rows: Sequence[Mapping[str, Any]], users: Sequence[User]) -> dict[int, Mapping[str, Any]]:
    """The row of each user, by position; none where a row does not name its user, or two rows name one."""
    owners: dict[tuple[str, str], set[int]] = {}
    for n, user in enumerate(users):
        for name in _names(user):
            owners.setdefault(name, set()).add(n)
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        named = [owners.get(name, set()) for name in _named(row)]
        mine = {n for each in named for n in each if len(each) == 1}
        if len(mine) == 1:
            found.setdefault(mine.pop(), []).append(row)
    return {n: about[0] for n, about in found.items() if len(about) == 1}


def _names(user: User) -> Iterator[tuple[str, str]]:
    """What a row may call a user."""
    yield user.kind, user.value.lower()
    if user.email:
        yield "email", user.email.lower()
    if user.known:
        yield "id", user.id
        yield from _named(user.known)


def _named(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((name, word(row, name).lower()) for name in ("external_id", "email", "id") if word(row, name))


def row_outcome(row: Mapping[str, Any]) -> Delivered | Rejected:
    """The outcome of one row of a job."""
    if row.get("success", True) and not row.get("error") and word(row, "status").lower() != "failed":
        return Delivered()
    words = " ".join(str(row[key]) for key in ("error", "details") if row.get(key))
    return Rejected(reason(words), words)


# -- questions
def by_external_ids(*values: str) -> str:
    """One with a comma alone."""
    if "," in values[0]:
        return f"{SEARCH}?external_id={quote_plus(values[0])}"
    return f"{SHOW_MANY}?external_ids={quote(','.join(values), safe=',')}"


def by_email(*addresses: str) -> str:
    query = " ".join(f'email:"{address}"' for address in addresses)
    return f"{SEARCH}?query={quote_plus(query)}"


def portions(texts: Iterable[str], around: int) -> Iterator[list[str]]:
    """As many as one question takes, with so many letters around each."""
    portion: list[str] = []
    length = 0
    for text in texts:
        more = len(quote(text, safe="")) + around
        if portion and (len(portion) == MOST or length + more > QUERY):
            yield portion
            portion, length = [], 0
        portion.append(text)
        length += more
    if portion:
        yield portion


def _is(shown: Mapping[str, Any], user: User) -> bool:
    """Whether a user that Zendesk shows is this one: by external id, or by address if nobody else has claimed that."""
    external, email = word(shown, "external_id").lower(), word(shown, "email").lower()
    if user.kind == "external_id" and external:
        return external == user.value.lower()
    return bool(email) and email == user.address.lower()


# -- replies
def outcome(reply: Reply) -> Delivered | Rejected:
    """The outcome of a request about one user."""
    return Delivered() if reply.ok else refused(reply, reason(reply.words()) if reply.status == 422 else None)


def not_found(reply: Reply) -> bool:
    """Whether Zendesk says that it has no such user, or job; a page of somebody else's is no such word."""
    return reply.status == 404 and word(reply.object, "error") == "RecordNotFound"


def of_one_user(reply: Reply) -> bool:
    """Whether it is not the account's quota that is used up: that one user was changed too often."""
    left = [reply.headers.get(name, "0") for name in ("x-rate-limit-remaining", "ratelimit-remaining")]
    return "single unique user" in reply.words() or any(number != "0" for number in left)


def reason(words: str) -> Reason:
    """Why a user was refused: the vendor says it in words and in the names of fields."""
    text = words.lower()
    if "duplicatevalue" in text or "already" in text:
        return "conflict"
    if "suspended" in text or "permission" in text:
        return "forbidden"
    if "email" in text or "external" in text:
        return "invalid_identifier"
    return "invalid_value"
