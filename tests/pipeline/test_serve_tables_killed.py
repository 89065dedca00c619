"""kill -9 of a service while it folds the events of a table: the next one makes it good."""

import time
from contextlib import closing
from pathlib import Path

from pipeline.state_db import StateDb
from schemas.registry import decode_registry
from schemas.state import decode_profile
from tests.pipeline import running
from tests.pipeline.running import Receiver
from tests.pipeline.serving import serving, told, until
from tests.pipeline.tables import customer
from tests.pipeline.test_serve_tables import add_source, snapshots, write


def test_a_killed_service_is_made_good(tmp_path: Path, receiver: Receiver) -> None:
    table = tmp_path / "customers.parquet"
    add_source(running.workspace(tmp_path / "workspace.yaml", "hook"), f"file: {table}", more="    every: 1s\n")
    people = [customer(f"p{n}", score=n, emails=[]) for n in range(4)]
    write(table, *people)
    with serving(tmp_path, receiver.url) as service:
        until(lambda: told(receiver, "score", 3))
        until(lambda: ["customers/000001.parquet"] == snapshots(service))
        crowd = [customer(f"q{n}", vip=False, score=None, emails=[]) for n in range(1_000)]
        write(table, *({**row, "score": 100 + row["score"]} for row in people), *crowd)
        until(lambda: "customers/000002.parquet" in snapshots(service))
        time.sleep(0.1)  # anywhere in the fold or beyond it: the test holds wherever it is
        service.kill()
        write(table, {**people[0], "score": 7}, *people[1:], *crowd)  # but for one, all as at first
        service.start()
        until(lambda: service.status()["sources"]["customers"]["read_at"])
        until(lambda: told(receiver, "score", 7) and service.idle())
        assert 1 == len(snapshots(service))  # and no folder of the killed process
        assert 0 == service.stop()
    assert {"p0": 7, "p1": 1, "p2": 2, "p3": 3} == scores(service.state)
    latest = {
        message["userId"]: message["traits"]["score"]
        for message in receiver.messages
        if "score" in message.get("traits", ())
    }
    assert scores(service.state) == latest


def scores(state: Path) -> dict[str, object]:
    """Of everybody who has one, as the state knows it."""
    with closing(StateDb.open(state, to_read=True)) as db:
        number = decode_registry(db.registry()).computations.index("score")
        packed = db.get(db.names("\x01", 10_000))
    values = {name: decode_profile(known).values for name, known in packed.items()}
    return {name: each[number][1] for name, each in values.items() if each[number][1] is not None}
