"""Streams, buses and stores: vendors that take the neutral message of every call, many in a request."""

from collections.abc import Hashable
from typing import Any

import msgspec

from transforms.destinations.contract import Batch, Call
from transforms.destinations.plain import ANY, Item, Plain


class Messages(Plain):
    """Base of these destinations: `identify`, `track`, `group` and `delete` are one method, which puts messages."""

    names = ANY

    def unit(self, call: Call) -> Hashable:
        """Every call is a message of its own."""
        return id(call)

    def route(self, call: Call) -> str:
        """Messages of all types share requests; deletions have their own."""
        return "delete" if call.kind == "delete" else "message"

    def batch_of(self, route: str) -> Batch:
        return self.batch

    def encoded(self, told: Item) -> bytes:
        """A message as JSON."""
        message: dict[str, Any] = self.message(told.call)
        return msgspec.json.encode(message)
