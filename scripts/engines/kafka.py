"""One Kafka broker."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from scripts.engines import Server, free_port, jars, java, listens

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
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


_SECURED = """\
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
"""


class Secured(NamedTuple):
    """Clients come over TLS, and sign in by SCRAM-SHA-512 as this user."""

    keystore: Path  # PEM: a key in PKCS #8, and its certificate for localhost
    user: str
    password: str


class Broker(Server):
    """`servers`: its address, which takes no password. With `secured`, `guarded` is one that does."""

    def __init__(self, folder: Path, secured: Secured | None = None) -> None:
        port, controller = free_port(), free_port()
        self.folder, self.servers = folder, f"127.0.0.1:{port}"
        listeners, more, users = f"PLAINTEXT://{self.servers}", "", []
        if secured:
            self.guarded = f"localhost:{free_port()}"
            listeners += f",SASL_SSL://{self.guarded}"
            more = _SECURED.format(keystore=secured.keystore)
            users = ["--add-scram", f"SCRAM-SHA-512=[name={secured.user},password={secured.password}]"]
        properties = folder / "server.properties"
        properties.write_text(_PROPERTIES.format(listeners=listeners, controller=controller, folder=folder) + more)
        tool = [*java(), "-cp", jars("kafka"), "kafka.tools.StorageTool", "format", "--standalone", *users]
        formatted = [*tool, "-t", "cHJvZmlsZWNhc3QtbG9jYQ", "-c", str(properties)]
        subprocess.run(formatted, check=True, capture_output=True)
        command = [*java(), "-Xmx512m", "-cp", jars("kafka"), "kafka.Kafka", str(properties)]
        super().__init__(command, folder / "kafka.log", lambda: listens(port))


@contextmanager
def broker(folder: Path, secured: Secured | None = None) -> Iterator[Broker]:
    """A broker while the block lasts; its files are in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Broker(folder, secured)
    try:
        yield made
    finally:
        made.stop()
