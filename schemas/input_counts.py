"""How many records each input had, and how many of them could not be used."""

from msgspec import Struct


class InputCounts(Struct):
    """By input file (or topic): records read, and those of them that are dead letters. Blank lines are none."""

    sources: dict[str, tuple[int, int]] = {}

    def add(self, source: str, read: int, bad: int = 0) -> None:
        known = self.sources.get(source, (0, 0))
        self.sources[source] = (known[0] + read, known[1] + bad)

    def merge(self, other: "InputCounts") -> None:
        """Add what another part of the work counted."""
        for source, (read, bad) in other.sources.items():
            self.add(source, read, bad)

    @property
    def read(self) -> int:
        return sum(read for read, _ in self.sources.values())

    @property
    def bad(self) -> int:
        return sum(bad for _, bad in self.sources.values())
