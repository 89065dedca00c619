"""A sandbox with a clock that the test moves."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sandbox.testing import RunningSandbox, running_sandbox


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gateway:
    """Sends to a vendor's URL through a sandbox."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()

    def send(self, method: str, url: str, json: Any = None, **more: Any) -> requests.Response:
        target = url.replace("https://", f"{self.url}/")
        return self._session.request(method, target, json=json, **{"timeout": 10, **more})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[RunningSandbox]:
    with running_sandbox(clock=clock) as running:
        yield running


@pytest.fixture
def gateway(sandbox: RunningSandbox) -> Gateway:
    return Gateway(sandbox.url)
