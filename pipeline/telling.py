"""Telling somebody of a trouble: a message, and the ways of `on_trouble` that it goes. Without secrets, and people."""

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping

import msgspec
import requests
from msgspec import Struct

from pipeline.moments import rfc3339
from pipeline.trouble_reader import address_of, way_of
from schemas.workspace import OnTrouble
from transforms.logic.alerts import SERVICE, SOURCE, News

_PATIENCE = 10.0  # seconds
_PAUSES = (5.0, 30.0)  # seconds between tries
_MOST = 1_000  # messages that wait
_AT_THE_END = 20.0  # seconds that a run waits for its message to be taken


class Message(Struct, omit_defaults=True):
    """What is told: an object for webhooks and commands, its words for Slack."""

    workspace: str
    event: str  # `trouble`, `over`, `run`, `test`
    at: str
    words: str
    connection: str = ""  # without this and `source`: it is about the service
    source: str = ""
    kind: str = ""
    since: str = ""
    waiting: int = 0
    exit_code: int = 0


_IS = {
    "late": "is late",
    "refusing": "refuses what it is told",
    "state": "cannot use its state",
    "unread": "is not read",
}


def message_of(workspace: str, news: News, now: float) -> Message:
    """`now`: seconds since 1970."""
    who = "the service" if news.connection == SERVICE else news.connection
    took = _lasting(now - news.since)
    if news.over:
        words = f"{workspace}: {who} is well again, after {took} ({news.kind})."
    else:
        waiting = f"; {news.waiting:,} calls wait" if news.waiting else ""
        is_so = _IS.get(news.kind, f"is {news.kind}")
        words = f"{workspace}: {who} {is_so} since {took} ago{waiting}. Its status and its log say why."
    event = "over" if news.over else "trouble"
    of_source = news.connection.startswith(SOURCE)
    return Message(
        workspace,
        event,
        at=rfc3339(now),
        words=words,
        connection="" if of_source else news.connection,
        source=news.connection.removeprefix(SOURCE) if of_source else "",
        kind=news.kind,
        since=rfc3339(news.since),
        waiting=news.waiting,
    )


def of_a_run(workspace: str, code: int) -> Message:
    """A run that ended with this exit code, 2 or 3."""
    why = {
        2: "more calls were rejected, or more records unusable, than is allowed",
        3: "it needs a person",
    }[code]
    words = f"{workspace}: a run ended with {code}: {why}. Its last lines say more."
    return Message(workspace, "run", rfc3339(time.time()), words, exit_code=code)


def on_trial(workspace: str) -> Message:
    return Message(workspace, "test", rfc3339(time.time()), f"{workspace}: a message on trial; nothing is wrong.")


def _lasting(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} seconds"
    return f"{minutes} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"


def tell(item: OnTrouble, message: Message, environment: Mapping[str, str] = os.environ) -> str:
    """Tell it once. Why it was not taken, without a secret; "": it was."""
    try:
        if item.command:
            return _run(item.command, msgspec.json.encode(message))
        body = {"text": message.words} if item.slack else msgspec.to_builtins(message)
        return _post(address_of(item, environment), body)
    except KeyError as error:
        return f"the environment variable {error.args[0]} is not set"


def _post(address: str, body: object) -> str:
    try:
        with requests.post(address, json=body, timeout=_PATIENCE, allow_redirects=False, stream=True) as answer:
            return "" if 200 <= answer.status_code < 300 else f"it was answered with {answer.status_code}"
    except (requests.RequestException, ValueError) as error:  # their words have the address in them
        return f"it could not be sent ({type(error).__name__})"


def _run(command: tuple[str, ...], given: bytes) -> str:
    try:
        nothing = subprocess.DEVNULL
        done = subprocess.run(command, input=given, stdout=nothing, stderr=nothing, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end within {_PATIENCE:.0f} s"
    except OSError as error:
        return f"{command[0]} cannot be started: {error.strerror}"
    return f"{command[0]} ended with {done.returncode}" if done.returncode else ""


class Teller:
    """Tells one item of `on_trouble`, in order, on a thread of its own: who gives it a message never waits."""

    def __init__(self, item: OnTrouble, failed: Callable[[str], None], pauses: tuple[float, ...] = _PAUSES) -> None:
        """`failed` hears why a message was not taken, after the last try."""
        self._item, self._failed, self._pauses = item, failed, pauses
        self._messages: queue.Queue[Message] = queue.Queue(_MOST)
        self._thread: threading.Thread | None = None

    def give(self, message: Message) -> None:
        """To be told soon. What is too much is not told, and that is said."""
        try:
            self._messages.put_nowait(message)
        except queue.Full:
            self._failed("too many messages wait")
            return
        if self._thread is None:  # not sooner: the service forks before it has threads
            self._thread = threading.Thread(target=self._tell_all, name="alerts", daemon=True)
            self._thread.start()

    def _tell_all(self) -> None:
        while True:
            tell_patiently(self._item, self._messages.get(), self._failed, self._pauses)


def tell_patiently(
    item: OnTrouble, message: Message, failed: Callable[[str], None], pauses: tuple[float, ...] = _PAUSES
) -> None:
    """Tell it, and again after each pause until it is taken."""
    for pause in (*pauses, None):
        why = tell(item, message)
        if not why:
            return
        if pause is not None:
            time.sleep(pause)
    failed(f"{way_of(item)}: {why}")


def tell_at_the_end(
    items: tuple[OnTrouble, ...], message: Message, failed: Callable[[str], None], patience: float = _AT_THE_END
) -> None:
    """Tell everybody, for a process that ends then; it waits so many seconds."""
    given = [(each, message, failed, (1.0, 2.0)) for each in items]
    threads = [threading.Thread(target=tell_patiently, args=each, daemon=True) for each in given]
    until = time.monotonic() + patience
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        failed("it is not taken in time")
