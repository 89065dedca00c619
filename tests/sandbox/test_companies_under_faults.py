"""Accounts and their members where answers are lost: what was made all the same is found, and nobody is rejected."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from sandbox.conversing import Clock, Conversing
from sandbox.examples import AUDIENCE, TRAIT, connected, environment
from sandbox.faults import Fault
from sandbox.server import Options, Sandbox
from schemas.calls import Call, Identifier
from schemas.outcomes import Delivered
from schemas.workspace import Form
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination

BY_HAND = ("marketo",)  # fields of companies are made by a person
COMPANIES = [kind for kind in catalogue().values() if "member" in kind.forms and kind.slug not in BY_HAND]
FAULTS = (
    Fault(garbage=0.4), Fault(truncate=0.4), Fault(reset=0.4), Fault(hang=0.4),
    Fault(garbage=0.2, truncate=0.2, reset=0.2, status=503, share=0.2),
)  # fmt: skip
SEEDS = 5
TOLD: tuple[tuple[Form, str, object], ...] = (
    ("group", AUDIENCE.key, True), ("group", TRAIT.key, 12.5), ("group", AUDIENCE.key, False),
    ("member", TRAIT.key, True), ("member", TRAIT.key, False), ("member", TRAIT.key, True),
)  # fmt: skip


def calls(kind: type[Destination]) -> Iterator[Call]:
    """Of accounts without a name, each with a person who joins, leaves and joins again."""
    for number, (form, key, value) in enumerate(TOLD):
        for n in range(4):
            account, group = f"account-{n}", form == "group"
            who = Identifier("account_id", account) if group else Identifier("email", f"p{n}@x.io")
            traits = {} if group else dict.fromkeys(kind.required, "Ann")
            yield Call(
                account if group else f"person-{n}", form, who, key, value if group else {account: value},
                1_760_000_000_000_000 + number, 1 + 4 * number + n, 1 + (key == TRAIT.key) + 2 * (not group), 1,
                key, key, traits=traits,
            )  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.slug) for kind in COMPANIES])
def test_nobody_is_rejected_for_an_answer_that_is_lost(
    kind: type[Destination], fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(kind).items():
        monkeypatch.setenv(name, value)
    for seed in range(SEEDS):
        clock = Clock()
        sandbox = Sandbox(Options(clock=clock, capped=False))
        sandbox.faults.put(replace(fault, seed=seed))
        told = Conversing(kind(*connected(kind, ("group", "member"))), sandbox, clock)
        told.deliver(list(calls(kind)))
        fates = {type(outcome) for outcomes in told.outcomes.values() for outcome in outcomes}
        assert {Delivered} == fates, f"seed {seed}"
