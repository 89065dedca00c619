"""What a state needs when it moves from Kafka into a directory: numbers that are given once, and nobody who waits."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.calls import Call, Identifier
from schemas.state import Entry, Known, Open, ProfileState, Rest
from transforms.logic.moving import Numbers, release_lost, renumber

ANA = Identifier("user_id", "ana")


def call(profile: str, ask: int, **more: int) -> Call:
    return Call(profile, "identify", ANA, "score", 1, 1, ask, slot=1, **more)  # type: ignore[arg-type]


def waiting(ask: int, slot: int = 1, **more: object) -> ProfileState:
    """Somebody who waits for this call."""
    entry = Entry(told=True, open=Open(ask, False), **more)  # type: ignore[arg-type]
    return ProfileState([Known("user_id", "ana", 1, 1)], ledger={slot: {0: entry}})


def entry_of(state: ProfileState, slot: int = 1) -> Entry:
    return state.ledger[slot][0]


def test_a_number_that_another_profile_has_is_not_given_again() -> None:
    numbers = Numbers()
    first, second = call("ana", 7), call("bob", 7)
    assert [first, replace(second, ask=8)] == [numbers.enter(first), numbers.enter(second)]
    assert {"bob": {7: 8}} == numbers.changed


def test_later_calls_of_somebody_whose_call_has_another_number_stay_behind_it_and_speak_of_it() -> None:
    numbers = Numbers()
    for profile in ("ana", "bob", "eve"):
        numbers.enter(call(profile, 7))  # 7, 8, 9
    assert call("eve", 10, replaces=9) == numbers.enter(call("eve", 8, replaces=7))
    assert call("bob", 11, opens=8) == numbers.enter(call("bob", 9, opens=7))
    assert call("bob", 20, replaces=11) == numbers.enter(call("bob", 20, replaces=9))


def test_numbers_that_are_no_trouble_stay_as_they_are() -> None:
    numbers = Numbers()
    given = [call("ana", 5), call("bob", 3), call("ana", 6, replaces=5), call("bob", 4)]
    assert given == [numbers.enter(each) for each in given]
    assert {} == numbers.changed


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), max_size=12, unique=True))
def test_all_numbers_differ_and_calls_of_a_profile_keep_their_order(found: list[tuple[str, int]]) -> None:
    numbers = Numbers()
    asked = sorted(found, key=lambda each: each[1])
    given_ = [(who, ask, numbers.enter(call(who, ask)).ask) for who, ask in asked]
    assert len({new for _, _, new in given_}) == len(given_)
    for profile in "abc":
        mine = [new for who, _, new in given_ if who == profile]
        assert sorted(mine) == mine
    assert all(numbers.changed.get(who, {}).get(ask, ask) == new for who, ask, new in given_)


def test_the_ledger_speaks_of_the_new_number_in_slots_of_the_connection() -> None:
    state = waiting(7)
    state.ledger[2] = {0: Entry(open=Open(7, False))}
    renumber(state, {7: 9}, lambda slot: slot == 1)
    assert (9, 7) == (entry_of(state).open.ask, entry_of(state, 2).open.ask)  # type: ignore[union-attr]


def test_a_call_from_before_a_deletion_stays_before_it() -> None:
    state = ProfileState(cut=8)
    renumber(state, {7: 9, 12: 14}, lambda slot: True)
    assert 9 == state.cut


def test_what_waits_in_a_log_stays_asked() -> None:
    state = waiting(7)
    assert not release_lost(state, lambda slot, ask: (slot, ask) == (1, 7))
    assert waiting(7) == state


def test_what_is_in_no_log_is_asked_anew_and_may_have_been_told() -> None:
    state = waiting(7, rest=Rest(said=True))
    assert release_lost(state, lambda slot, ask: False)
    assert Entry(told=None, exposed=True, open=None, rest=None) == entry_of(state)


def test_who_waits_for_nothing_is_left_as_he_is() -> None:
    state = waiting(7)
    entry_of(state).open = None
    before = replace(entry_of(state))
    assert not release_lost(state, lambda slot, ask: False)
    assert before == entry_of(state)
