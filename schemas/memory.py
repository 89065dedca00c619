"""What is kept of a connection between runs, in `memory/<connection>.json`, as far as the sender reads it."""

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

Time = Annotated[float, Meta(le=32_503_680_000)]  # seconds since 1970, before the year 3000


class Window(TypedDict):
    """What was sent of a long cap."""

    seconds: float
    endpoint: str
    unit: Literal["requests", "objects"]
    steps: list[tuple[Time, int]]  # since when, how many


class LimiterMemory(TypedDict, total=False):
    windows: list[Window]
    held_until: Time | None  # nothing is sent until then


class SenderMemory(TypedDict, total=False):
    limiter: LimiterMemory
    canary: bool  # the first calls of a first sync are not judged yet


class Memory(TypedDict, total=False):
    """Beside `sender` there is what the destination keeps."""

    sender: SenderMemory
