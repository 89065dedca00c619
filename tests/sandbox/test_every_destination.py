"""Every destination before its fake vendor, with random people and faults: what is told converges, and nothing leaks.

What a faultless vendor knows after it was told the last values alone is what has to be known after any history of
changes, whatever was cut off, refused, throttled or garbled on the way.
"""

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from sandbox.conversing import Clock, Conversing
from sandbox.examples import ACTIVE, REVENUE, connected, environment
from sandbox.faults import Fault
from sandbox.server import Options, Sandbox
from sandbox.state import state
from sandbox.vendor import Request as Arrived
from schemas.outcomes import Rejected
from tests.sandbox.histories import ENRICHMENT, NAME, History, Telling, faults, happens, histories, wanted
from tests.transforms.destinations.descriptions import Travelling, unexplained, vendor_of
from transforms.destinations import catalogue
from transforms.destinations.contract import Destination, Reply, Request
from transforms.destinations.marketo import Marketo

HASHED = ("facebook-custom-audiences", "facebook-custom-audiences-website", "google-ads-remarketing-lists")
FEWEST = 4  # histories for each destination; where more can happen to people, two for each thing
UNSUPPORTED = "rejected unsupported"  # of a deletion: what was told stays


def conversing(kind: type[Destination], fault: Fault | None) -> Conversing:
    clock = Clock()
    sandbox = Sandbox(Options(clock=clock, capped=False))
    told = Conversing(kind(*connected(kind, enrich=ENRICHMENT)), sandbox, clock)
    if isinstance(told.destination, Marketo):
        for name in (ACTIVE.key, REVENUE.key):  # a person makes these, beforehand
            json = {"name": name, "dataType": "string"}
            told.converse(asking(told.destination.ask("POST", "/admin/company-fields", json=json)), 1)
    if fault:
        sandbox.faults.put(fault)
    return told


def asking(request: Request) -> Generator[Request, Reply, None]:
    yield request


@pytest.mark.parametrize("kind", [pytest.param(kind, id=slug) for slug, kind in catalogue().items()])
def test_it_converges_under_faults_and_leaks_nothing(kind: type[Destination], monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = environment(kind)
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)

    forms = {form: {"add", "remove"} if form == "list" else {form} for form in happens(kind)}
    seen: set[str] = set()

    @settings(
        max_examples=max(FEWEST, 2 * len(forms)), derandomize=True, deadline=None, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(histories(kind), faults(kind))
    def check(history: History, fault: Fault) -> None:
        told = conversing(kind, fault)
        made = list(Telling(told.destination, history.people).calls(history.changes))
        seen.update(call.kind for call in made)
        told.deliver(made)
        assert {call.ask: 1 for call in made} == {ask: len(outcomes) for ask, outcomes in told.outcomes.items()}
        faultless = Fault(refuse=fault.refuse, seed=fault.seed) if fault.refuse else None
        right, every = conversing(kind, faultless), conversing(kind, faultless)
        every.deliver(made)
        right.deliver(wanted([call for call in made if fate(every, call.ask) != UNSUPPORTED or call.kind != "delete"]))
        unread = fault.reset or fault.truncate or fault.garbage
        for ask in every.outcomes:
            assert fate(told, ask) == fate(every, ask) or (unread and may_be_unread(fate(told, ask), fate(every, ask)))
        for each in (told, right, every):
            each.clock.now += 3600.0
        actual = state(told.sandbox.told())
        assert state(every.sandbox.told()).events == actual.events
        assert state(right.sandbox.told()).lists == actual.lists
        if "list" not in {change.kind for change in history.changes}:  # who left a list is known all the same
            assert state(right.sandbox.told()).people == actual.people
        assert state(every.sandbox.told()).companies == actual.companies
        assert state(right.sandbox.told()).companies <= actual.companies  # one that its members left is known
        spoken = repr([told.outcomes, told.destination.memory, told.destination.notes, told.sent])
        assert [] == [name for name, value in secrets.items() if value in spoken]
        assert [] == against_the_description(kind, *told.arrived, *right.arrived, *every.arrived)
        if kind.slug in HASHED:
            plain = [each.id for ids in history.people for each in ids if each.type in ("email", "phone")]
            sent = b" ".join(f"{each.full_url} ".encode() + (each.body() or b"") for each in told.sent).decode()
            assert [] == [each for each in plain if each in sent or each.replace("@", "%40") in sent]
            assert NAME.lower() not in sent.lower()

    check()
    assert [] == [form for form, kinds in forms.items() if not kinds & seen], "no history has it: draw more"


def against_the_description(kind: type[Destination], *arrived: Arrived) -> list[str]:
    """What the vendor's own description refuses in these requests."""
    once = {(each.method, each.target, each.body): each for each in arrived} if vendor_of(kind.slug) else {}
    sent = [Travelling(e.method, f"https://{e.host}{e.target}", e.headers, e.body) for e in once.values()]
    return [fault for each in sent for fault in unexplained(kind.slug, each)]


def may_be_unread(told: str, right: str) -> bool:
    """Where an answer cannot be read, its status says what there is to say: good, or refused; not why."""
    return told in ("delivered", "rejected refused") or (told.startswith("rejected") and right.startswith("rejected"))


def fate(told: Conversing, ask: int) -> str:
    [outcome] = told.outcomes[ask]
    return f"rejected {outcome.reason}" if isinstance(outcome, Rejected) else type(outcome).__name__.lower()
