"""Blame: whether a refusal with 401, 403, 404, 405 or 410 is the record's fault or the connection's.

    ana ─ ok                                             a refused call is set aside, unsettled, until it is known:
    bob ─ 404 ─ ─ ─ ─ ─ ┐                                somebody sent after it succeeds: it is its record's;
    eve ────────────────┴ ok: bob's record               ENOUGH different people are refused, and nobody succeeds
    dan, ivo, joe, kim, lea ─ 401: the connection        any more: it is the connection's, and nobody is rejected

Evidence is kept by scope (a route: contacts, events, one list), for a vendor may allow one and not the other.
"""

from collections.abc import Container, Hashable
from dataclasses import dataclass, field
from math import ceil, inf, log
from typing import Literal, NamedTuple

from schemas.outcomes import Blocked

ENOUGH = 5  # different people refused in a row
_MOST = 50  # of them, where many records are refused each for itself
_CHANCE = 1e-7  # that so many of those come in a row


class Refusal(NamedTuple):
    """One request that the vendor refused, after credentials were renewed where they can be."""

    calls: tuple[int, ...]
    subjects: frozenset[str]
    meaning: Literal["credentials", "refused"]
    sent: float  # when it left
    at: float  # when the answer came
    words: str = ""
    page: bool = False  # the answer is a page for people: a firewall's
    units: int = 1
    split: bool = False  # it was split, and is nothing in it: `Splitting.verdict`


@dataclass
class _Evidence:
    """What the vendor answered in one scope."""

    successes: int = 0
    newest: float = -inf  # when the latest request left that was a success
    records: int = 0  # refusals that were the record's
    row: int = 0  # requests refused since the last success, each of somebody new
    people: set[str] = field(default_factory=set)  # in the row
    suspects: list[Refusal] = field(default_factory=list)

    @property
    def enough(self) -> bool:
        """Whether the row is too long for chance, given how often records are refused."""
        share = self.records / (self.records + self.successes + 1)
        needed = min(_MOST, max(ENOUGH, ceil(log(_CHANCE) / log(share)))) if self.records else ENOUGH
        return self.row >= needed


