"""The sandbox itself: finds the vendor, keeps its cap, applies faults, answers; and the control API."""

import asyncio
import re
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from sandbox.faults import EVERY, Cut, Fault, Faults, failure
from sandbox.meter import Meter, Window
from sandbox.record import Recording
from sandbox.vendor import JSON_TYPE, Answer, Cap, Request, Vendor
from sandbox.vendors import all_vendors, serving

CONTROL = "/_sandbox/"
HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*(:\d+)?", re.IGNORECASE)
MAX_BODY = 64 * 1024 * 1024
BIG = 32 * 1024  # bytes: handled beside the loop, which would otherwise see the next arrivals late


@dataclass
class Options:
    """How the sandbox behaves. All are optional."""

    record: Path | None = None
    caps: Mapping[str, Cap] = field(default_factory=dict)  # by slug, instead of the vendor's own cap of all requests
    capped: bool = True  # False: no vendor has a cap
    credentials: Mapping[str, set[str]] = field(default_factory=dict)  # by host or slug; else any well formed
    connections: Mapping[str, str] = field(default_factory=dict)  # host to the name that recordings show
    secrets: Collection[str] = ()  # that recordings must not show
    clock: Callable[[], float] = time.monotonic
    epoch: float | None = None  # seconds since 1970 when the clock was zero; None: by the machine's time of day


class Account:
    """One account at one vendor, with its caps and its meter."""

    def __init__(self, vendor: Vendor, host: str, connection: str, caps: list[Cap]) -> None:
        self.vendor = vendor
        self.host = host
        self.connection = connection
        self.meter = Meter()
        self._windows = [Window(cap) for cap in caps]

    def limit(self, request: Request, now: float) -> tuple[Answer | None, dict[str, str]]:
        """Take the request from the caps it counts for: a 429 where one is reached, else the quota headers."""
        endpoint = self.vendor.endpoint(request)
        counting = [w for w in self._windows if w.cap.counts(endpoint)]
        waits = [(w.wait(now), w.cap) for w in counting]
        longest = max(waits, key=lambda wait: wait[0], default=(0.0, None))
        if longest[1] and longest[0] > 0:
            return self.vendor.throttled(longest[1], longest[0], request.at), {}
        remaining = [(w.take(now), w.cap) for w in counting]
        return None, self.vendor.quota(remaining[0][1], remaining[0][0], request.at) if remaining else {}

    def shown(self) -> dict[str, Any]:
        meter = self.meter
        return {
            "destination": self.vendor.slug,
            "connection": self.connection,
            "host": self.host,
            "requests": meter.requests,
            "statuses": {str(status): count for status, count in sorted(meter.statuses.items())},
            "throttled": meter.throttled,
            "peaks": meter.peaks(),
            "first": meter.first,
            "last": meter.last,
            "told": self.vendor.counts(),
        }


@dataclass(frozen=True)
class Admitted:
    """A request that was counted: whose it is, its quota headers, and the refusal of credentials or cap."""

    account: Account
    quota: dict[str, str]
    refusal: Answer | None


