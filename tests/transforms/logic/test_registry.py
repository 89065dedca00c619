"""The registry: what is remembered of connections and syncs, and what is said of their changes."""

import pytest

from schemas.registry import Registry
from schemas.workspace import Connection, Sync, Workspace
from tests.transforms.logic.histories import SCORE, VIP
from tests.transforms.logic.vendors import Settings, vendors_of
from transforms.logic.plan import make_plan
from transforms.logic.registry import Notice, enter

SYNCS = (Sync("vip", forms=("identify",)),)


def shop(*connections: Connection) -> Workspace:
    return Workspace("shop", (SCORE, VIP), connections)


def mailer(name: str = "mailer", syncs: tuple[Sync, ...] = SYNCS, was: str = "", account: str = "shop") -> Connection:
    return Connection(name, "mailer", syncs, Settings(account=account), was=was)


def entered(*workspaces: Workspace) -> tuple[Registry, list[Notice]]:
    """After these, an hour after another."""
    registry, notices = Registry(), list[Notice]()
    for number, workspace in enumerate(workspaces, 1):
        registry, notices = enter(registry, workspace, vendors_of(workspace), number)
    return registry, notices


def test_the_same_workspace_again_changes_nothing() -> None:
    once, again = entered(shop(mailer())), entered(shop(mailer()), shop(mailer()))
    assert once == again


def test_a_rename_is_done_once() -> None:
    registry, notices = entered(shop(mailer()), shop(mailer("post", was="mailer")), shop(mailer("post", was="mailer")))
    assert (1, True, []) == (registry.syncs["post/vip"].epoch, registry.syncs["post/vip"].present, notices)
    assert ["post"] == registry.connections


def test_a_connection_that_is_known_takes_nothing_over() -> None:
    both = shop(mailer(), mailer("post"))
    merged = shop(mailer("post", was="mailer"))
    registry, _ = entered(both, merged, merged, merged)
    assert (1, True) == (registry.syncs["post/vip"].epoch, registry.syncs["post/vip"].present)
    assert not registry.syncs["mailer/vip"].present


def test_numbers_stay_whatever_goes_and_comes() -> None:
    first, _ = entered(shop(mailer()))
    later, _ = entered(shop(mailer()), shop(), shop(mailer("post"), mailer()))
    assert first.slots == later.slots[: len(first.slots)]
    assert ["mailer", "post"] == later.connections


def test_another_account_a_name_and_another_computation_are_said_before_they_tell_many_people_something() -> None:
    for changed in (
        mailer(account="other"),
        mailer(syncs=(Sync("vip", forms=("identify",), send_as="gold"),)),
        mailer(syncs=(Sync("score", name="vip", forms=("identify",)),)),
    ):
        _, notices = entered(shop(mailer()), shop(changed))
        assert [True] == [notice.grave for notice in notices]


@pytest.mark.parametrize("between", [(), (shop(),)], ids=["at once", "after a while"])
class TestTheSameAccountUnderAnotherName:
    def test_it_is_said_before_everybody_is_told_again(self, between: tuple[Workspace, ...]) -> None:
        _, notices = entered(shop(mailer()), *between, shop(mailer("post")))
        [words] = [notice.words for notice in notices if notice.grave]
        assert "everybody is told again (renamed? write `was: mailer` beside its new name)" in words

    def test_with_was_it_goes_on(self, between: tuple[Workspace, ...]) -> None:
        registry, notices = entered(shop(mailer()), *between, shop(mailer("post", was="mailer")))
        assert not [notice for notice in notices if notice.grave]
        assert ["post"] == registry.connections
        assert {"post"} == {slot.connection for slot in registry.slots}

    def test_a_sync_that_moves_to_another_connection_is_said(self, between: tuple[Workspace, ...]) -> None:
        moved = shop(mailer(syncs=()), mailer("post"))
        _, notices = entered(shop(mailer(), mailer("post", syncs=())), *between, moved)
        [words] = [notice.words for notice in notices if notice.grave]
        assert "everybody is told again" in words
        assert "write `was" not in words

    def test_a_sync_with_another_name_alone_goes_on(self, between: tuple[Workspace, ...]) -> None:
        named = mailer(syncs=(Sync("vip", name="golden", forms=("identify",)),))
        registry, notices = entered(shop(mailer()), *between, shop(named))
        assert ["mailer/golden was mailer/vip: what was told under that name counts"] == [
            notice.words for notice in notices
        ]
        assert 1 + len(between) == registry.syncs["mailer/golden"].epoch
        assert ["golden"] == [slot.sync for slot in registry.slots if slot.sync]
        assert ["mailer/golden"] == [*registry.syncs]


