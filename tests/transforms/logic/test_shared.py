"""Identifiers that several people share: a list has them while one of these is on it."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from schemas.workspace import Connection, Sync, Workspace
from tests.transforms.logic.histories import VIP
from tests.transforms.logic.job import Event, Job, at, hour
from tests.transforms.logic.plain_sender import Outcome
from tests.transforms.logic.test_rules import in_runs
from tests.transforms.logic.vendors import Settings

SHOP = Workspace("shop", (VIP,), (Connection("ads", "ads", (Sync("vip", forms=("list",)),), Settings()),))
PEOPLE = ("ana", "bob", "cem")
OURS, HERS = "family@x.example", "ana@x.example"
times = st.integers(0, 5)
_ids = st.lists(st.sampled_from([OURS, HERS]), max_size=2)


def known(person: str, hours: int, *emails: str, removed: tuple[str, ...] = ()) -> Event:
    ids, gone = ([{"type": "email", "id": each} for each in some] for some in (emails, removed))
    return {"type": "profile", "profile_id": person, "at": at(hours), "external_ids": ids, "removed_ids": gone}


def member(person: str, hours: int, is_in: bool) -> Event:
    return {"type": "audience", "profile_id": person, "at": at(hours), "computation": "vip", "member": is_in}


def deleted(person: str, hours: int) -> Event:
    return {"type": "delete", "profile_id": person, "at": at(hours)}


_person = st.sampled_from(PEOPLE)
_event = st.one_of(
    st.builds(lambda who, when, ids, gone: known(who, when, *ids, removed=tuple(gone)), _person, times, _ids, _ids),
    st.builds(member, _person, times, st.booleans()),
    st.builds(member, _person, times, st.booleans()),
)
_begin = [known(who, 0, OURS) for who in PEOPLE]


class Vendor:
    """What its list has, after what became of calls."""

    def __init__(self) -> None:
        self.emails: set[str] = set()
        self.told: list[str] = []

    def hears(self, job: Job, outcomes: list[Outcome]) -> None:
        for (_, call), outcome in zip(job.due, outcomes, strict=True):
            if outcome == "delivered":
                self.told.append(f"{call.kind} {call.profile_id}")
                (self.emails.add if call.kind == "add" else self.emails.discard)(call.identifier.id)
        job.settle(outcomes)

    def hears_all(self, job: Job) -> list[str]:
        self.told = []
        self.hears(job, ["delivered"] * len(job.due))
        return self.told


def wanted(job: Job) -> set[str]:
    """Addresses of people who are in."""
    found = set()
    for state in filter(None, map(job.profile, PEOPLE)):
        if any(value is True for _, value in state.values.values()):
            found |= {each.id for each in state.ids if each.counts}
    return found


@given(st.lists(_event, max_size=14), st.integers(1, 5), st.randoms(use_true_random=False))
def test_a_list_has_whom_it_should_have(events: list[Event], runs: int, chance: Random) -> None:
    job, vendor = Job(), Vendor()
    for part in in_runs([*_begin, *events], runs, chance):
        job.run(SHOP, part, hour(9))
        vendor.hears(job, [chance.choice(["delivered", "pending"]) for _ in job.due])
    for _ in range(10):
        job.run(SHOP, [], hour(9))
        if not vendor.hears_all(job):
            break
    assert wanted(job) == vendor.emails


def test_who_leaves_first_is_not_told_and_who_leaves_last_is() -> None:
    job, vendor = Job(), Vendor()
    job.run(SHOP, [*_begin, member("ana", 1, True), member("bob", 1, True)], hour(9))
    assert {"add ana", "add bob"} == {*vendor.hears_all(job)}
    job.run(SHOP, [member("ana", 2, False)], hour(9))
    assert (1, []) == (job.portion.counts["shared"], job.due)
    job.run(SHOP, [member("bob", 3, False)], hour(9))
    assert ["remove bob"] == vendor.hears_all(job)


def test_two_who_leave_at_once_are_both_taken_off() -> None:
    job, vendor = Job(), Vendor()
    job.run(SHOP, [*_begin, member("ana", 1, True), member("bob", 1, True)], hour(9))
    vendor.hears_all(job)
    job.run(SHOP, [member("ana", 2, False), member("bob", 2, False)], hour(9))
    vendor.hears_all(job)
    assert set() == vendor.emails


def test_an_address_that_moves_to_somebody_else_stays() -> None:
    job, vendor = Job(), Vendor()
    job.run(SHOP, [known("ana", 0, HERS), member("ana", 1, True), member("bob", 1, True)], hour(9))
    vendor.hears_all(job)
    job.run(SHOP, [known("bob", 2, HERS), known("ana", 2, removed=(HERS,))], hour(9))
    vendor.hears_all(job)
    assert {HERS} == vendor.emails


def test_a_deletion_is_told_by_shared_identifiers_too() -> None:
    job, vendor = Job(), Vendor()
    job.run(SHOP, [*_begin, member("ana", 1, True), member("bob", 1, True)], hour(9))
    vendor.hears_all(job)
    job.run(SHOP, [deleted("ana", 2)], hour(9))
    assert ["delete ana"] == vendor.hears_all(job)


def test_who_left_and_is_deleted_leaves_nothing_behind() -> None:
    job, vendor = Job(), Vendor()
    job.run(SHOP, [*_begin, member("ana", 1, True), member("bob", 1, True)], hour(9))
    vendor.hears_all(job)
    job.run(SHOP, [known("ana", 2, removed=(OURS,)), member("ana", 2, False)], hour(9))
    job.run(SHOP, [deleted("ana", 3)], hour(9))
    vendor.hears_all(job)
    job.run(SHOP, [], hour(9))
    state = job.profile("ana")
    assert state
    assert state.gone


def test_a_row_is_gone_when_the_add_of_the_one_to_whom_it_was_left_was_rejected() -> None:
    for end in ("rejected", "expired"):
        job, vendor = Job(), Vendor()
        job.run(SHOP, [*_begin, member("ana", 1, True)], hour(9))
        vendor.hears_all(job)
        job.run(SHOP, [member("bob", 2, True)], hour(9))
        job.run(SHOP, [member("ana", 2, False)], hour(9))
        vendor.hears(job, [end] * len(job.due))  # type: ignore[list-item]
        job.run(SHOP, [member("bob", 3, False)], hour(9))
        vendor.hears_all(job)
        assert set() == vendor.emails