class Sandbox:
    """All accounts. `admit` counts a request, `handle` decides its answer, both without waiting."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.faults = Faults(self.options.clock)
        self._accounts: dict[tuple[str, str], Account] = {}  # by host and what tells accounts apart
        self._recording = Recording(self.options.record, self.options.secrets) if self.options.record else None
        # One clock for everything: times of day move with the monotonic clock.
        epoch = self.options.epoch
        self._epoch = time.time() - self.options.clock() if epoch is None else epoch

    def now(self) -> float:
        """Unix seconds."""
        return self._epoch + self.options.clock()

    def time_at(self, host: str) -> float:
        """Unix seconds by the clock of the vendor at this host."""
        fault = self.faults.of(serving(host).slug)
        return self.now() + (fault.skew if fault else 0.0)

    def admit(self, request: Request, now: float) -> "Admitted":
        """Count a request as it arrives (`now` on the sandbox's clock), and refuse it where a cap is reached."""
        account = self._account(request)
        account.meter.arrive(now, request.at)
        slug = account.vendor.slug
        throttled, quota = account.limit(request, now)
        if not account.vendor.authorized(request, self._secrets(request.host, slug)):
            return Admitted(account, quota, account.vendor.unauthorized())
        account.meter.throttled += throttled is not None
        return Admitted(account, quota, throttled)

    def handle(self, request: Request, admitted: "Admitted") -> tuple[Answer, Cut, float]:
        """The answer, how it is cut off, and how many seconds it takes."""
        account, answer = admitted.account, admitted.refusal
        vendor, slug = account.vendor, account.vendor.slug
        fault = self.faults.of(slug)
        cut: Cut = ""
        if answer is None and fault:
            answer = self._failing(vendor, fault, request)
        if answer is None and fault and (cut := self.faults.cut(slug, fault)) == "hang":
            answer = Answer(0)
        if answer is None:
            answer = vendor.respond(request)
            answer = self.faults.garbled(slug, fault, answer) if fault else answer
        account.meter.statuses[answer.status] += 1
        if self._recording:
            self._recording.add(request, account.connection, slug, answer.status)
        date = {"Date": formatdate(request.at, usegmt=True)} if fault and fault.skew else {}
        answer = replace(answer, headers={**admitted.quota, **answer.headers, **date})
        return answer, cut, fault.latency if fault else 0.0

    def _failing(self, vendor: Vendor, fault: Fault, request: Request) -> Answer | None:
        """The answer to a request that is not handled because of a fault."""
        if self.faults.expired(vendor.slug, fault, vendor.credential(request)):
            return vendor.unauthorized()
        return failure(vendor, fault, request.at) if self.faults.fails(vendor.slug, fault) else None

    def _account(self, request: Request) -> Account:
        kind = serving(request.host)
        key = request.host, kind.account(request)
        if key not in self._accounts:
            vendor = kind(partial(self.faults.refuses, kind.slug))
            name = self.options.connections.get(request.host, kind.slug)
            self._accounts[key] = Account(vendor, request.host, name, self._caps(kind))
        return self._accounts[key]

    def _secrets(self, host: str, slug: str) -> set[str]:
        known = self.options.credentials
        return known.get(host, known.get(slug, set()))

    def _caps(self, kind: type[Vendor]) -> list[Cap]:
        if not self.options.capped:
            return []
        own = self.options.caps.get(kind.slug)
        return ([own] if own else [cap for cap in kind.caps if not cap.endpoint]) + [c for c in kind.caps if c.endpoint]

    # -- control
    def stats(self) -> list[dict[str, Any]]:
        """One entry per account, in order of destination and host."""
        accounts = sorted(self._accounts.values(), key=lambda a: (a.vendor.slug, a.host))
        return [account.shown() for account in accounts]

    def told(self, destination: str | None = None, identifier: str | None = None) -> list[dict[str, Any]]:
        """What each account was told, of everybody or of one identifier."""
        return [
            {
                "destination": account.vendor.slug,
                "connection": account.connection,
                "host": account.host,
                **account.vendor.told(identifier, self.time_at(account.host)),
            }
            for account in self._accounts.values()
            if destination in (None, account.vendor.slug)
        ]

    def reset(self) -> None:
        """Forget everything but how it was started: accounts, counts and faults."""
        self._accounts.clear()
        self.faults.clear()

    def close(self) -> None:
        if self._recording:
            self._recording.close()


def make_app(sandbox: Sandbox) -> web.Application:
    """The HTTP side. `/<vendor host>/<path>` is a vendor's, `/_sandbox/…` the control API:

    GET stats; GET told, with `destination` and `identifier`; GET faults; POST faults, a `Fault` that
    takes the place of the destination's earlier one; DELETE faults, all or with `destination`; POST reset.
    """
    app = web.Application(client_max_size=MAX_BODY)
    closing = asyncio.Event()
    worker = ThreadPoolExecutor(1, "sandbox")

    async def close(_: web.Application) -> None:
        closing.set()
        worker.shutdown()

    async def vendor(http: web.Request) -> web.StreamResponse:
        host, _, target = http.raw_path[1:].partition("/")
        if not HOST.fullmatch(host):
            words = "expected /<vendor host>/<path>, as `--gateway` sends it, or /_sandbox/told, stats, faults, reset"
            return _json({"error": words}, 404)
        arrived, at = sandbox.options.clock(), sandbox.time_at(host.lower())
        headers = {name.lower(): value for name, value in http.headers.items()} | {"host": host.lower()}
        body = await http.read()
        request = Request(http.method, host.lower(), "/" + target, headers, body, at)
        admitted = sandbox.admit(request, arrived)
        if len(body) < BIG:
            answer, cut, latency = sandbox.handle(request, admitted)
        else:
            answer, cut, latency = await asyncio.get_running_loop().run_in_executor(
                worker, sandbox.handle, request, admitted
            )
        if latency:
            await _wait(closing, latency)
        if cut:
            return await _cut(http, answer, closing if cut == "hang" else None)
        return web.Response(
            status=answer.status, body=answer.body(), headers=answer.headers, content_type=_content_type(answer)
        )

    app.on_shutdown.append(close)
    app.router.add_get(CONTROL + "stats", partial(_stats, sandbox))
    app.router.add_get(CONTROL + "told", partial(_told, sandbox))
    app.router.add_get(CONTROL + "faults", partial(_faults, sandbox))
    app.router.add_post(CONTROL + "faults", partial(_put_fault, sandbox))
    app.router.add_delete(CONTROL + "faults", partial(_end_faults, sandbox))
    app.router.add_post(CONTROL + "reset", partial(_reset, sandbox))
    app.router.add_route("*", "/{everything:.*}", vendor)
    return app


def _content_type(answer: Answer) -> str | None:
    return None if answer.json is None else JSON_TYPE


async def _wait(closing: asyncio.Event, seconds: float | None) -> None:
    """Wait, but not longer than the sandbox lives."""
    with suppress(TimeoutError):
        await asyncio.wait_for(closing.wait(), seconds)


async def _cut(http: web.Request, answer: Answer, silent_until: asyncio.Event | None) -> web.StreamResponse:
    """Break the connection: after half of the answer, or after silence."""
    body = answer.body() or b"{}"
    response = web.StreamResponse(status=answer.status or 200, headers={"Content-Length": str(len(body))})
    if silent_until:
        await _wait(silent_until, None)
    else:
        await response.prepare(http)
        await response.write(body[: len(body) // 2])
    if http.transport:
        http.transport.abort()
    return response


async def _stats(sandbox: Sandbox, _: web.Request) -> web.Response:
    return _json(sandbox.stats())


async def _told(sandbox: Sandbox, http: web.Request) -> web.Response:
    return _json(sandbox.told(http.query.get("destination"), http.query.get("identifier")))


async def _faults(sandbox: Sandbox, _: web.Request) -> web.Response:
    return _json(sandbox.faults.all())


async def _put_fault(sandbox: Sandbox, http: web.Request) -> web.Response:
    try:
        fault = msgspec.json.decode(await http.read(), type=Fault)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        return _json({"error": f"{wrong}; fields are {', '.join(Fault.__struct_fields__)}"}, 400)
    if fault.destination not in (EVERY, *all_vendors()):
        return _no_destination()
    sandbox.faults.put(fault)
    return _json(fault)


async def _end_faults(sandbox: Sandbox, http: web.Request) -> web.Response:
    destination = http.query.get("destination")
    if destination is None:
        sandbox.faults.clear()
    elif destination in (EVERY, *all_vendors()):
        sandbox.faults.end(destination)
    else:
        return _no_destination()
    return _json(sandbox.faults.all())


def _no_destination() -> web.Response:
    return _json({"error": f"no such destination; there are {EVERY}, {', '.join(all_vendors())}"}, 400)


async def _reset(sandbox: Sandbox, _: web.Request) -> web.Response:
    sandbox.reset()
    return _json({})


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type=JSON_TYPE)
