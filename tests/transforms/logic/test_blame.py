"""Whose fault a refusal is: any answers of concurrent conversations, and a sender before vendors that refuse."""

from heapq import heappop, heappush
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.outcomes import Blocked
from transforms.logic.blame import ENOUGH, Blame, Keys, Refusal


def refusal(n: int, sent: float, meaning: str = "refused", at: float | None = None, page: bool = False) -> Refusal:
    return Refusal((n,), frozenset({f"u{n}"}), meaning, sent, sent if at is None else at, "no", page)  # type: ignore[arg-type]


def calls(refusals: list[Refusal]) -> list[int]:
    return sorted(call for each in refusals for call in each.calls)


@pytest.mark.parametrize("meaning", ["refused", "credentials"])
def test_a_refusal_between_successes_is_its_records(meaning: str) -> None:
    blame = Blame()
    assert [] == blame.succeeded(1.0)
    assert "suspect" == blame.refused(refusal(2, 2.0, meaning))
    assert [2] == calls(blame.succeeded(3.0))
    assert ([], []) == blame.ended()


def test_the_first_refusal_is_kept_aside_until_somebody_succeeds() -> None:
    blame = Blame()
    assert "suspect" == blame.refused(refusal(1, 1.0))
    assert "goes" == blame.stands(0)
    assert [1] == calls(blame.succeeded(2.0))


def test_several_different_people_in_a_row_are_the_connections() -> None:
    blame = Blame()
    blame.succeeded(0.0)
    for n in range(1, ENOUGH + 1):
        assert "goes" == blame.stands(1)
        blame.refused(refusal(n, float(n), "credentials"))
    assert ["holds", "connection"] == [blame.stands(out) for out in (1, 0)]
    records, waiting = blame.ended()
    assert [] == records
    assert [1, 2, 3, 4, 5] == calls(waiting)


def test_one_person_refused_again_and_again_is_one() -> None:
    blame = Blame()
    for n in range(20):
        blame.refused(Refusal((n,), frozenset({"u1"}), "refused", float(n), float(n)))
    assert "goes" == blame.stands(0)


def test_what_is_out_may_show_that_it_is_not_the_connection() -> None:
    blame = Blame()
    for n in range(ENOUGH):
        blame.refused(refusal(n, float(n), at=9.0))
    assert "holds" == blame.stands(1)
    assert [0, 1, 2] == calls(blame.succeeded(2.5))
    assert "goes" == blame.stands(0)
    assert ([3, 4], []) == tuple(calls(each) for each in blame.ended())


@pytest.mark.parametrize(
    ("meaning", "page", "known", "records"),
    [
        ("refused", False, True, [1]),
        ("refused", False, False, []),
        ("credentials", False, True, []),
        ("refused", True, True, []),  # a firewall: of this sender, unless somebody else passes it
    ],
)
def test_the_only_one_that_was_asked(meaning: str, page: bool, known: bool, records: list[int]) -> None:
    blame = Blame({""} if known else ())
    blame.refused(refusal(1, 1.0, meaning, page=page))
    found, waiting = blame.ended()
    assert records == calls(found)
    assert [1] == sorted(calls(found) + calls(waiting))


@pytest.mark.parametrize(("meaning", "records"), [("refused", [2]), ("credentials", [])])
def test_the_last_one_is_its_records_unless_the_credentials_may_have_ended(meaning: str, records: list[int]) -> None:
    blame = Blame()
    blame.succeeded(1.0)
    blame.refused(refusal(2, 2.0, meaning))
    assert records == calls(blame.ended()[0])


def batch(n: int, meaning: str = "refused") -> Refusal:
    return refusal(n, float(n), meaning)._replace(calls=(n, n + 100), units=2)


def test_batches_that_are_all_refused_are_split_before_it_is_the_connections() -> None:
    blame = Blame()
    for n in range(ENOUGH):
        blame.refused(batch(n))
    assert ["holds", "splits"] == [blame.stands(out) for out in (1, 0)]
    one = blame.to_split()
    assert "suspect" == blame.refused(one._replace(split=True))
    assert "connection" == blame.stands(0)
    assert [] == blame.ended()[0]


def test_batches_that_are_all_refused_go_on_when_part_of_one_is_taken() -> None:
    blame = Blame()
    for n in range(ENOUGH):
        blame.refused(batch(n))
    one = blame.to_split()
    assert 4 == len(blame.succeeded(10.0))
    assert "record" == blame.refused(one._replace(calls=one.calls[:1], units=1))
    assert "goes" == blame.stands(0)


