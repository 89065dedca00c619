"""Conditions, strategies and options of a workspace, in words for people."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.workspace import Strategy, Sync
from transforms.logic.where import HAS, NOT

_SHOWN = 5  # values of a condition


def conditions(where: Mapping[str, Any], kinds: Mapping[str, str]) -> str:
    """`country is DE or AT, plan is not free`. `kinds` of computations, by key."""
    return ", ".join(_condition(key, given, kinds.get(key) == "audience") for key, given in where.items())


def _condition(key: str, given: Any, audience: bool) -> str:
    refused = isinstance(given, Mapping)
    values = given[NOT] if refused else given
    values = values if isinstance(values, list | tuple) else [values]
    if key == HAS:
        return f"has {' and '.join(values)}"
    if audience:
        return f"not in {key}" if refused else f"in {key}"
    if values == [None]:
        return f"{key} is known" if refused else f"{key} is not known"
    words = [_value(value) for value in values[:_SHOWN]]
    if len(values) > _SHOWN:
        words.append(f"{len(values) - _SHOWN} more")
    if refused:
        return f"{key} is neither {' nor '.join(words)}" if len(words) > 1 else f"{key} is not {words[0]}"
    return f"{key} is {' or '.join(words)}"


def _value(value: Any) -> str:
    if value is None:
        return "not known"
    plain = isinstance(value, str) and value.isprintable() and value.strip("0123456789.-") and value == value.strip()
    return value if plain and value not in ("true", "false", "null") else json.dumps(value, ensure_ascii=False)


_STRATEGIES: dict[Strategy, tuple[str, str]] = {  # of one type, of several
    "all": ("every {}", "every {}"),
    "first": ("only the first {}", "only the first {}"),
    "last": ("only the last {}", "only the last {}"),
    "attach": ("{} goes along", "{} go along"),
    "none": ("no {}", "no {}"),
}


def strategies(given: Mapping[str, Strategy], besides: Mapping[str, Strategy] = {}) -> str:
    """`only the last email; no phone`: what is given, where it says something else than what is there `besides`."""
    words = []
    for strategy, (one, several) in _STRATEGIES.items():
        kinds = [kind for kind, s in given.items() if s == strategy and s != besides.get(kind, "all")]
        if kinds:
            words.append((several if len(kinds) > 1 else one).format(_all(kinds)))
    return "; ".join(words)


def _all(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def options(sync: Sync, besides: Mapping[str, Strategy], kinds: Mapping[str, str]) -> Iterator[str]:
    """A line for each thing that is not as everywhere. `besides`: the connection's strategies."""
    if sync.send_as != sync.computation:
        yield f"called {sync.send_as} there" + (f", before: {sync.send_as_was}" if sync.send_as_was else "")
    elif sync.send_as_was:
        yield f"was called {sync.send_as_was} there"
    if sync.where:
        yield f"only if {conditions(sync.where, kinds)}"
    if told := strategies(sync.identifiers, besides):
        yield f"identifiers: {told}"
    if sync.enrich:
        yield f"with {', '.join(sync.enrich)}"
    if not sync.historical:
        yield "no historical data"
    if not sync.resync_on_new_identifier:
        yield "a new identifier waits for the next change"


def plain_traits(where: Sequence[Mapping[str, Any]], enrich: Sequence[str], kinds: Mapping[str, str]) -> list[str]:
    """The names that are taken as those of plain traits, since no computation is called so."""
    names = [name for each in where for name in each if name != HAS]
    return sorted({name for name in (*names, *enrich) if name not in kinds})
