"""What may be committed, on engines of which each step is counted."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.logic.finals import Finals

PLACE = ("profiles", 0)


class Flink:
    """One client. A checkpoint has what was read before its barrier; the word that it is complete comes later.

    That word is about all turns of bundles that have ended by then, and comes in any order, and late. A barrier ends
    the bundle.
    """

    def __init__(self, chance: Random) -> None:
        self._chance, self._finals = chance, Finals()
        self.now = self.read = self.committed = 0
        self._barrier: int | None = None
        self.checkpoint = 0  # how far the last that is complete has read
        self._open: list[tuple[int, int]] = []  # turns of the bundle: where each ended, and when
        self._ended: list[tuple[int, int]] = []  # those of bundles that are not final
        self._words: list[tuple[int, int]] = []

    def step(self, name: str) -> None:
        self.now += 1
        if name == "read":
            self.read += self._chance.randint(0, 9)
            self._open.append((self.read, self.now))
        elif name == "end":
            self._end()
        elif name == "barrier" and self._barrier is None:
            self._end()
            self._barrier = self.read
        elif name == "complete" and self._barrier is not None:
            self.checkpoint, self._barrier = self._barrier, None
            self._words += self._ended
            self._ended = []
        elif name == "word" and self._words:
            place, ended = self._words.pop(self._chance.randrange(len(self._words)))
            found = self._finals.final({PLACE: place}, ended, self.now)
            self.committed = found.get(PLACE, self.committed)
        elif name == "fault":
            self.read, self._barrier = self.checkpoint, None
            self._open, self._ended, self._words = [], [], []

    def _end(self) -> None:
        self._ended += self._open
        self._open = []


STEPS = ("read", "read", "end", "end", "barrier", "complete", "word", "word", "word", "fault")


@settings(max_examples=500)
@given(st.lists(st.sampled_from(STEPS), max_size=200), st.randoms(use_true_random=False))
def test_no_offset_is_committed_that_the_last_checkpoint_does_not_have(steps: list[str], chance: Random) -> None:
    engine = Flink(chance)
    for step in steps:
        engine.step(step)
        assert engine.committed <= engine.checkpoint


@settings(max_examples=100)
@given(st.lists(st.sampled_from(STEPS), max_size=100), st.randoms(use_true_random=False))
def test_all_that_was_read_is_committed_two_checkpoints_later(steps: list[str], chance: Random) -> None:
    engine = Flink(chance)
    for step in [*steps, "read"]:
        engine.step(step)
    read = engine.read
    for _ in range(3):  # a checkpoint that began before may not have it
        for step in ("complete", *["word"] * 400, "read", "end", "barrier"):
            engine.step(step)
    assert engine.committed >= read


def test_an_engine_that_is_always_a_bundle_behind_with_its_word_holds_nothing_up() -> None:
    finals, committed = Finals(), [0]
    for number in range(1, 50):  # the bundle before this one is final when this one has ended
        found = finals.final({PLACE: number}, ended=number, now=number + 1.5)
        committed.append(found.get(PLACE, committed[-1]))
    assert 46 <= committed[-1] < 49


def test_what_was_read_before_a_fault_is_not_committed_before_it_is_read_again() -> None:
    finals = Finals()
    assert not finals.final({PLACE: 9}, ended=1, now=2)  # behind the checkpoint from which the job begins anew
    assert not finals.final({PLACE: 3}, ended=3, now=4)
    assert {PLACE: 3} == finals.final({PLACE: 3}, ended=5, now=6)
