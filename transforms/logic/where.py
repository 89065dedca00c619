"""Where: about whom a sync sends anything, as conditions on what is known of a profile.

    where: {marketing_consent: true, country: [DE, AT], plan: {not: free}, has: email}

Each key is a plain trait or a computation; of both under one name it is the computation. The value is what it
must be, a list of what it may be, or under `not` what it must not be. What is not known is null. `has` names types
of identifiers that the person must have. All must hold.
"""

from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct

from schemas.canonical import canonical

HAS, NOT = "has", "not"
_PLAIN = -1


class Condition(Struct, frozen=True, gc=False):
    """One key of a `where`."""

    trait: str
    computation: int  # its number; below zero: the trait is a plain one
    values: tuple[bytes, ...]  # canonical, in order: equal conditions are equal bytes
    refused: bool  # it must be none of the values

    def holds(self, traits: Mapping[str, tuple[int, Any]], values: Mapping[int, tuple[int, Any]]) -> bool:
        return (canonical(self.value(traits, values)) in self.values) is not self.refused

    def value(self, traits: Mapping[str, tuple[int, Any]], values: Mapping[int, tuple[int, Any]]) -> Any:
        fact = traits.get(self.trait) if self.computation < 0 else values.get(self.computation)
        return fact[1] if fact else None


class Where(Struct, frozen=True):
    """A `where`, ready for every profile."""

    conditions: tuple[Condition, ...] = ()
    types: tuple[str, ...] = ()  # of identifiers that the person must have

    def matches(
        self, traits: Mapping[str, tuple[int, Any]], values: Mapping[int, tuple[int, Any]], types: Collection[str]
    ) -> bool:
        """Whether all conditions hold. `traits` by name and `values` by number of the computation, each (at, value)."""
        for wanted in self.types:
            if wanted not in types:
                return False
        return all(condition.holds(traits, values) for condition in self.conditions)

    def failing(
        self, traits: Mapping[str, tuple[int, Any]], values: Mapping[int, tuple[int, Any]], types: Collection[str]
    ) -> list[tuple[str, Any]]:
        """What does not hold: the trait or computation and its value; `has TYPE`, which has none."""
        missing = [(f"{HAS} {wanted}", None) for wanted in self.types if wanted not in types]
        return missing + [
            (each.trait, each.value(traits, values)) for each in self.conditions if not each.holds(traits, values)
        ]


def compiled(where: Mapping[str, Any], computations: Mapping[str, int]) -> Where:
    """Of a `where` as the loader leaves it: computations by key. `computations` are their numbers."""
    conditions = [_condition(trait, given, computations) for trait, given in sorted(where.items()) if trait != HAS]
    return Where(tuple(conditions), tuple(sorted(set(_listed(where.get(HAS, ()))))))


def _condition(trait: str, given: Any, computations: Mapping[str, int]) -> Condition:
    refused = isinstance(given, Mapping)
    values = {canonical(value) for value in _listed(given[NOT] if refused else given)}
    return Condition(trait, computations.get(trait, _PLAIN), tuple(sorted(values)), refused)


def _listed(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, list | tuple) else (given,)
