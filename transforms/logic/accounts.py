"""Accounts: an account is folded as a profile is, and its members are told what they need to know of it.

    events, receipts ─ fold_account ─┬─ calls
                                     └─ news for its parts ─ fold_part ─ facts for members

No cell holds all members: they are in parts, by a hash of their profile ids. `docs/decisions/0010-accounts.md`.
"""

from collections.abc import Iterator
from zlib import crc32

from msgspec import Struct, field

from schemas.events import AccountMember
from schemas.facts import MemberFact
from schemas.state import AccountState, Known, Part, account_key
from transforms.logic.detect import Fact, micros, same, wins
from transforms.logic.fold import Facts, Folded, fold
from transforms.logic.plan import ACCOUNT, Plan

PARTS = 64


class PartNews(Struct, array_like=True):
    """What is new for one part of an account."""

    members: list[tuple[str, int, bool]] = field(default_factory=list)  # profile, since when, member or not
    values: dict[int, Fact] = {}
    left: list[tuple[str, int]] = []  # profiles that were deleted, and when


def part_of(profile_id: str) -> int:
    """The part of an account that a member is in."""
    return crc32(profile_id.encode()) % PARTS


def fold_account(
    account_id: str, state: AccountState, facts: Facts, plan: Plan, asks: Iterator[int]
) -> tuple[Folded, dict[int, PartNews]]:
    """The decision about one account, whose state is changed in place; and what is new for its parts."""
    known = state.known
    if not known.ids:
        known.ids.append(Known(ACCOUNT, account_id, 0, 0))
    before = [known.values.get(number) for number, _ in plan.joined]
    memberships = [event for event in facts.events if type(event) is AccountMember]
    own = [event for event in facts.events if type(event) is not AccountMember] if memberships else facts.events
    assert plan.accounts
    about = Facts(own, facts.receipts, facts.retries, tick=facts.tick, refresh=facts.refresh)
    folded = fold(account_key(account_id), known, about, plan.accounts, asks)
    values = {number: known.values[number] for number, _ in plan.joined if number in known.values}
    changed = {
        number: values[number]
        for (number, _), was in zip(plan.joined, before, strict=True)
        if number in values and (was is None or was[0] != values[number][0] or not same(was[1], values[number][1]))
    }
    return folded, _news(state, memberships, values, values if facts.tick else changed)


def _news(
    state: AccountState, memberships: list[AccountMember], values: dict[int, Fact], changed: dict[int, Fact]
) -> dict[int, PartNews]:
    """A part that has nobody yet is told all values with its first member; the others what changed."""
    news: dict[int, PartNews] = {}
    if changed:
        news = {part: PartNews(values=changed) for part in range(PARTS) if state.parts >> part & 1}
    for event in memberships:
        part = part_of(event.profile_id)
        if not state.parts >> part & 1:
            state.parts |= 1 << part
            news[part] = PartNews(values=values)
        told = news.setdefault(part, PartNews())
        told.members.append((event.profile_id, micros(event.at), event.member))
    return news


def fold_part(account_id: str, part: Part, news: PartNews) -> tuple[int, dict[str, MemberFact]]:
    """Take in what is new; how many of the memberships were, and what that says to whom.

    Who joins hears all values, who is a member those that are new, who leaves that much. What is heard twice, or in
    another order, leaves the same.
    """
    fresh = {n: fact for n, fact in news.values.items() if n not in part.values or wins(fact, part.values[n])}
    if fresh:
        part.values = part.values | fresh
    applied, moved = 0, set[str]()
    for profile_id, at, member in news.members:
        known = part.members.get(profile_id)
        if known is None or wins((at, member), known):
            applied += known is None or known[1] is not member
            part.members[profile_id] = (at, member)
            moved.add(profile_id)
    for profile_id, deleted in news.left:
        if profile_id in part.members and part.members[profile_id][0] <= deleted:
            del part.members[profile_id]
            moved.discard(profile_id)
    told = part.members if fresh else moved
    out = {}
    for profile_id in told:
        at, member = part.members[profile_id]
        if member or profile_id in moved:
            values = {} if not member else part.values if profile_id in moved else fresh
            out[profile_id] = MemberFact(account_id, at, member, values)
    return applied, out
