"""One Kafka broker."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.engines import Server, free_port, jars, java, listens

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.min.isr=1
default.replication.factor=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
"""


class Broker(Server):
    """`servers`: its address."""

    def __init__(self, folder: Path) -> None:
        port, controller = free_port(), free_port()
        self.servers = f"127.0.0.1:{port}"
        properties = folder / "server.properties"
        properties.write_text(_PROPERTIES.format(port=port, controller=controller, folder=folder))
        tool = [java(), "-cp", jars("kafka"), "kafka.tools.StorageTool", "format", "--standalone"]
        formatted = [*tool, "-t", "cHJvZmlsZWNhc3QtbG9jYQ", "-c", str(properties)]
        subprocess.run(formatted, check=True, capture_output=True)
        command = [java(), "-Xmx512m", "-cp", jars("kafka"), "kafka.Kafka", str(properties)]
        super().__init__(command, folder / "kafka.log", lambda: listens(port))


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    """A broker while the block lasts; its files are in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Broker(folder)
    try:
        yield made
    finally:
        made.stop()
