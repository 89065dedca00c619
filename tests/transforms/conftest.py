"""A vendor's server for each test."""

from collections.abc import Iterator

import pytest

from tests.sending.vendor_server import VendorServer, vendor


@pytest.fixture
def server() -> Iterator[VendorServer]:
    with vendor() as running:
        yield running
