"""The `where` of a workspace file: conditions with their lines; `transforms.logic.where` evaluates them."""

from typing import Any

import yaml
from msgspec import UNSET

from pipeline.computation_reader import Computations
from pipeline.yaml_reader import Firsts, Reader, Spot, nfc
from transforms.logic.keys import meant_type
from transforms.logic.where import HAS, NOT

_EXPECTED = "expected a value, a list of values, or `{not: …}`"


def read_where(reader: Reader, spot: Spot, computations: Computations) -> Any:
    """Conditions as JSON, computations by their keys; UNSET where one is wrong."""
    entries = reader.mapping(spot)
    if entries is None:
        return UNSET
    found: dict[str, Any] = {}
    first = Firsts(reader.note)
    for written, at in entries.items():
        key = computations.key_or_trait(nfc(written))
        if key == HAS:
            found[key] = _types(reader, at)
        elif key == NOT and isinstance(at.node, yaml.MappingNode):
            found[key] = reader.note(at.at_key(), "belongs to the value, like `plan: {not: free}`")
        elif first.of("condition", key, at.at_key()):
            is_audience = computations.kinds.get(key) == "audience"
            found[key] = _membership(reader, at) if is_audience else _condition(reader, at)
    return UNSET if any(value is UNSET for value in found.values()) else found


def _types(reader: Reader, spot: Spot) -> Any:
    """The types of identifiers that a person must have."""
    before = len(reader.problems)
    found = []
    for at in reader.one_or_more(spot):
        kind = reader.value(at, str)
        if kind is not UNSET and (meant := meant_type(kind)):
            kind = reader.note(at, "is not how this type is written", kind, suggestion=meant)
        found.append(kind)
    if len(reader.problems) > before:
        return UNSET
    return found or reader.note(spot, "is an empty list; expected a type of identifier, like email")


def _condition(reader: Reader, spot: Spot) -> Any:
    if not isinstance(spot.node, yaml.MappingNode):
        return _values(reader, spot)
    entries = reader.mapping(spot) or {}
    if list(entries) != [NOT]:
        return reader.note(spot, _EXPECTED)
    refused = _values(reader, entries[NOT])
    return UNSET if refused is UNSET else {NOT: refused}


def _values(reader: Reader, spot: Spot) -> Any:
    if isinstance(spot.node, yaml.MappingNode):
        return reader.note(spot, "expected a value or a list of values")
    if not isinstance(spot.node, yaml.SequenceNode):
        return reader.json_scalar(spot)
    values = [reader.json_scalar(at) for at in reader.items(spot)]
    if not values:
        return reader.note(spot, "is an empty list; expected at least one value")
    return UNSET if any(value is UNSET for value in values) else values


def _membership(reader: Reader, spot: Spot) -> Any:
    """Who never was in an audience is not in it: `false` is `{not: true}`."""
    before = len(reader.problems)
    condition = _condition(reader, spot)
    if condition is True or condition == {NOT: False}:
        return True
    if condition is False or condition == {NOT: True}:
        return {NOT: True}
    if len(reader.problems) > before:
        return UNSET
    return reader.note(spot, "is about an audience: expected true (in it) or false (not in it)")
