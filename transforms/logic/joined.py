"""Joined: what the accounts of a person say, and what that means for the person.

account ─ member since when, values ─┐
account ─ member since when, values ─┼─ join ─ one value for each computation, in the place of a person's own
account ─ none since when, values ───┘
"""

from collections.abc import Iterator, Sequence

from schemas.facts import MemberFact
from schemas.state import Membership, ProfileState
from transforms.logic.detect import Changes, Fact, same, wins
from transforms.logic.plan import Plan


def hear_accounts(state: ProfileState, facts: Sequence[MemberFact], plan: Plan) -> tuple[list[str], Changes]:
    """Take in what accounts say, and write the joined values. To be called whenever the profile knows of an account.

    Returns accounts that still hold a membership from before the profile's deletion, and the changes of tracked
    computations.
    """
    left = _forget_old(state)
    for fact in facts:
        if state.deleted is not None and fact.at <= state.deleted:
            left.append(fact.account)
        else:
            _hear(state, fact)
    return left, _join(state, plan)


def belonging(state: ProfileState) -> Fact | None:
    """To which accounts a person belongs, and to which no more; None: nobody ever said."""
    if not state.accounts:
        return None
    value = {account: each.member for account, each in sorted(state.accounts.items())}
    return max(each.at for each in state.accounts.values()), value


def _forget_old(state: ProfileState) -> list[str]:
    if state.deleted is None or not state.accounts:
        return []
    old = [account for account, each in state.accounts.items() if each.at <= state.deleted]
    state.accounts = {account: each for account, each in state.accounts.items() if account not in old}
    return old


def _hear(state: ProfileState, fact: MemberFact) -> None:
    """The values of an account that the person left are forgotten: who joins again hears all of them again."""
    known = state.accounts.get(fact.account)
    if known is None:
        known = Membership(fact.at, fact.member)
        state.accounts = state.accounts | {fact.account: known}
    elif wins((fact.at, fact.member), known.fact):
        known.at, known.member = fact.at, fact.member
    if not known.member:
        known.values = {}
        return
    news = {n: new for n, new in fact.values.items() if n not in known.values or wins(new, known.values[n])}
    if news:
        known.values = known.values | news


def _join(state: ProfileState, plan: Plan) -> Changes:
    changes: Changes = {}
    for number, audience in plan.joined:
        known = state.values.get(number)
        value = _in_any(state, number) if audience else _latest(state, number)
        if value is None:
            state.values.pop(number, None)
        else:
            state.values[number] = value
            if number in plan.tracked and (known is None or not same(known[1], value[1])):
                changes[number] = [value]
    return changes


def _inside(state: ProfileState, number: int) -> Iterator[tuple[Fact, int]]:
    """The values of accounts that the person is a member of, each with the time since when it is the person's too."""
    for each in state.accounts.values():
        if number in each.values:
            yield each.values[number], max(each.values[number][0], each.at)


def _left(state: ProfileState) -> Iterator[int]:
    return (each.at for each in state.accounts.values() if not each.member)


def _in_any(state: ProfileState, number: int) -> Fact | None:
    """Of an audience: in while an account is in and the person is its member; None: nobody ever said."""
    inside = [*_inside(state, number)]
    among = [at for fact, at in inside if fact[1] is True]
    if among:
        return max(among), True
    outside = [*_left(state), *(at for _, at in inside)]
    return (max(outside), False) if outside else None


def _latest(state: ProfileState, number: int) -> Fact | None:
    """Of a trait: the latest value of an account that the person is a member of; null behind the last of them."""
    best: tuple[Fact, int] | None = None
    for fact, at in _inside(state, number):
        if best is None or wins(fact, best[0]) or (not wins(best[0], fact) and at > best[1]):
            best = fact, at
    if best is not None:
        return best[1], best[0][1]
    return max(((at, None) for at in _left(state)), default=None)
