"""What a sender publishes, beside its other work.

* What was made again at a vendor, or emptied, is told once more: the workspace is published with that.
* Somebody published a workspace, and died before everybody was given to the fold. One of the senders does the rest.
"""

import threading
from collections.abc import Callable

from pipeline.problems import WorkspaceError
from pipeline.streaming.kafka import Kafka, KafkaProblem
from pipeline.streaming.publishing import publish, ticks_written
from pipeline.streaming.versions import Overtaken, Version
from schemas.registry import decode_registry
from transforms.logic.registry import known_remade

Remade = frozenset[tuple[str, str, float]]  # connection, form and key, and when

_TRY = 30.0  # seconds between tries: each takes the word from whoever publishes
_DEAD = 60.0  # seconds without a tick until whoever gives them counts as dead
_COUNT = 5.0  # seconds between looks whether there are more ticks


class Republishing:
    """`step` as often as you like. A thread publishes: to read what is known of everybody may take long."""

    def __init__(self, kafka: Kafka, say: Callable[..., None]) -> None:
        self._kafka, self._say = kafka, say
        self._published: Remade = frozenset()
        self._next = 0.0  # when it may be tried
        self._thread = threading.Thread()
        self._ticks, self._counted, self._moved = -1, 0.0, 0.0
        self.trouble = ""

    def know(self, version: Version) -> None:
        """This version counts now."""
        self._published |= known_remade(decode_registry(version.registry))
        self._ticks, self._counted = -1, 0.0

    def step(self, version: Version, remade: Remade, first: bool, now: float) -> None:
        """`remade`: what this process's deliveries made again. `first`: of all senders this one does what others left.

        `now`: seconds of a clock that never goes back. Raises KafkaProblem.
        """
        remade -= self._published
        left = first and not version.ticked and self._stands_still(now)
        if not remade and not left:
            self.trouble = ""
        elif now >= self._next and (remade or not self._thread.is_alive()):  # another version overtakes an older one
            self._next = now + _TRY
            self._thread = threading.Thread(target=self._publish, args=(version, remade), daemon=True)
            self._thread.start()

    def _stands_still(self, now: float) -> bool:
        """Whether nobody has given ticks for a while."""
        if now >= self._counted + _COUNT:
            self._counted, ticks = now, ticks_written(self._kafka)
            if ticks != self._ticks:
                self._ticks, self._moved = ticks, now
        return now >= self._moved + _DEAD

    def _publish(self, version: Version, remade: Remade) -> None:
        """With the variables that the version came with: a sender has those of its secrets only."""
        when = {f"{name}/{place}": at for name, place, at in remade}
        path, given = f"version {version.number}", version.environment
        try:
            publish(
                self._kafka, version.text, path, True, self._say, remade=when, environment=given, after=version.number
            )
        except Overtaken:
            self._next = 0.0  # the next try is with that one
        except (KafkaProblem, WorkspaceError) as error:
            self.trouble = (
                f"everybody is to be looked at with version {version.number} of the workspace, and is not yet: {error}"
            )
        else:
            self.trouble = ""
