"""What steps count, for the metrics of the engine. `docs/beam_metrics.txt` has each step with its names.

A number is counted on the thread that has the bundle, and on no other: Beam files it under the step whose thread it is.
"""

from functools import cache
from typing import Any, ClassVar

import apache_beam as beam

NAMESPACE = "profilecast"


class CountingFn(beam.DoFn):
    """A DoFn that declares what it counts."""

    COUNTS: ClassVar[tuple[str, ...]] = ()

    def count(self, name: str, number: int = 1) -> None:
        _counter(name).inc(number)


@cache
def _counter(name: str) -> Any:
    return beam.metrics.Metrics.counter(NAMESPACE, name)
