"""What is bad in a batch that was refused as a whole: any batches before a vendor that says what it does not like."""

from collections.abc import Callable
from math import ceil, log2
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.logic.splitting import FEWEST, PARTLY, TAKEN, Answer, Splitting, essence

Vendor = Callable[[list[int]], Answer]


def refusing(bad: dict[int, Answer]) -> Vendor:
    """Says no, because of the first that it does not like."""
    return lambda part: next((bad[call] for call in part if call in bad), TAKEN)


def search(units: list[tuple[int, ...]], vendor: Vendor) -> tuple[Splitting, list[list[int]], set[int]]:
    """The search to its end; what was sent, and what was delivered."""
    whole = sorted(call for unit in units for call in unit)
    splitting = Splitting(units, vendor(whole))
    sent: list[list[int]] = []
    delivered: set[int] = set()
    while (part := splitting.next()) is not None:
        assert part, "an empty request"
        assert not delivered & set(part), "sent though delivered"
        sent.append(part)
        answer = vendor(part)
        splitting.answered(answer)
        if answer is TAKEN:
            delivered.update(part)
    return splitting, sent, delivered


def alone(number: int) -> list[tuple[int, ...]]:
    return [(n,) for n in range(number)]


def no(words: str = "invalid", large: bool = False) -> Answer:
    return Answer("refused", words, large)


UNANSWERED = Answer("unanswered", "HTTP 500")


@given(st.integers(1, 300), st.data(), st.sampled_from([no(), UNANSWERED]))
def test_one_bad_unit_costs_few_requests_and_all_others_are_delivered(number, data, answer) -> None:  # type: ignore[no-untyped-def]
    bad = data.draw(st.integers(0, number - 1))
    splitting, sent, delivered = search(alone(number), refusing({bad: answer}))
    assert len(sent) <= ceil(log2(number)) + 2
    assert set(range(number)) - {bad} == delivered
    found, other = (splitting.bad, splitting.later) if answer.what == "refused" else (splitting.later, splitting.bad)
    assert [((bad,), answer.words)] == [(each.calls, each.words) for each in found]
    assert [] == other
    assert [bad] == splitting.waiting


answers = st.sampled_from([no("bad date"), no("bad e-mail"), UNANSWERED])


@given(st.integers(1, 60), st.dictionaries(st.integers(0, 59), answers))
def test_all_that_is_bad_is_found_and_nothing_else_is_rejected(number, bad) -> None:  # type: ignore[no-untyped-def]
    bad = {call: answer for call, answer in bad.items() if call < number} or {0: no()}
    splitting, sent, delivered = search(alone(number), refusing(bad))
    assert len(sent) <= 2 * number + ceil(log2(number)) + 2
    if splitting.verdict == "whole":
        assert len(set(bad.values())) == 1
        assert len(bad) >= max(FEWEST, ceil(log2(number)))
        assert set() == delivered
        assert list(range(number)) == splitting.waiting
        assert ([], []) == (splitting.bad, splitting.later)
        return
    later = {found.calls[0] for found in splitting.later}
    rejected = {found.calls[0] for found in splitting.bad}
    assert set(range(number)) == delivered | later | rejected
    assert sorted(later | rejected) == splitting.waiting
    silent = {call for call, answer in bad.items() if answer.what == "unanswered"}
    assert rejected <= set(bad) - silent
    if len(silent) <= FEWEST:  # many of them, one after the other, may be a vendor that falls silent
        assert silent == later


@given(st.lists(st.integers(1, 3), min_size=1, max_size=20), st.data())
def test_what_must_stay_together_stays_together(sizes, data) -> None:  # type: ignore[no-untyped-def]
    calls = iter(data.draw(st.permutations(range(sum(sizes)))))
    units = [tuple(next(calls) for _ in range(size)) for size in sizes]
    bad = data.draw(st.sampled_from(units))
    splitting, sent, delivered = search(units, refusing({bad[0]: no()}))
    assert all(set(unit) <= set(part) or not set(unit) & set(part) for unit in units for part in sent)
    assert all(part == sorted(part) for part in sent)
    assert [bad] == [each.calls for each in splitting.bad]
    assert {call for unit in units for call in unit} - set(bad) == delivered


@given(st.integers(FEWEST, 2_000), st.sampled_from(["refused", "unanswered"]))
def test_a_refusal_of_everything_in_the_same_words_is_found_out_with_few_requests(number, what) -> None:  # type: ignore[no-untyped-def]
    count = iter(range(10**9))
    splitting, sent, _ = search(
        alone(number), lambda part: Answer(what, f"request {next(count)}: row {part[0]}: this audience is closed")
    )
    assert "whole" == splitting.verdict
    assert "this audience is closed" in splitting.words
    assert len(sent) <= max(2 * log2(number) + 2, log2(number) + FEWEST + 1)
    assert list(range(number)) == splitting.waiting