def test_another_account_under_another_name_is_nobodys_old_one() -> None:
    _, notices = entered(shop(mailer()), shop(mailer("post", account="other")))
    assert [False] == [notice.grave for notice in notices]


def test_two_connections_of_one_account_are_meant() -> None:
    _, notices = entered(shop(mailer()), shop(mailer(), mailer("post")))
    assert [] == notices


def test_what_is_only_renamed_at_the_vendor_is_not_grave() -> None:
    renamed = mailer(syncs=(Sync("vip", forms=("identify",), send_as="gold", send_as_was="vip"),))
    registry, notices = entered(shop(mailer()), shop(renamed), shop(renamed))
    assert ([], 2) == (notices, registry.syncs["mailer/vip"].epoch)


def test_a_removed_sync_keeps_its_slots_and_comes_back_later_than_it_was_made() -> None:
    registry, _ = entered(shop(mailer()), shop(mailer(syncs=())), shop(mailer()))
    record = registry.syncs["mailer/vip"]
    assert (1, 3, 2) == (record.created, record.since, record.epoch)
    assert 2 == len(registry.slots)


def test_what_was_made_again_at_the_vendor_has_a_slot_of_its_own() -> None:
    workspace = shop(mailer())
    vendors = vendors_of(workspace)
    registry, _ = enter(Registry(), workspace, vendors, 1)
    remade = {"mailer/identify/vip": 7.5}
    again, notices = enter(registry, workspace, vendors, 2, remade)
    assert ["mailer: the field `vip` was gone at the vendor and was made again: everybody is told it once more"] == [
        notice.words for notice in notices
    ]
    assert registry.slots == again.slots[: len(registry.slots)]
    assert 1 == len(again.slots) - len(registry.slots)
    plans = [make_plan(workspace, vendors, each, 2) for each in (registry, again)]
    assert plans[0].digest() != plans[1].digest(), "everybody is looked at"
    assert (again, []) == enter(again, workspace, vendors, 3, remade)
    renamed = shop(mailer("post", was="mailer"))
    later, _ = enter(again, renamed, vendors_of(renamed), 4, {"post/identify/vip": 7.5})
    assert len(again.slots) == len(later.slots)


def test_what_was_made_again_stays_so_under_another_key() -> None:
    workspace = shop(mailer())
    registry, _ = enter(Registry(), workspace, vendors_of(workspace), 1)
    remade = {"mailer/identify/vip": 7.5}
    again, _ = enter(registry, workspace, vendors_of(workspace), 2, remade)
    renamed = shop(mailer(syncs=(Sync("vip", forms=("identify",), send_as="gold", send_as_was="vip"),)))
    later, notices = enter(again, renamed, vendors_of(renamed), 3, remade)
    assert ([], len(again.slots)) == (notices, len(later.slots)), "nobody is told again"


@pytest.mark.parametrize(
    ("more", "alone"),
    [
        ((), True),
        ((("post", "vip"),), False),
        ((("post", "gold"),), True),
    ],
    ids=["alone", "another connection keeps it", "another connection keeps another one"],
)
def test_a_refresh_may_empty_a_list_that_no_other_sync_keeps(more: tuple[tuple[str, str], ...], alone: bool) -> None:
    others = [mailer(name, syncs=(Sync("vip", forms=("list",), send_as=key),)) for name, key in more]
    workspace = shop(mailer(syncs=(Sync("vip", forms=("list",)),)), *others)
    registry, _ = enter(Registry(), workspace, vendors_of(workspace), 1)
    again, _ = enter(registry, workspace, vendors_of(workspace), 7, refresh=["mailer/vip"])
    assert alone == (7 == again.syncs["mailer/vip"].refreshed)
    renamed = shop(mailer(syncs=(Sync("vip", forms=("list",), send_as="vips", send_as_was="vip"),)), *others)
    later, _ = enter(again, renamed, vendors_of(renamed), 8)
    assert 0 == later.syncs["mailer/vip"].refreshed, "it was of another list"


def test_what_cannot_be_decided_for_now_is_not_refreshed_and_said() -> None:
    workspace = shop(mailer(), mailer("post"))
    vendors = vendors_of(workspace)
    registry, _ = enter(Registry(), workspace, vendors, 1)
    del vendors["post"]
    again, notices = enter(registry, workspace, vendors, 2, refresh=["mailer/vip", "post/vip"])
    assert ["mailer/vip"] == again.refreshing
    assert "post/vip: it is not refreshed now, since nothing can be decided for it" in [each.words for each in notices]
