"""What the sandbox learns from a workspace: at which hosts its connections are, and with which secrets."""

from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from urllib.parse import urlsplit

from sandbox.vendor import Request
from sandbox.vendors import serving
from schemas.calls import Call, Identifier
from schemas.secret import secrets_in
from schemas.workspace import Connection, Sync, Workspace
from transforms.destinations import catalogue
from transforms.destinations.auth import NO_SESSION
from transforms.destinations.contract import Destination, headers, target_of
from transforms.logic.plan import ACCOUNT


def accounts(workspace: Workspace) -> tuple[dict[str, str], dict[str, set[str]]]:
    """By host: the name of the connection (or names, of several), and the secrets that are right there.

    Raises MissingSecret.
    """
    names: dict[str, list[str]] = {}
    secrets: dict[str, set[str]] = {}
    for connection, request in _first_requests(workspace):
        names.setdefault(request.host, []).append(connection.name)
        secret = serving(request.host).secret(request, connection.settings)
        secrets.setdefault(request.host, set()).update([secret] if secret else [])
    return {host: " or ".join(found) for host, found in names.items()}, secrets


def secrets_of(workspace: Workspace) -> set[str]:
    """The values of all secrets in it. Raises MissingSecret."""
    return {secret.reveal() for connection in workspace.connections for secret in secrets_in(connection.settings)}


def _first_requests(workspace: Workspace) -> Iterator[tuple[Connection, Request]]:
    """Each connection's first request about anybody, as it would arrive; one without syncs makes none."""
    for connection in workspace.connections:
        if connection.syncs:
            destination = catalogue()[connection.destination](workspace, connection)
            yield connection, _first_request(destination, _anybody(destination, connection.syncs[0]))


def _first_request(destination: Destination, call: Call) -> Request:
    auth, settings = destination.auth, destination.settings
    with closing(destination.prepare({target_of(call): call})) as before, closing(destination.deliver([call])) as then:
        if auth.signs_in:
            asked = next(auth.sign_in(settings, "", 0.0))
            carried = asked.all_headers
        else:
            asked = auth.complete(next(chain(before, then)), settings, NO_SESSION)
            carried = headers(destination, asked)
    url = urlsplit(asked.full_url)
    target = f"{url.path}?{url.query}" if url.query else url.path
    return Request(asked.method, url.netloc.lower(), target, carried, asked.body() or b"", 0.0)


def _anybody(destination: Destination, sync: Sync) -> Call:
    form = (sync.forms or destination.forms)[0]
    understood = ACCOUNT if form == "group" else destination.identifiers[0]
    identifier = Identifier("user_id" if understood == "*" else understood, "anybody@example.com")
    known = dict.fromkeys(destination.required, "Anybody")
    value = {"anybody": True} if form == "member" else True
    key, name = sync.send_as or sync.computation, sync.name or sync.computation
    return Call(
        "anybody", "add" if form == "list" else form, identifier, key, value, 0, 1,
        computation=sync.computation, sync=name, traits=known,
    )  # fmt: skip