@given(st.integers(2, 500), st.integers(0, 20))
def test_a_vendor_that_falls_silent_is_not_asked_about_each(number, answers) -> None:  # type: ignore[no-untyped-def]
    turn = iter(range(10**9))
    bad = refusing({0: no(), number // 2: no()})
    splitting, sent, delivered = search(alone(number), lambda part: bad(part) if next(turn) <= answers else UNANSWERED)
    assert "" == splitting.verdict
    assert len(sent) <= answers + 3 * log2(number) + FEWEST + 3
    later = {call for found in splitting.later for call in found.calls}
    assert set(range(number)) == delivered | later | {call for found in splitting.bad for call in found.calls}
    assert set() == delivered & later


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_few_that_are_refused_in_the_same_words_are_bad_each(number: int) -> None:
    splitting, _, _ = search(alone(number), lambda part: no())
    assert "" == splitting.verdict
    assert number == len(splitting.bad)


def test_many_bad_ones_are_seldom_taken_for_none_of_them() -> None:
    chance, wrong = Random(7), 0
    for _ in range(1_000):
        bad = {n: no() for n in range(75) if chance.random() < 0.3} or {0: no()}
        wrong += search(alone(75), refusing(bad))[0].verdict == "whole"
    assert wrong <= 3


@given(st.integers(2, 200), st.integers(1, 50))
def test_what_is_too_large_is_only_split(number, most) -> None:  # type: ignore[no-untyped-def]
    most = min(most, number - 1)
    splitting, sent, delivered = search(
        alone(number), lambda part: TAKEN if len(part) <= most else no("too large", large=True)
    )
    assert [] == splitting.bad == splitting.later
    assert "" == splitting.verdict
    assert set(range(number)) == delivered
    assert len(sent) <= 4 * ceil(number / most)


def test_a_unit_that_is_too_large_alone_is_bad_for_that() -> None:
    splitting, _, _ = search(
        alone(8), lambda part: no("too large", large=True) if 3 in part or len(part) > 2 else TAKEN
    )
    assert [((3,), True)] == [(found.calls, found.large) for found in splitting.bad]


@given(st.integers(2, 60), st.randoms(use_true_random=False))
def test_whatever_a_vendor_says_the_search_ends_and_rejects_only_what_was_refused_alone(number, chance) -> None:  # type: ignore[no-untyped-def]
    refused: set[int] = set()
    untold, answers = set(range(number)), list[str]()

    def vendor(part: list[int]) -> Answer:
        answer = chance.choice([TAKEN, PARTLY, no("a"), no("b"), no("a", large=True), UNANSWERED])
        answers.append(answer.what)
        if len(part) < number:
            untold.difference_update(part)
        if len(part) == 1 and answer.what == "refused":
            refused.update(part)
        return answer if len(part) < number else no("a")

    splitting, sent, _ = search(alone(number), vendor)
    assert {call for found in splitting.bad for call in found.calls} <= refused
    assert len(sent) <= 3 * number + 10
    if not splitting.verdict and answers[-4:] != ["unanswered"] * 4:  # otherwise the vendor may have fallen silent
        assert set() == untold, "each was sent"
        assert splitting.waiting == sorted(call for found in [*splitting.bad, *splitting.later] for call in found.calls)


@given(st.integers(2, 60), st.sets(st.integers(0, 59)), st.integers(0, 59), st.integers(0, 8))
def test_what_is_dropped_is_not_sent(number, dropped, bad, after) -> None:  # type: ignore[no-untyped-def]
    splitting, turn = Splitting(alone(number), no()), 0
    while (part := splitting.next()) is not None:
        assert part
        assert turn <= after or not set(part) & dropped
        splitting.answered(no() if bad in part else TAKEN)
        if turn == after:
            splitting.drop(dropped)
        turn += 1
    assert set(splitting.waiting) <= {bad}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("row 3 is not valid", "row 17 is not valid"),
        ('{"message": "Bad parameter", "trace_id": "AbCdEf"}', '{"message": "Bad parameter", "trace_id": "GhIj"}'),
        ("ana@x.io is no address", "bob.b@y.io is no address"),
        ("request 4ac9-11 failed", "request 77bb-0f failed"),
    ],
)  # fmt: skip
def test_words_are_the_same_whoever_they_are_about(one: str, other: str) -> None:
    assert essence(one) == essence(other)


def test_words_differ_where_they_say_something_else() -> None:
    assert essence("the date is not valid") != essence("the address is not valid")
