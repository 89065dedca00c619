"""A plan in words: for whoever has to say yes to it."""

from collections.abc import Iterator, Mapping, Sequence

from pipeline.commands.output import at_least, counted, show_table, show_text
from pipeline.planning import Ahead, Planned, Row
from pipeline.samples import Sample

_Key = tuple[str, str, str, str]  # connection, sync, form, what


def show(planned: Planned) -> None:
    """Print a plan."""
    for text in planned.errors:
        show_text(text)
    if planned.errors:
        show_text("A run would read and send nothing, until that is fixed.")
        return
    _show_notes(planned)
    if planned.rows:
        print()
        show_table(
            ("connection", "sync", "form", "what", "why", "people", "identifiers"), [_row(row) for row in planned.rows]
        )
    print()
    for name, each in planned.connections.items():
        for line in ahead_of(each):
            show_text(f"{name}: {line}")


def _show_notes(planned: Planned) -> None:
    for text in planned.consent:
        show_text(text)
    if planned.consent:
        show_text("A run would do nothing without --accept-changes. With it:")
    for text in planned.notes:
        show_text(text)
    if read := planned.input.get("read"):
        bad = planned.input.get("dead_letters", 0)
        print(
            f"{counted(read, 'event')} read, {planned.input.get('applied', 0):,} say something new, {bad:,} unusable."
        )
    for text in planned.unusable:
        show_text(text, 2)


def _row(row: Row) -> tuple[str, ...]:
    what, form = row.what, "" if row.form == "cancel" else row.form
    return row.connection, row.sync, form, what, row.cause, f"{row.people:,}", f"{row.identifiers:,}"


def ahead_of(each: Ahead) -> Iterator[str]:
    """Sentences about one connection."""
    if each.fault:
        yield f"nothing is decided for it: {each.fault}"
        return
    if not each.to_send:
        yield "nothing to send" + (f"; {each.superseded:,} waiting calls are not needed" if each.superseded else "")
    else:
        again = f" ({each.retries:,} failed before: retry)" if each.retries else ""
        waited = f", {each.waiting:,} of them wait since earlier runs{again}" if each.waiting else ""
        usual = f" (as usual, {each.per_request:.1f} in each)" if each.per_request else ""
        yield (
            f"{counted(each.to_send, 'call')} to send{waited}, in about {counted(each.requests, 'request')}{usual}"
            + (f"; {at_least(each.seconds)} at its cap of {each.cap}" if each.cap else "; it has no cap")
        )
    if each.superseded and each.to_send:
        yield f"{counted(each.superseded, 'call')} cost no request: newer ones take their place"
    if each.lacking:
        yield f"{each.lacking:,} of the new calls lack a key that the vendor requires, and would be rejected"
    if each.rejections >= 0.001 and each.to_send:
        yield f"about {each.rejections:.1%} are usually rejected"
    for sync, due in each.flushes.items():
        yield f"the list {sync} is flushed {f'next at {due}' if due else 'at once'}"


def show_samples(samples: Sequence[Sample]) -> None:
    for each in samples:
        print(f"\n{each.connection}: {each.kind} {each.key}".rstrip())
        for line in filter(None, (each.request, each.body, each.words)):
            print("\n".join(f"  {part}" for part in line.splitlines()))


def show_difference(now: Planned, other: Planned) -> None:
    """Print where two plans differ."""
    _show_notes(other)
    print()
    heads = ("connection", "sync", "form", "what", "now", "with the other")
    if rows := [(*key, f"{one:,}", f"{two:,}") for *key, one, two in differences(now, other)]:
        show_table(heads, rows)
    else:
        print("A run would make the same calls with either.")
    for name in {**now.connections, **other.connections}:
        before, after = (each.connections.get(name, Ahead()) for each in (now, other))
        if before.to_send != after.to_send:
            show_text(f"{name}: {counted(after.to_send, 'call')} to send instead of {before.to_send:,}")


def differences(one: Planned, other: Planned) -> list[tuple[str, str, str, str, int, int]]:
    """Calls by connection, sync, form and what, where two plans have not the same number."""
    mine, theirs = _sums(one.rows), _sums(other.rows)
    pairs = ((*key, mine.get(key, 0), theirs.get(key, 0)) for key in sorted({**mine, **theirs}))
    return [each for each in pairs if each[-2] != each[-1]]


def _sums(rows: Sequence[Row]) -> Mapping[_Key, int]:
    found: dict[_Key, int] = {}
    for row in rows:
        key = row.connection, row.sync, row.form, row.what
        found[key] = found.get(key, 0) + row.identifiers
    return found


def drift(planned: Planned, now: Planned) -> float:
    """The calls that are others now, as a share of those that were planned."""
    changed = sum(abs(one - two) for *_, one, two in differences(planned, now))
    return changed / max(sum(row.identifiers for row in planned.rows), 1)
