"""Plain destinations: one request per call, or per batch, and an answer that says how it went.

    class Acme(Plain):
        slug, name, page = "acme", "Acme", "https://acme.example/docs"
        base = "https://{region}.acme.example/v1"           # `{region}`: a setting
        names = {"user_id": "id", "email": "email"}         # identifiers, in order of precedence, as Acme calls them
        auth = Bearer("{api_key}")

        class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
            region: str
            api_key: Secret

        def identify(self, person: Item) -> Request:
            return self.post("/people", {**person.ids, "fields": person.traits})

        def track(self, event: Item) -> Request:
            return self.post("/events", {**event.ids, "name": event.event, "data": event.properties})

        def group(self, account: Item) -> Request:
            return self.post("/companies", {"id": account.account, "fields": account.traits})

A form without a method is one that the vendor does not take: `identify`, `track`, `group`, `add` and `remove` (a
list), `delete`. Where `batch` has room for several, each method is given a list of items, for one request about all of
them; `read` then says what became of each.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from transforms.destinations.auth import filled
from transforms.destinations.contract import (
    Batch,
    Call,
    Conversation,
    Delivered,
    Destination,
    Form,
    Limit,
    Outcome,
    Reply,
    Request,
    form_of,
    refused,
    timestamp,
    units,
)


class Item(Struct, frozen=True):
    """What one object of a request is about: an identifier of a person, or an account, and what is told of it."""

    ids: Mapping[str, str]  # the identifier and those that are attached, by the vendor's names
    key: str  # of the sync; of several calls, of the first
    value: Any
    traits: Mapping[str, Any]  # of `identify` and `group`: keys, and what enriches them, by the vendor's names
    event: str  # of `track`: its name
    properties: Mapping[str, Any]  # of `track`
    at: int  # microseconds since 1970
    message_id: str
    call: Call  # it; of several, the first: for vendors that take the neutral message

    @property
    def account(self) -> str:
        """The account's id, of `group`."""
        return self.call.identifier.id

    @property
    def time(self) -> str:
        """ISO 8601, UTC, with milliseconds."""
        return timestamp(self.at)

    @property
    def seconds(self) -> int:
        """Seconds since 1970."""
        return self.at // 1_000_000


# For `names`, where every type of identifier is understood and none has another name at the vendor.
ANY: Mapping[str, str] = {"*": "*"}


def text(value: Any) -> str:
    """A value for vendors that take texts only: all that is none as JSON, nothing as ""."""
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.encode(value).decode()


def flat(value: Any) -> str | int | float:
    """A value for vendors that take texts and numbers only."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text(value)


_METHODS: Mapping[str, Form] = {
    "identify": "identify", "track": "track", "add": "list", "remove": "list", "group": "group", "member": "member",
}  # fmt: skip


class Plain(Destination):
    """A destination whose methods make requests, as this module's head shows."""

    base: ClassVar[str] = ""  # ahead of every path
    names: ClassVar[Mapping[str, str]]  # identifiers by type, in order of precedence, as the vendor calls them
    limits: ClassVar[tuple[Limit, ...]] = ()

    def __init_subclass__(cls) -> None:
        if "names" in vars(cls):
            cls.identifiers = tuple(cls.names)
        cls.forms = tuple(dict.fromkeys(form for name, form in _METHODS.items() if hasattr(cls, name)))
        cls.forgets = hasattr(cls, "delete")
        if cls.forgets:
            cls.forget = cls.deliver  # type: ignore[assignment, method-assign]

    # -- for the methods

    def post(self, path: str, json: Any, **more: Any) -> Request:
        """A POST under `base`."""
        return self.ask("POST", path, json=json, **more)

    def ask(self, method: str, path: str, **more: Any) -> Request:
        return Request(method, filled(self.base, self.settings) + path, **more)

    def read(self, reply: Reply, items: Sequence[Item]) -> Outcome | Sequence[Outcome]:
        """What became of all items, or of each."""
        return Delivered(unconfirmed=self.counts_only) if reply.ok else refused(reply)

    # -- what the sender calls

    def batch_of(self, route: str) -> Batch:
        return Batch() if route == "delete" else self.batch

    def deliver(self, calls: Sequence[Call]) -> Conversation:
        places = list(units(self, calls).values())
        items = [self._item([calls[place] for place in each]) for each in places]
        make: Callable[[Any], Request] = getattr(self, calls[0].kind)
        alone = self.batch_of(self.route(calls[0])).items == 1
        reply = yield make(items[0] if alone else items)
        told = self.read(reply, items)
        each_told = told if isinstance(told, Sequence) else [told] * len(items)
        outcomes = {place: outcome for each, outcome in zip(places, each_told, strict=True) for place in each}
        return [outcomes[place] for place in range(len(calls))]

    def _item(self, calls: Sequence[Call]) -> Item:
        first = calls[0]
        kind, group = first.identifier.type, first.kind == "group"
        ids, traits = {} if group else {self.names.get(kind, kind): first.identifier.id}, dict[str, Any]()
        for call in calls:
            if group:
                traits |= {self.name_at_vendor("group", name): value for name, value in call.traits.items()}
                continue
            for name, value in call.traits.items():
                if name in self.names and isinstance(value, str):
                    ids.setdefault(self.names[name], value)
                else:
                    traits[self.trait_at_vendor(name)] = value
        if first.kind in ("identify", "group"):
            traits |= {self.name_at_vendor(form_of(first), call.key): call.value for call in calls}
        happened = first.kind == "track"
        return Item(
            ids=ids,
            key=first.key,
            value=first.value,
            traits=traits,
            event=self.event_at_vendor(self.event(first)) if happened else "",
            properties=self.properties(first) if happened else {},
            at=max(call.at for call in calls),
            message_id=self.message_id(first),
            call=first,
        )
