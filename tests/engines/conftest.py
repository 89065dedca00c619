"""Tests with real brokers and engines: `./run_tests.sh engines` installs those and runs these."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

if not os.environ.get("PROFILECAST_ENGINES"):
    collect_ignore_glob = ["test_*.py"]
else:
    from scripts.engines.flink import Cluster, cluster
    from scripts.engines.kafka import Broker, broker
    from tests.engines.world import World

    @pytest.fixture(scope="session")
    def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
        with broker(tmp_path_factory.mktemp("kafka")) as made:
            yield made

    @pytest.fixture(scope="module")
    def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
        with cluster(tmp_path_factory.mktemp("flink")) as made:
            yield made

    @pytest.fixture
    def world(kafka: Broker, tmp_path: Path) -> Iterator[World]:
        """A workspace, a topic of events and a vendor; what it starts is stopped in the end."""
        made = World(kafka, tmp_path)
        try:
            yield made
        finally:
            made.stop()