class Blame:
    """Weighs the refusals of one connection.

    `known`: scopes in which the vendor account acknowledged something before.

    A verdict `stop` needs no weighing. A refusal of several units that is the record's is split
    (`transforms.logic.splitting`) to find whose: each unit that is refused alone is told as a refusal of its own,
    or all of it once more as `split`.
    """

    def __init__(self, known: Container[str] = ()) -> None:
        self._known = known
        self._scopes: dict[str, _Evidence] = {}

    def refused(self, refusal: Refusal, scope: str = "") -> Literal["record", "suspect"]:
        """Whose fault it seems. The calls of a suspect wait, and their lanes with them; ask `stands` after this."""
        evidence = self._scopes.setdefault(scope, _Evidence())
        if refusal.split or not refusal.subjects <= evidence.people:
            evidence.row += _MOST if refusal.split else 1
            evidence.people |= refusal.subjects
        if _cleared(refusal, evidence.newest):
            evidence.records += 1
            return "record"
        evidence.suspects.append(refusal)
        return "suspect"

    def succeeded(self, sent: float, scope: str = "") -> list[Refusal]:
        """The vendor took a request that left at `sent`. Returns the suspects that this clears: each is its record's.

        A suspect of `credentials` is cleared only by a request that left after its answer, for the credentials may
        have ended between the two.
        """
        evidence = self._scopes.setdefault(scope, _Evidence())
        evidence.successes += 1
        evidence.newest = max(evidence.newest, sent)
        evidence.row, evidence.people = 0, set()
        if not evidence.suspects:
            return []
        cleared = [each for each in evidence.suspects if _cleared(each, sent)]
        evidence.suspects = [each for each in evidence.suspects if each not in cleared]
        evidence.records += len(cleared)
        return cleared

    def stands(self, out: int, scope: str = "") -> Literal["goes", "holds", "splits", "scope", "connection"]:
        """What to do while `out` requests have no answer yet.

        `holds`: nothing new is sent until what is out is answered. `splits`: that, and `to_split` is split, for
        there may be somebody bad in each batch. `scope`, `connection`: it is the fault of that; its suspects wait
        with all its other calls, and nobody is rejected.
        """
        evidence = self._scopes.get(scope)
        if evidence is None or not evidence.enough:
            return "goes"
        if out:
            return "holds"
        if _to_split(evidence) is not None:
            return "splits"
        elsewhere = any(other.successes for name, other in self._scopes.items() if name != scope)
        who = any(each.meaning == "credentials" for each in evidence.suspects)
        return "scope" if elsewhere and not who else "connection"

    def to_split(self, scope: str = "") -> Refusal:
        """Take one of the suspects out, to be split. Raises ValueError where there is none to split."""
        evidence = self._scopes[scope]
        refusal = _to_split(evidence)
        if refusal is None:
            raise ValueError("there is nothing to split")
        evidence.suspects.remove(refusal)
        return refusal

    def ended(self) -> tuple[list[Refusal], list[Refusal]]:
        """Judge what is left when nothing more can be sent and nothing is out: the record's own, and those that wait.

        Batches that are split then may bring more: ask again. What waits stops the connection, if nobody succeeded.
        """
        records: list[Refusal] = []
        waiting: list[Refusal] = []
        for scope, evidence in self._scopes.items():
            known = evidence.successes > 0 or scope in self._known
            for each in evidence.suspects:
                own = not evidence.enough and self._own(each, evidence, known)
                evidence.records += own
                (records if own else waiting).append(each)
            evidence.suspects = []
        return records, waiting

    def _own(self, refusal: Refusal, evidence: _Evidence, known: bool) -> bool:
        if refusal.split:
            return False
        if refusal.meaning == "credentials":
            return refusal.sent <= evidence.newest
        return refusal.units > 1 or (known and (evidence.successes > 0 or not refusal.page))


def _cleared(refusal: Refusal, success: float) -> bool:
    """Whether a request that left at `success`, and was taken, shows that the refusal is its record's."""
    return not refusal.split and (refusal.sent if refusal.meaning == "refused" else refusal.at) <= success


def _to_split(evidence: _Evidence) -> Refusal | None:
    if any(each.meaning == "credentials" or each.split for each in evidence.suspects):
        return None
    return next((each for each in evidence.suspects if each.units > 1), None)


class Keys:
    """Keys (a list, a field) of which the vendor lacks or refuses what their calls need: these wait, nobody else."""

    def __init__(self) -> None:
        self.waiting: dict[Hashable, str] = {}  # the words
        self._prepared: dict[Hashable, float] = {}  # once more, when; inf: that is under way

    def blocked(
        self, key: Hashable, blocked: Blocked, sent: float, sampled: bool = False
    ) -> Literal["prepare", "again", "wait"]:
        """What to do with a blocked call of a request that left at `sent`: `prepare` its key, try `again`, `wait`.

        `sampled`: the key was prepared with this call as the sample. Where nothing was lost, another call may need more
        than the samples before it did: the key is prepared with that one, too.
        """
        if blocked.prepare and key not in self.waiting:
            last = self._prepared.get(key)
            if last is not None and sent < last:
                return "again"
            if last is None or not (blocked.lost or sampled):
                self._prepared[key] = inf
                return "prepare"
        self.waiting[key] = blocked.words
        return "wait"

    def prepared(self, key: Hashable, now: float) -> None:
        """The key was prepared again."""
        self._prepared[key] = now

    def delivered(self, key: Hashable) -> None:
        """The vendor took a call of the key. If it loses the key later, the key may be prepared again."""
        if self._prepared.get(key, inf) < inf:
            del self._prepared[key]
