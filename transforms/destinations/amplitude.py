"""Amplitude: user properties by the Identify API, events by HTTP V2, which names those of a batch that are wrong."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from transforms.destinations.auth import Body
from transforms.destinations.contract import (
    Batch,
    Call,
    Delivered,
    Later,
    Outcome,
    Rejected,
    Reply,
    Request,
    Secret,
    Verdict,
    by_status,
    refused,
)
from transforms.destinations.plain import Item, Plain
from transforms.destinations.reading import items, part, word

# Identifiers that Amplitude refuses: what programs write where they know nobody.
NOBODY = {
    "anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown", "0", "-1", "true", "false", "[]", "{}",
    "lmy47d",
}  # fmt: skip
LONGEST = 1_024  # characters of a text; the rest is cut away
OPTIONS = {"min_id_length": 1}  # without it an identifier has to have five
BUSY = 30.0  # seconds for which a person who has had too many events is left alone


class Amplitude(Plain):
    slug = "amplitude"
    name = "Amplitude"
    page = "https://amplitude.com/docs/apis/analytics/http-v2"
    remark = "Amplitude shows new properties of a user with the user's next event."
    base = "https://{host}"
    names = {"user_id": "user_id", "anonymous_id": "device_id"}
    one_record = {"anonymous_id": "none"}
    auth = Body({"api_key": "{api_key}"})
    same_account = ("group_type",)
    batch = Batch(1_000, 900_000)  # 2,000 events and 1 MB; of identify the number is unsure: 1,024 of groups

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one project."""

        api_key: Annotated[Secret, Meta(description="API key of the project: Settings > Projects.")]
        host: Annotated[
            Literal["api2.amplitude.com", "api.eu.amplitude.com"],
            Meta(description="Where the project's data is: US or EU."),
        ] = "api2.amplitude.com"
        group_type: Annotated[
            str, Meta(pattern=r"^[A-Za-z0-9_ -]+\Z", description="Of accounts: their group type.")
        ] = "company"

    def check(self, call: Call) -> Rejected | None:
        if rejected := super().check(call):
            return rejected
        name = call.identifier.id.strip().lower()
        if call.kind != "group" and (name in NOBODY or not name.strip("0-")):
            return Rejected("invalid_identifier", "Amplitude takes this identifier for nobody's")
        if isinstance(call.value, str) and len(call.value) > LONGEST:
            return Rejected("too_large", f"Amplitude cuts texts after {LONGEST:,} characters")
        return None

    def identify(self, people: Sequence[Item]) -> Request:
        told = [{**person.ids, "user_properties": _changes(person.traits)} for person in people]
        form = {"identification": _json(told), "options": _json(OPTIONS)}
        return self.ask("POST", "/identify", form=form)

    def group(self, accounts: Sequence[Item]) -> Request:
        kind = self.settings.group_type
        told = [
            {"group_type": kind, "group_value": each.account, "group_properties": _changes(each.traits)}
            for each in accounts
        ]
        return self.ask("POST", "/groupidentify", form={"identification": _json(told)})

    def track(self, events: Sequence[Item]) -> Request:
        """Amplitude drops a second event of a person with the same `insert_id`, for seven days."""
        return self.post("/2/httpapi", {"events": [_event(event) for event in events], "options": OPTIONS})

    def read(self, reply: Reply, people: Sequence[Item]) -> Outcome | list[Outcome]:
        """One wrong event is enough for none to be stored: the others are sent again."""
        if reply.ok:
            return Delivered()
        wrong, busy = _wrong(reply), _busy(reply)
        if not wrong and not busy:
            return refused(reply, words=word(reply.object, "error"))
        again: Outcome = Later(words="another event of the same request was not taken")
        outcomes = [again] * len(people)
        for place in range(len(people)):
            if place in wrong:
                outcomes[place] = Rejected("invalid_value", wrong[place])
            elif place in busy:
                outcomes[place] = Later(BUSY, "Amplitude has had too many events of this person")
        return outcomes

    def classify(self, request: Request, reply: Reply, many: int) -> Verdict:
        if reply.status == 400 and "api key" in reply.words().lower().replace("_", " "):
            return Verdict("credentials", words=reply.words())
        known = range(many)
        if (reply.status == 400 and _wrong(reply).keys() & known) or (reply.status == 429 and _busy(reply) & {*known}):
            return Verdict("answered")
        return by_status(reply, many)


def _changes(traits: Any) -> dict[str, Any]:
    """Properties to set, and those to remove."""
    told = {name: value for name, value in traits.items() if value is not None}
    gone = {name: "-" for name, value in traits.items() if value is None}
    return {**({"$set": told} if told else {}), **({"$unset": gone} if gone else {})}


def _event(event: Item) -> dict[str, Any]:
    return {
        **event.ids,
        "event_type": event.event,
        "time": event.at // 1_000,
        "insert_id": event.message_id,
        "event_properties": event.properties,
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _wrong(reply: Reply) -> dict[int, str]:
    """What is wrong with events, by their place in the request."""
    found: dict[int, str] = {}
    for about in ("events_with_invalid_fields", "events_with_missing_fields", "events_with_invalid_id_lengths"):
        named = part(reply.object, about)
        for field in named:
            found |= dict.fromkeys(_places(items(named, field)), f"{about}: {field}")
    return found | dict.fromkeys(_places(items(reply.object, "silenced_events")), "silenced")


def _busy(reply: Reply) -> set[int]:
    """The events of people who have had too many, by their place; none where it is all of the project."""
    named = part(reply.object, "throttled_users") or part(reply.object, "throttled_devices")
    return set(_places(items(reply.object, "throttled_events"))) if named else set()


def _places(found: list[Any]) -> list[int]:
    return [place for place in found if isinstance(place, int) and not isinstance(place, bool)]
