"""However facts, sends, answers and receipts lie between each other: a well vendor ends with what is wanted."""

import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.logic.interleavings import Shape, World, begin, histories, steps_of

# Deeper: INTERLEAVINGS=200000 looks at so many worlds of each shape, the nearest first.
MOST = int(os.environ.get("INTERLEAVINGS", "700"))
SHAPES = [
    Shape("identify"),
    Shape("identify", trait=True),
    Shape("identify", forgets=False),
    Shape("identify", trait=True, forgets=False),
    Shape("track"),
    Shape("track", trait=True),
    Shape("track", forgets=False),
]
by_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def end(world: World, path: object) -> None:
    """Whether what may still land does so at the last moment, or never."""
    for late in (True, False):
        try:
            world.clone().ends_well(late)
        except AssertionError as error:
            raise AssertionError(f"{path}, {'late' if late else 'never'}: {error}") from error


@by_shape
def test_every_short_history_ends_well(shape: Shape) -> None:
    for path, world in histories(shape, depth=99, most=MOST):
        end(world, path)


@by_shape
@settings(max_examples=max(60, MOST // 100))
@given(st.data())
def test_long_histories_end_well(shape: Shape, data: st.DataObject) -> None:
    steps: dict[str, Callable[[World], None]] = steps_of(shape)
    path = data.draw(st.lists(st.sampled_from(list(steps)), min_size=8, max_size=40))
    world = begin(shape)
    for name in path:
        steps[name](world)
    end(world, path)