def test_batches_with_refused_credentials_are_not_split() -> None:
    blame = Blame()
    for n in range(ENOUGH):
        blame.refused(batch(n, "credentials"))
    assert "connection" == blame.stands(0)


def test_the_only_batch_is_split_though_nothing_is_known() -> None:
    blame = Blame()
    blame.refused(batch(1))
    assert [[1, 101], []] == [calls(each) for each in blame.ended()]
    assert "suspect" == blame.refused(refusal(1, 2.0))
    assert [[], [1]] == [calls(each) for each in blame.ended()]


def test_a_batch_that_was_split_for_nothing_waits_though_others_succeed() -> None:
    blame = Blame()
    blame.refused(batch(1)._replace(split=True))
    assert "connection" == blame.stands(0)
    assert [] == blame.succeeded(5.0)
    assert "goes" == blame.stands(0)
    assert [[], [1, 101]] == [calls(each) for each in blame.ended()]


def test_a_firewalls_page_is_its_records_where_others_pass() -> None:
    blame = Blame()
    blame.refused(refusal(1, 1.0, page=True))
    assert [1] == calls(blame.succeeded(2.0))


def test_what_one_scope_may_not_do_says_nothing_of_the_others() -> None:
    blame = Blame()
    blame.succeeded(0.0, "contacts")
    for n in range(ENOUGH):
        blame.refused(refusal(n, float(n)), "events")
        blame.succeeded(float(n), "contacts")
    assert ["goes", "scope"] == [blame.stands(0, scope) for scope in ("contacts", "events")]
    assert ([], [0, 1, 2, 3, 4]) == tuple(calls(each) for each in blame.ended())


def test_credentials_are_those_of_all_scopes() -> None:
    blame = Blame()
    blame.succeeded(0.0, "contacts")
    for n in range(ENOUGH):
        blame.refused(refusal(n, float(n), "credentials"), "events")
    assert "connection" == blame.stands(0, "events")


class Asked(NamedTuple):
    """One request."""

    n: int
    sent: float
    took: float
    answer: str


asked = st.lists(st.tuples(st.floats(0.0, 9.0), st.sampled_from(["ok", "refused", "credentials"])), max_size=12)


def heard(requests: list[Asked], known: bool) -> tuple[Blame, list[int], list[int]]:
    """All of them, as their answers come."""
    blame, records = Blame({""} if known else ()), []
    for each in sorted(requests, key=lambda one: (one.sent + one.took, one.n)):
        if each.answer == "ok":
            records += calls(blame.succeeded(each.sent))
        elif blame.refused(refusal(each.n, each.sent, each.answer, each.sent + each.took)) == "record":
            records.append(each.n)
    own, waiting = blame.ended()
    return blame, sorted(records + calls(own)), calls(waiting)


@given(asked, st.booleans(), st.data())
def test_in_which_order_answers_come_does_not_matter_while_few_are_refused(told, known, data) -> None:  # type: ignore[no-untyped-def]
    took = [data.draw(st.floats(0.0, 5.0)) for _ in told]
    requests = [Asked(n, sent, t, answer) for n, ((sent, answer), t) in enumerate(zip(told, took, strict=True))]
    refused = [each for each in requests if each.answer != "ok"][: ENOUGH - 1]
    requests = [each for each in requests if each.answer == "ok" or each in refused]
    fine = [each.sent for each in requests if each.answer == "ok"]
    expected = [
        each.n
        for each in refused
        if (fine or known if each.answer == "refused" else max(fine, default=-1.0) >= each.sent)
    ]
    _, records, waiting = heard(requests, known)
    assert sorted(expected) == records
    assert sorted(each.n for each in refused) == sorted(records + waiting)


@given(st.integers(0, 30), st.integers(0, 30), st.randoms(use_true_random=False), st.booleans())
def test_nobody_is_rejected_for_credentials_that_end(before, after, chance, known) -> None:  # type: ignore[no-untyped-def]
    requests = [
        Asked(n, n / 10, chance.random() * 5.0, "ok" if n < before else "credentials") for n in range(before + after)
    ]
    _, records, waiting = heard(requests, known)
    assert [] == records
    assert list(range(before, before + after)) == waiting


class Delivered(NamedTuple):
    """What came of a delivery."""

    records: int
    ended: str
    requests: int


