"""What a vendor heard of a streaming job, and what was promised of it: caps, order, repeats."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.pipeline.running import Event, Message

Occurrence = tuple[str, bool, str]  # identifier, whether it entered, when


class Heard(NamedTuple):
    """One request."""

    at: float  # when this machine took it in, seconds since 1970
    host: str
    message: Message
    status: int  # that was answered


def identifier_of(message: Message) -> str:
    traits = message.get("traits") or message["context"].get("traits") or {}
    found: str = message.get("userId") or traits.get("email") or ""
    return found


def gone_back(heard: Sequence[Heard], began_again: str) -> list[str]:
    """What was told behind something newer, and is no repeat. A repeat has the message id of what was told before.

    `began_again`: when a job began again at a checkpoint, as events say it; "": none did. What was written before it
    the job may have asked anew: an older value too, and one that had given way to a newer one before it was told.
    """
    newest: dict[tuple[str, str, str, str], str] = {}
    known: set[str] = set()
    found = []
    for each in sorted(heard, key=lambda each: each.at):
        message = each.message
        if message["type"] in ("identify", "track"):
            key = message["context"]["personas"]["computation_key"]
            place = each.host, identifier_of(message), message["type"], key
            repeat = message["messageId"] in known or message["timestamp"] < began_again
            if message["timestamp"] < newest.get(place, "") and not repeat:
                found.append(f"{place}: {message['timestamp']} behind {newest[place]}")
            newest[place] = max(newest.get(place, ""), message["timestamp"])
        known.add(message["messageId"])
    return found


def said(message: Message) -> str:
    """What it tells; the same where a job asks it anew, which gives it another message id."""
    return json.dumps({name: each for name, each in message.items() if name != "messageId"}, sort_keys=True)


def again(heard: Iterable[Heard]) -> int:
    """How many tell what was told before."""
    return sum(times - 1 for times in Counter((each.host, said(each.message)) for each in heard).values())


def occurrences(heard: Iterable[Heard]) -> set[Occurrence]:
    tracks = [each.message for each in heard if each.message["type"] == "track"]
    return {(identifier_of(each), each["properties"]["vip"], each["timestamp"]) for each in tracks}


def wanted_occurrences(events: Iterable[Event], ids: dict[str, set[str]]) -> set[Occurrence]:
    """Each time that somebody entered or left, for each identifier: the slow obvious way. Nobody begins inside."""
    inside: dict[str, bool] = {}
    found: set[Occurrence] = set()
    for event in sorted((each for each in events if each["type"] == "audience"), key=lambda each: str(each["at"])):
        who, member = event["profile_id"], event["member"]
        if member != inside.get(who, False):
            when = f"{event['at'][:23]}Z"  # messages have milliseconds
            found |= {(identifier, member, when) for identifier in ids.get(who, ())}
        inside[who] = member
    return found
