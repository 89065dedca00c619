"""Lanes: order per person and per vendor object, full batches, what is put back, live before backfill."""

from collections.abc import Hashable
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from schemas.calls import Call, Identifier
from schemas.limits import Batch
from transforms.logic.lanes import Item, Lanes

FOUR = Batch(4)


def unit(call: Call) -> Hashable:
    return (call.kind, call.identifier, call.at if call.kind == "track" else 0)


def lanes(size: Batch = FOUR, objects: bool = False) -> Lanes:
    return Lanes(lambda call: call.kind, unit, lambda route: size, objects)


def call(
    ask: int, person: str, key: str = "k", kind: str = "identify", value: object = 1, whom: str = "", **more: object
) -> Call:
    identifier = Identifier("email", f"{whom or person}@x.io")
    return Call(person, kind, identifier, key, value, ask, ask, **more)  # type: ignore[arg-type]


def asks(batch: list[Item] | None) -> list[int]:
    return [item.call.ask for item in batch or []]


def filled(*calls: Call, size: Batch = FOUR, objects: bool = False) -> Lanes:
    found = lanes(size, objects)
    for each in calls:
        found.add(Item(each))
    return found


STEPS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("kl"), st.sampled_from(["identify", "track"]), st.booleans()),
    max_size=25,
)


@given(STEPS, st.integers(1, 4), st.randoms(use_true_random=False))
def test_calls_about_one_key_of_a_person_leave_in_order_whatever_is_put_back(told, size, chance) -> None:  # type: ignore[no-untyped-def]
    made = [call(n, who, key, kind, backfill=back) for n, (who, key, kind, back) in enumerate(told, 1)]
    waiting = filled(*made, size=Batch(size))
    left: list[Item] = []
    out: list[list[Item]] = []
    now = 0.0
    while len(left) < len(made):
        batch = waiting.take(now)
        if batch:
            assert len({unit(item.call) for item in batch}) <= size
            assert 1 == len({item.call.kind for item in batch})
            out.append(batch)
        elif not out:
            due = waiting.next_due()
            assert due is not None, "calls wait, but nothing will make them ready"
            now = due
        if out and (not batch or chance.random() < 0.5):
            for item in out.pop(chance.randrange(len(out))):
                if chance.random() < 0.2:
                    waiting.put_back(item, now + chance.random())
                else:
                    left.append(item)
                    waiting.done(item)
    for person, key in product("abcd", "kl"):
        mine = [item.call.ask for item in left if (item.call.profile_id, item.call.key) == (person, key)]
        assert sorted(mine) == mine
    assert (0, 0) == (waiting.bytes, sum(waiting.waiting.values()))


@given(STEPS, st.integers(1, 4))
def test_no_two_batches_have_calls_of_one_person_at_once(told, size) -> None:  # type: ignore[no-untyped-def]
    waiting = filled(*(call(n, who, key, kind) for n, (who, key, kind, _) in enumerate(told, 1)), size=Batch(size))
    busy: set[str] = set()
    while batch := waiting.take(0.0):
        people = {item.call.profile_id for item in batch}
        assert set() == people & busy
        busy |= people


def test_a_batch_takes_as_many_people_as_fit() -> None:
    waiting = filled(*(call(n, f"p{n}") for n in range(1, 7)))
    assert [[1, 2, 3, 4], [5, 6]] == [asks(waiting.take(0.0)), asks(waiting.take(0.0))]


def test_while_more_is_read_only_a_full_batch_goes() -> None:
    waiting = filled(call(1, "ana"), call(2, "bob"))
    assert waiting.take(0.0, full=True) is None
    for n in (3, 4):
        waiting.add(Item(call(n, f"p{n}")))
    assert [1, 2, 3, 4] == asks(waiting.take(0.0, full=True))


def test_two_values_of_one_key_are_never_in_one_batch() -> None:
    waiting = filled(call(1, "ana", value=1), call(2, "ana", value=2))
    batch = waiting.take(0.0)
    assert ([1], None) == (asks(batch), waiting.take(0.0))
    for item in batch or []:
        waiting.done(item)
    assert [2] == asks(waiting.take(0.0))


def test_what_was_put_back_waits_for_its_time_and_so_does_what_is_behind_it() -> None:
    waiting = filled(call(1, "ana"), call(2, "ana", "l"), call(3, "bob"))
    batch = waiting.take(0.0)
    assert [1, 2, 3] == asks(batch)
    for item in batch or []:
        waiting.done(item) if item.call.ask == 3 else waiting.put_back(item, 9.0 if item.call.ask == 1 else 0.0)
    assert waiting.take(8.9) is None
    assert 9.0 == waiting.next_due()
    assert [1, 2] == asks(waiting.take(9.0))


def test_what_was_put_back_for_one_moment_goes_together_then() -> None:
    """As of calls in one job of a vendor's: they are asked about once, and where it is lost all of them go again."""
    waiting = filled(call(1, "ana"), call(2, "ana", "l"), call(3, "ana", "m"))
    for item in waiting.take(0.0) or []:
        waiting.put_back(item, 9.0 if item.call.ask < 3 else 9.5)
    assert [1, 2] == asks(waiting.take(9.0))
    assert 9.5 == waiting.next_due() or waiting.take(9.4) is None


def test_an_address_that_two_people_have_is_told_in_the_order_of_the_asks() -> None:
    waiting = filled(call(1, "ana", whom="shared"), call(2, "eve", whom="shared", value=2), objects=True)
    batch = waiting.take(0.0)
    assert ([1], None) == (asks(batch), waiting.take(0.0))
    for item in batch or []:
        waiting.done(item)
    assert [2] == asks(waiting.take(0.0))


def test_what_happened_goes_before_what_the_workspace_asked_for() -> None:
    one = Batch(1)
    waiting = filled(
        *(call(n, f"old{n}", backfill=True) for n in range(1, 41)),
        *(call(n, f"new{n}") for n in range(41, 81)),
        size=one,
    )
    first = [asks(waiting.take(0.0))[0] for _ in range(20)]
    assert 2 == sum(ask <= 40 for ask in first)  # a share for the backfill, or it would never end


def test_a_route_that_may_not_go_is_passed_over() -> None:
    waiting = filled(call(1, "ana"), call(2, "bob", kind="track"))
    assert [2] == asks(waiting.take(0.0, lambda route: route == "track"))