def deliver(
    people: int, bad: float, ends: int, rate: float, took: tuple[float, float], meaning: str, seed: int
) -> Delivered:
    """A sender with many requests out: of people some are refused; from number `ends` on, all."""
    chance, blame = Random(seed), Blame()
    out: list[tuple[float, int, float, bool]] = []
    now, n, records, stands = 0.0, 0, 0, "goes"
    while n < people or out:
        stands = blame.stands(len(out))
        if stands in ("scope", "connection"):
            break
        if stands == "goes" and n < people and (not out or now < out[0][0]):
            fine = n < ends and chance.random() >= bad
            heappush(out, (now + took[0 if fine else 1] * (0.5 + chance.random()), n, now, fine))
            n, now = n + 1, now + 1 / rate
            continue
        at, who, sent, fine = heappop(out)
        now = max(now, at)
        if fine:
            records += len(blame.succeeded(sent))
        else:
            records += blame.refused(refusal(who, sent, meaning, at)) == "record"
    return Delivered(records + len(blame.ended()[0]), stands, n)


@pytest.mark.parametrize("bad", [0.02, 0.3, 0.6])
@pytest.mark.parametrize("took", [(1.0, 0.05), (0.05, 0.05), (0.05, 1.0)])
def test_many_refused_records_do_not_stop_a_connection_that_takes_others(bad: float, took: tuple[float, float]) -> None:
    for seed in range(5):
        delivered = deliver(2_000, bad, 2_000, 100.0, took, "refused", seed)
        assert 2_000 == delivered.requests
        assert delivered.records == pytest.approx(2_000 * bad, rel=0.5)


@pytest.mark.parametrize("meaning", ["refused", "credentials"])
@pytest.mark.parametrize("bad", [0.0, 0.05, 0.3])
def test_a_connection_that_is_refused_from_some_moment_on_stops_soon(bad: float, meaning: str) -> None:
    for seed in range(5):
        before = deliver(500, bad, 500, 20.0, (0.2, 0.2), meaning, seed)
        delivered = deliver(2_000, bad, 500, 20.0, (0.2, 0.2), meaning, seed)
        assert "connection" == delivered.ended
        assert delivered.requests <= 500 + 50 + 40
        assert delivered.records <= before.records


@pytest.mark.parametrize("took", [0.05, 3.0])
def test_a_connection_that_nobody_may_use_stops_with_what_is_out(took: float) -> None:
    delivered = deliver(2_000, 1.0, 0, 5.0, (1.0, took), "refused", 1)
    assert (0, "connection") == delivered[:2]
    assert delivered.requests <= ENOUGH + 1 + 5 * took * 1.5


def test_a_key_is_prepared_once_more_before_its_calls_wait() -> None:
    keys, missing = Keys(), Blocked("no such list", prepare=True, lost=True)
    assert ["prepare", "again"] == [keys.blocked("vip", missing, sent) for sent in (1.0, 1.1)]
    keys.prepared("vip", 2.0)
    assert "again" == keys.blocked("vip", missing, 1.9)
    assert {} == keys.waiting
    assert "wait" == keys.blocked("vip", missing, 2.0)
    assert {"vip": "no such list"} == keys.waiting


def test_a_key_that_was_delivered_meanwhile_may_be_prepared_again() -> None:
    keys, missing = Keys(), Blocked("no such list", prepare=True)
    keys.blocked("vip", missing, 1.0)
    keys.delivered("vip")
    assert "again" == keys.blocked("vip", missing, 1.5)
    keys.prepared("vip", 2.0)
    keys.delivered("vip")
    assert "prepare" == keys.blocked("vip", missing, 3.0)


def test_a_key_is_prepared_with_each_call_that_needs_more_than_those_before() -> None:
    keys, missing = Keys(), Blocked("no such field", prepare=True)
    assert "prepare" == keys.blocked("vip", missing, 1.0)
    keys.prepared("vip", 2.0)
    assert "prepare" == keys.blocked("vip", missing, 3.0, sampled=False)
    keys.prepared("vip", 4.0)
    assert "wait" == keys.blocked("vip", missing, 5.0, sampled=True)
    assert "wait" == keys.blocked("vip", missing, 6.0, sampled=False), "preparing does not help this key"


def test_a_key_that_preparing_does_not_help_waits_at_once() -> None:
    assert "wait" == Keys().blocked("vip", Blocked("closed"), 1.0)
