"""How long a connection's changes wait."""

import time
from pathlib import Path

from pipeline.sent import oldest_live
from transforms.destinations import find
from transforms.logic.plan import ConnectionPlan


def oldest_change(folder: Path, plan: ConnectionPlan, destination: str) -> float:
    """Seconds since the oldest change that waits could have gone; 0: none waits.

    A change is what an event or a receipt asks for: what a changed workspace asks for takes as long as it takes. What
    goes to a list has until its next flush.
    """
    every = _flushed(plan, destination)
    among = {f"c.slot NOT IN ({_listed(list(every))})": 0.0}
    for seconds in set(every.values()):
        among[f"c.slot IN ({_listed([slot for slot, each in every.items() if each == seconds])})"] = seconds
    asked = oldest_live(folder, plan.name, plan.number, among)
    now = time.time()
    due = (at + seconds for at, seconds in zip(asked, among.values(), strict=True) if at)
    return max((now - at for at in due if at < now), default=0.0)


def _flushed(plan: ConnectionPlan, destination: str) -> dict[int, float]:
    """Slots that are flushed, with the seconds between flushes."""
    kind = find(destination)
    forms = [form for sync in (*plan.syncs, *plan.groups) for form in sync.forms]
    return {form.slot: kind.flush_every[form.form] for form in forms if kind and form.form in kind.flush_every}


def _listed(slots: list[int]) -> str:
    return ",".join(map(str, slots)) or "0"
