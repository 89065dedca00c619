"""The workspace's `on_trouble`: who hears of a connection in trouble."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec import UNSET

from pipeline.problems import Problem
from pipeline.yaml_reader import Reader, Special, Spot
from schemas.workspace import UNITS, OnTrouble
from schemas.workspace_schema import DURATION, REFERENCE

WAYS = ("webhook", "slack", "command")
_FORMS = "write one of `webhook: URL`, `slack: ${NAME}` and `command: [program, argument]`"


def read_on_trouble(reader: Reader, spot: Spot) -> Any:
    """The items, or UNSET where one is wrong."""
    found = [_item(reader, each) for each in reader.items(spot)]
    return UNSET if UNSET in found else tuple(found)


def _item(reader: Reader, spot: Spot) -> Any:
    before = len(reader.problems)
    special: Special = {"webhook": lambda at: _webhook(reader, at), "after": lambda at: _after(reader, at)}
    values, spots = reader.record(spot, OnTrouble, special)
    given = [way for way in WAYS if way in spots]
    if len(given) > 1:
        reader.note(spots[given[1]], f"stands beside `{given[0]}`; give each an item of its own")
    elif len(reader.problems) == before and not any(values[way] for way in given):
        reader.note(spot, f"tells nobody; {_FORMS}")
    return OnTrouble(**values) if len(reader.problems) == before else UNSET


def _webhook(reader: Reader, spot: Spot) -> Any:
    text = reader.value(spot, str)
    if text is UNSET or is_address(re.sub(REFERENCE, "x", text)) or re.fullmatch(REFERENCE, text):
        return text
    return reader.note(spot, "should be the address of an http or https server, or the ${NAME} of a variable with it")


def is_address(text: str) -> bool:
    """Whether it is a URL that can be posted to."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _after(reader: Reader, spot: Spot) -> Any:
    match = re.fullmatch(DURATION, spot.text.strip())
    if match and float(match[1]) > 0:
        return float(match[1]) * UNITS[match[2]]
    return reader.note(spot, "should be a time like 90s, 10m or 2h", spot.text)


def variables_of(item: OnTrouble) -> list[str]:
    """The environment variables that its secrets are in."""
    return [*re.findall(r"\$\{(\w+)\}", item.webhook), *([item.slack.variable] if item.slack else [])]


def missing_variables(items: tuple[OnTrouble, ...], file: str, environment: Mapping[str, str]) -> Iterator[Problem]:
    """One problem for each variable that is not set or empty, and for each address that is none."""
    for i, item in enumerate(items):
        where, names = f"on_trouble[{i}].{way_of(item)}", variables_of(item)
        missing = [name for name in names if not environment.get(name)]
        for name in missing:
            yield Problem(file, None, where, None, f"on_trouble needs the environment variable {name}")
        if names and not missing and not is_address(address_of(item, environment)):
            words = f"with {', '.join(names)} of the environment, it is not the address of an http or https server"
            yield Problem(file, None, where, None, words)


def way_of(item: OnTrouble) -> str:
    """`webhook`, `slack` or `command`."""
    return next(way for way in WAYS if getattr(item, way))


def address_of(item: OnTrouble, environment: Mapping[str, str]) -> str:
    """Where it is posted to, with its secrets: to be used at once, and shown to nobody. Raises KeyError."""
    template = repr(item.slack) if item.slack else item.webhook
    return re.sub(r"\$\{(\w+)\}", lambda match: environment[match[1]], template)


__all__ = ["address_of", "is_address", "missing_variables", "read_on_trouble", "variables_of", "way_of"]
