"""Samples: calls as a vendor would get them, without sending anything."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

import msgspec
from msgspec import Struct

from schemas.calls import Call
from schemas.dead_letters import STARS, texts_of, without
from transforms.destinations.contract import Destination
from transforms.destinations.http import Request
from transforms.sending.signing import Signing
from transforms.sending.words import Mask

_LONG = 4  # characters: a shorter text is a part of many words
_HASH = re.compile(r"[0-9a-fA-F]{64}")  # of an address, as lists take them


class Sample(Struct, frozen=True, kw_only=True):
    """One call alone in a request: batches are made when they are sent."""

    connection: str
    kind: str
    key: str
    request: str = ""  # `POST https://…`
    body: str = ""
    words: str = ""  # why no request is shown


def samples(calls: Iterable[tuple[str, Call]], destinations: dict[str, Destination], people: bool) -> Iterator[Sample]:
    """`people`: with what is personal; without, it is stars."""
    for name, call in calls:
        if destination := destinations.get(name):
            yield _sample(name, call, destination, people)


def _sample(name: str, call: Call, destination: Destination, people: bool) -> Sample:
    def shown(text: str, hide: Callable[[str, Any], str]) -> str:
        return text if people else hide(text, [call.identifier.id, call.profile_id, call.value, call.traits])

    if refused := destination.check(call):
        words = f"it would be rejected without a request, {refused.reason}: {refused.words}"
        return Sample(connection=name, kind=call.kind, key=call.key, words=words)
    try:
        request, masked = _request(destination, call)
    except Exception as error:  # a module of its own, which may need an answer of its vendor first
        words = f"its request depends on what the vendor answers ({type(error).__name__})"
        return Sample(connection=name, kind=call.kind, key=call.key, words=words)
    body = masked((request.body() or b"").decode("utf-8", "backslashreplace"))
    return Sample(
        connection=name,
        kind=call.kind,
        key=call.key,
        request=f"{request.method} {shown(masked(request.full_url), without)}",
        body=shown(_plain(body), _without_people),
    )


def _without_people(body: str, personal: Any) -> str:
    """In JSON whole values go, so that ids and times of ours stay readable."""
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return without(body, personal)
    texts = {text for text in texts_of(personal) if text}
    return _plain(msgspec.json.encode(_starred(value, texts)).decode())


def _starred(value: Any, texts: Set[str]) -> Any:
    match value:
        case dict():
            return {name: _starred(each, texts) for name, each in value.items()}
        case list():
            return [_starred(each, texts) for each in value]
        case None | bool():
            return value
    spelled = str(value)
    personal = spelled in texts or any(len(text) >= _LONG and text in spelled for text in texts)
    return STARS if personal or _HASH.fullmatch(spelled) else value


def _request(destination: Destination, call: Call) -> tuple[Request, Mask]:
    """The first request of the call's conversation, and what takes its credentials out."""
    talk = destination.forget if call.kind == "delete" else destination.deliver
    signing = Signing(destination, None, time.time)
    request, mask = next(talk([call])), Mask(signing)
    return request, mask


def _plain(body: str) -> str:
    """JSON with one field a line; other bodies as they are."""
    try:
        value: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
