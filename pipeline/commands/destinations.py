"""`profilecast destinations`: what each destination is, from its own declaration."""

import argparse
import sys
from typing import get_type_hints

from msgspec.structs import FieldInfo
from msgspec.structs import fields as fields_of

from pipeline.commands.output import Row, counted, lasting, listed, show_table
from pipeline.first_workspace import default
from pipeline.problems import closest, shown
from pipeline.workspace import ANY_IDENTIFIER, cap_of
from pipeline.yaml_reader import described, in_words
from transforms.destinations import catalogue, find
from transforms.destinations.contract import Destination
from transforms.logic.caps import per


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("slug", nargs="?", help="tell everything about this destination")


def run(args: argparse.Namespace) -> int:
    if args.slug is None:
        _show_all(list(catalogue().values()))
        return 0
    destination = find(args.slug)
    if destination:
        _show(destination)
        return 0
    print(f"profilecast: {unknown(args.slug)}", file=sys.stderr)
    return 1


def unknown(slug: str) -> str:
    """What to say of a slug that is none."""
    known = list(catalogue())
    meant = closest(slug, known)
    hint = f"did you mean {meant}?" if meant else f"known are {listed(known)}"
    return f"there is no destination {shown(slug)}; {hint}"


def identifiers(types: tuple[str, ...]) -> str:
    return "any" if ANY_IDENTIFIER in types else listed(types)


OVERVIEW = ("destination", "kind", "cap", "per request", "identifiers", "requires")


def overview(destination: type[Destination]) -> Row:
    """A destination's row of the table of all."""
    d = destination
    return (d.slug, d.kind, _cap(d), f"{d.batch.items:,}", identifiers(d.identifiers), listed(tuple(d.required)))


def _show_all(destinations: list[type[Destination]]) -> None:
    show_table(OVERVIEW, [overview(destination) for destination in destinations])
    print(f"\n{counted(len(destinations), 'destination')}. Everything about one: profilecast destinations SLUG")


def _cap(destination: type[Destination]) -> str:
    cap = cap_of(destination)
    return per(cap.requests, cap.seconds) if cap else "none"


def _show(destination: type[Destination]) -> None:
    print(f"{destination.name}: {_ARTICLE[destination.kind]} destination\n{destination.page}\n")
    facts = [
        ("slug", listed((destination.slug, *destination.aliases))),
        ("identifiers", f"{identifiers(destination.identifiers)}{_PRECEDENCE[len(destination.identifiers) > 1]}"),
        ("requires", _required(destination) or "nothing but an identifier"),
        ("per request", f"up to {counted(destination.batch.items, 'object')}, {destination.batch.bytes:,} bytes"),
        ("at once", f"as many requests as the cap needs, up to {destination.concurrency}"),
        ("sends", f"every {lasting(destination.flush_every)}" if destination.flush_every else "as changes come"),
        ("history", "accepted" if destination.history else "not accepted: only values from after a sync was created"),
        (
            "deletions",
            "passed on" if destination.forgets else "no call for it: people stay there until you delete them",
        ),
        ("columns", _COLUMNS[destination.columns_first]),
    ]
    for name, fact in facts:
        print(f"  {name:<12} {fact}")
    print("\nLimits")
    if destination.limits:
        show_table(
            ("requests", "of", "source"),
            [(per(m.requests, m.seconds), m.endpoint or "the connection", m.source or "-") for m in destination.limits],
        )
    else:
        print("  No cap of its own; a connection may have one: `cap: 50/s`.")
    print("\nSettings")
    hints = get_type_hints(destination.Settings, include_extras=True)
    for field in fields_of(destination.Settings):
        annotation = hints[field.name]
        print(f"  {field.encode_name} ({in_words(annotation)}; {_default(field)})")
        if described(annotation):
            print(f"      {described(annotation)}")


_ARTICLE = {"event": "an event", "list": "a list"}
_PRECEDENCE = {True: ", in this order of precedence", False: ""}
_COLUMNS = {True: "to be set up by hand before the first sync", False: "need no setting up"}


def _default(field: FieldInfo) -> str:
    """`required`, `optional`, or the default as the file would say it."""
    if field.required:
        return "required"
    value = default(field)
    if isinstance(value, bool):
        return f"default {str(value).lower()}"
    return "optional" if value is None or value in ("", (), [], {}) else f"default {value}"


def _required(destination: type[Destination]) -> str:
    """`name, filled from name, or first_name and last_name`."""
    return "; ".join(
        f"{key}, filled from {', or '.join(' and '.join(map(_trait, traits)) for traits in ways)}"
        for key, ways in destination.required.items()
    )


def _trait(name: str) -> str:
    return "the local part of the e-mail address" if name == "email:local" else name
