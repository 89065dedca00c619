"""Approval: a run is held to a plan that somebody said yes to."""

from pathlib import Path

import msgspec

from pipeline.planning import Planned, planned_of
from pipeline.planning_words import differences, drift
from pipeline.problems import Ending
from pipeline.run import RunOptions

_SHOWN = 10  # differences in the words


class NotAsPlanned(Ending):
    """A run would do something else than its plan says; the text says what."""


def hold_to(path: Path, options: RunOptions, share: float) -> None:
    """Raise NotAsPlanned if more than this share of the planned calls are others now. Nothing is decided for it.

    The plan is made once more, right before the run.
    """
    planned = _read(path)
    if planned.workspace != options.workspace.workspace:
        raise NotAsPlanned(f"{path}: it is a plan of the workspace {planned.workspace!r}")
    now = planned_of(options)
    changed = drift(planned, now)
    if changed <= share and now.consent == planned.consent:
        return
    raise NotAsPlanned("\n".join([*_words(path, planned, now, changed, share), "Nothing was done. Plan again."]))


def _read(path: Path) -> Planned:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Planned)
    except OSError as error:
        raise NotAsPlanned(f"{path}: {error.strerror}; `profilecast plan --out {path}` writes it") from error
    except msgspec.MsgspecError as error:
        raise NotAsPlanned(f"{path}: it is no plan ({error}); `profilecast plan --out {path}` writes one") from error


def _words(path: Path, planned: Planned, now: Planned, changed: float, share: float) -> list[str]:
    found = [f"{path}: {changed:.1%} of the calls are others than planned on {planned.now}; --max-drift is {share:.1%}"]
    different = differences(planned, now)
    for connection, sync, form, what, one, two in different[:_SHOWN]:
        found.append(f"  {connection}: {what} of {sync or 'persons'} as {form}: {two:,} instead of {one:,}")
    if len(different) > _SHOWN:
        found.append(f"  and {len(different) - _SHOWN} more")
    return found + [f"  new: {words}" for words in now.consent if words not in planned.consent]
