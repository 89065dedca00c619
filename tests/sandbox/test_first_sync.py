"""First syncs through the sender: what some calls need, and those before them did not, was not gone at the vendor."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sandbox.examples import AUDIENCE, TRAIT, connected, environment
from sandbox.testing import running_sandbox
from schemas.calls import Call, Identifier
from tests.sending.delivering import FAST, delivery_of
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination
from transforms.sending.pump import Pump

OWN = Destination.prepare, Destination.collect
# Those that make what calls need, and that do not work on them in jobs: these would take the test long.
MAKERS = [k for k in catalogue().values() if k.prepare is not OWN[0] and k.collect is OWN[1] and "identify" in k.forms]

FIXED = ("responsys",)  # makes its columns with their table, and none later


def calls(kind: type[Destination]) -> Iterator[Call]:
    """A person for each type of identifier, then one with a trait that nobody had, as an attached identifier is."""
    people = [Identifier(each, "ana@x.io" if each == "email" else f"{each}-1") for each in kind.identifiers]
    first = next((each for each in people if each.type == "email"), people[0])
    told = [(each, {}) for each in people] + [(first, {} if kind.slug in FIXED else {"loyalty_id": "l-7"})]
    for number, (identifier, traits) in enumerate(told):
        for slot, (of, value) in enumerate([(AUDIENCE, True), (TRAIT, 12.5)], 1):
            yield Call(
                f"person-{number}", "identify", identifier, of.key, value, 1_760_000_000_000_000, 2 * number + slot,
                slot, 1, of.key, of.key, traits={**dict.fromkeys(kind.required, "Ana"), **traits},
            )  # fmt: skip


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.slug) for kind in MAKERS])
def test_nothing_was_gone_in_a_first_sync(kind: type[Destination], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(kind).items():
        monkeypatch.setenv(name, value)
    with running_sandbox(capped=False) as sandbox:
        options = replace(FAST, gateway=sandbox.url, read_timeout=30.0)
        told = list(calls(kind))
        report = asyncio.run(Pump(delivery_of(told, connected(kind, ("identify",)), options), {}).run())
    assert {} == report.remade
    assert ({}, len(told)) == (report.blocked, report.delivered)
