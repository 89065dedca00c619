"""Lanes: order per profile, full batches, no key twice, and lanes that wait for their time."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.calls import Call, Identifier
from transforms.destinations.contract import Batch
from transforms.logic.lanes import Item, Lanes, halves

FOUR = Batch(4)


def unit(call: Call) -> tuple[str, Identifier]:
    return (call.kind, call.identifier)


def lanes(size: Batch = FOUR) -> Lanes:
    return Lanes(lambda call: call.kind, unit, lambda route: size)


def call(profile: str, key: str = "k", kind: str = "identify", value: object = 1) -> Call:
    return Call(profile, kind, Identifier("email", f"{profile}@x.io"), key, value, 0)  # type: ignore[arg-type]


def filled(*calls: Call, size: Batch = FOUR) -> Lanes:
    found = lanes(size)
    for ref, each in enumerate(calls):
        found.add(Item(ref, each))
    return found


def refs(batch: list[Item] | None) -> list[int]:
    return [item.ref for item in batch or []]


def profiles(batch: list[Item] | None) -> set[str]:
    return {item.call.profile_id for item in batch or []}


steps = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("kl"), st.sampled_from(["identify", "track"])))


@given(steps, st.integers(1, 4), st.randoms(use_true_random=False))
def test_calls_of_a_profile_leave_in_order_whatever_is_put_off(told, size, chance) -> None:  # type: ignore[no-untyped-def]
    waiting = filled(*(call(*each) for each in told), size=Batch(size))
    left: list[Item] = []
    out: list[list[Item]] = []
    now = 0.0
    while len(left) < len(told):
        batch = waiting.take(now)
        if batch:
            out.append(batch)
            keys = [(i.call.kind, i.call.identifier, i.call.key) for i in batch]
            assert len(keys) == len(set(keys))
            assert len({unit(i.call) for i in batch}) <= size
        if not batch and not out:
            due = waiting.next_due()
            assert due is not None, "calls wait, but nothing will make them ready"
            now = due
            continue
        done = out.pop(chance.randrange(len(out)))
        if chance.random() < 0.3:
            waiting.postpone(done, now + chance.random())
        else:
            left += done
            waiting.done(profiles(done))
    assert waiting.idle
    assert 0 == waiting.waiting
    for profile in "abcd":
        mine = [item.ref for item in left if item.call.profile_id == profile]
        assert sorted(mine) == mine


def test_a_lane_is_busy_until_its_calls_have_an_outcome() -> None:
    waiting = filled(call("a"), call("a", kind="track"))
    assert [0] == refs(waiting.take(0.0))
    assert waiting.take(0.0) is None
    waiting.done({"a"})
    assert [1] == refs(waiting.take(0.0))


def test_the_route_that_fills_a_request_best_goes_first() -> None:
    waiting = filled(call("a", kind="track"), call("b"), call("c"))
    assert [1, 2] == refs(waiting.take(0.0))


def test_a_route_that_may_not_go_is_in_nobodys_way() -> None:
    waiting = filled(call("a", kind="track"), call("b"), call("c"))
    assert [0] == refs(waiting.take(0.0, "track".__eq__))
    assert waiting.take(0.0, "track".__eq__) is None
    assert [1, 2] == refs(waiting.take(0.0))


def test_two_profiles_with_one_identifier_do_not_share_a_request() -> None:
    same = Identifier("email", "both@x.io")
    waiting = filled(Call("a", "identify", same, "k", 1, 0), Call("b", "identify", same, "k", 2, 0))
    assert [0] == refs(waiting.take(0.0))
    assert 1 == waiting.shared


def test_a_batch_ends_where_its_bytes_do_but_one_call_always_goes() -> None:
    waiting = filled(call("a", value="x" * 900), call("b", value="y" * 900), size=Batch(10, 1_000))
    assert [0] == refs(waiting.take(0.0))
    assert [1] == refs(waiting.take(0.0))


def test_a_closed_profile_sends_nothing_more() -> None:
    waiting = filled(call("a"), call("a", "l", "track"), call("b"))
    assert [0, 2] == refs(waiting.take(0.0))
    waiting.close(["a"])
    waiting.done({"b"})
    waiting.add(Item(3, call("a")))
    assert waiting.take(0.0) is None
    assert waiting.idle


def test_only_the_lane_that_waits_for_its_time_waits() -> None:
    waiting = filled(call("a"), call("b"), call("a", "l", "track"))
    batch = waiting.take(0.0)
    assert batch is not None
    waiting.postpone(batch[:1], 5.0)
    waiting.done({"b"})
    assert waiting.take(4.9) is None
    assert 5.0 == waiting.next_due()
    assert [0] == refs(waiting.take(5.0))


def test_a_lane_put_off_twice_waits_for_the_later_time_and_keeps_its_order() -> None:
    waiting = filled(call("a"), call("a", "l"), call("a", "m"), call("a", "n", "track"))
    batch = waiting.take(0.0) or []
    assert [0, 1, 2] == refs(batch)
    waiting.postpone([batch[0], batch[2]], 5.0)
    waiting.postpone([batch[1]], 7.0)
    assert waiting.idle
    assert 4 == waiting.waiting
    assert 7.0 == waiting.next_due()
    assert waiting.take(6.0) is None
    assert [0, 1, 2] == refs(waiting.take(7.0))
    assert waiting.take(8.0) is None, "the lane is busy"


def test_a_lane_that_was_closed_is_not_put_off() -> None:
    waiting = filled(call("a"), call("a", "l"))
    batch = waiting.take(0.0) or []
    waiting.postpone(batch[:1], 5.0)
    waiting.close(["a"])
    waiting.postpone(batch[1:], 5.0)
    assert (True, None, 0) == (waiting.idle, waiting.next_due(), waiting.waiting)


def spelt(profile: str, name: str, value: object) -> Call:
    return Call(profile, "identify", Identifier("email", name), "k", value, 0)


def test_two_spellings_of_one_identifier_do_not_carry_two_values_in_one_batch() -> None:
    folding = Lanes(lambda call: "", lambda call: call.identifier.id.lower(), lambda route: FOUR)
    calls = [spelt("a", "Ana@x.io", 1), spelt("b", "ana@x.io", 2), spelt("c", "ANA@x.io", 1), spelt("d", "d@x.io", 2)]
    for ref, each in enumerate(calls):
        folding.add(Item(ref, each))
    assert [0, 2, 3] == refs(folding.take(0.0))
    assert [1] == refs(folding.take(0.0))
    assert 1 == folding.shared


def test_halves_keep_what_is_one_object_together() -> None:
    items = [Item(n, call(profile, key)) for n, (profile, key) in enumerate([("a", "k"), ("b", "k"), ("a", "l")])]
    assert ([0, 2], [1]) == tuple(refs(half) for half in halves(items, unit))
