"""`profilecast destinations`: what each destination is, from its own declaration."""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

from msgspec import ValidationError
from msgspec.structs import FieldInfo
from msgspec.structs import fields as fields_of

from pipeline.commands.output import Row, counted, lasting, listed, show_table
from pipeline.first_workspace import default, in_yaml
from pipeline.problems import closest, shown
from pipeline.sync_reader import ANY_IDENTIFIER
from pipeline.workspace import cap_of
from pipeline.yaml_reader import described, in_words
from transforms.destinations import catalogue, find, transcripts
from transforms.destinations.contract import ApiVersion, Destination
from transforms.logic.caps import per


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Lists the destinations, or describes one: its settings, limits, identifiers, and what it can do. "
        "`profilecast destinations test SLUG --transcripts DIR` plays the transcripts of one that you write."
    )
    parser.add_argument("slug", nargs="?", metavar="SLUG", help="describe this destination; `test` to test one")
    parser.add_argument("tested", nargs="?", metavar="SLUG|MODULE:CLASS", help="behind `test`: the one to test")
    parser.add_argument("--transcripts", type=Path, metavar="DIR", help="behind `test`: the folder with its cases")


def run(args: argparse.Namespace) -> int:
    if args.slug == "test" and args.tested and args.transcripts:
        return _test(args.tested, args.transcripts)
    if args.slug == "test" or args.tested or args.transcripts:
        print("profilecast: expected `destinations test SLUG|MODULE:CLASS --transcripts DIR`", file=sys.stderr)
        return 1
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


def identifiers(types: tuple[str, ...], every: str = "any") -> str:
    return every if ANY_IDENTIFIER in types else listed(types)


def _test(named: str, folder: Path) -> int:
    """Play the transcripts of one destination; 1 where it does something else, or a question is not answered."""
    module, _, member = named.partition(":")
    try:
        kind = getattr(import_module(module), member) if member else find(named)
    except (ImportError, AttributeError) as error:
        print(f"profilecast: {named}: {error}; expected MODULE:CLASS, as in acme.profilecast:Acme", file=sys.stderr)
        return 1
    if not (isinstance(kind, type) and issubclass(kind, Destination)):
        print(
            f"profilecast: {unknown(named)}" if kind is None else f"profilecast: {named} is no destination",
            file=sys.stderr,
        )
        return 1
    if not folder.is_dir():
        print(f"profilecast: --transcripts {folder}: there is no such folder", file=sys.stderr)
        return 1
    try:
        played = [(f"{file}: {case.case}", _faults(kind, case)) for file, case in transcripts.cases(kind, folder)]
    except ValueError as error:
        print(f"profilecast: {error}", file=sys.stderr)
        return 1
    questions = transcripts.unanswered(kind, folder)
    for name, faults in played:
        print(f"{'FAILED' if faults else 'ok    '}  {name}")
        for fault in faults:
            print(f"        {fault}")
    for question in questions:
        print(f"OPEN    {question}: write a case, or a reason in {folder / transcripts.WAIVED}")
    failed = sum(bool(faults) for _, faults in played)
    print(f"\n{counted(len(played), 'case')}, {failed} failed, {counted(len(questions), 'question')} open.")
    return int(bool(failed or questions or not played))


def _faults(kind: type[Destination], case: transcripts.Case) -> list[str]:
    before = dict(os.environ)
    os.environ.update(transcripts.variables(case.settings))
    try:
        return transcripts.faults(transcripts.connect(kind, case), case)
    except ValidationError as error:
        return [f"its settings: {error}"]
    finally:
        os.environ.clear()
        os.environ.update(before)


OVERVIEW = ("destination", "forms", "cap", "per request", "identifiers", "requires")


def overview(destination: type[Destination]) -> Row:
    """A destination's row of the table of all."""
    d = destination
    told, required = identifiers(d.identifiers), listed(tuple(d.required))
    return (d.slug, listed(d.forms), cap(d), f"{d.batch.items:,}", told, required)


def _show_all(destinations: list[type[Destination]]) -> None:
    show_table(OVERVIEW, [overview(destination) for destination in destinations])
    print(f"\n{counted(len(destinations), 'destination')}. Everything about one: profilecast destinations SLUG")


def cap(destination: type[Destination]) -> str:
    cap = cap_of(destination)
    return per(cap.requests, cap.seconds) if cap else "none"


def _show(destination: type[Destination]) -> None:
    print(f"{destination.name}\n{destination.page}\n")
    d = destination
    facts = [
        ("slug", listed((d.slug, *d.aliases))),
        ("forms", f"{listed(d.forms)}{'; the first unless a sync says otherwise' if len(d.forms) > 1 else ''}"),
        ("identifiers", identifiers(d.identifiers)),
        ("requires", _required(d) or "nothing but an identifier"),
        ("per request", f"up to {counted(d.batch.items, 'item')}, {d.batch.bytes:,} bytes"),
        ("at once", f"up to {counted(d.concurrency, 'request')}"),
        ("sends", _intervals(d) or "as changes come"),
        ("history", "taken" if d.history else "not taken: only changes after the sync was made"),
        ("deletions", "passed on" if d.forgets else "not possible: delete people there by hand"),
        ("columns", "make them by hand before the first run" if d.columns_first else "nothing to make by hand"),
    ]
    if d.empty is not Destination.empty:
        facts.append(("refresh", "a list is emptied first, so that nobody else stays in it"))
    if d.usable_from:
        facts.append(("small lists", f"are not used: from {d.usable_from:,} members on"))
    if d.remark:
        facts.append(("remark", d.remark))
    if d.api_version:
        facts.append(("api version", _ending(d.api_version)))
    if d.one_record:
        facts.append(("per person", f"one record, if a connection has identifiers: {in_yaml(d.one_record)}"))
    for name, fact in facts:
        print(f"  {name:<12} {fact}")
    print("\nLimits")
    if destination.limits:
        show_table(
            ("requests", "to", "source"),
            [(per(m.requests, m.seconds), m.endpoint or "all together", m.source or "-") for m in destination.limits],
        )
    else:
        print("  No cap of its own; a connection may have one: `cap: 50/s`.")
    print("\nSettings")
    hints = get_type_hints(destination.Settings, include_extras=True)
    for field in fields_of(destination.Settings):
        annotation = hints[field.name]
        print(f"  {field.encode_name} ({in_words(annotation)}; {default_words(field)})")
        if described(annotation):
            print(f"      {described(annotation)}")


def _ending(version: ApiVersion) -> str:
    return f"{version.name}, {f'until {version.ends}' if version.ends else 'its end is not announced'}"


def _intervals(destination: type[Destination]) -> str:
    return "; ".join(f"{form} every {lasting(seconds)}" for form, seconds in destination.flush_every.items())


def default_words(field: FieldInfo) -> str:
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
