"""The state directory: what survives between runs.

    lock                                held while a run lasts
    current                             the pointer: the name of the committed run, changed last
    snapshots/<run>/manifest.json       syncs' creation times, flushes, counts
    snapshots/<run>/00.state …          one packed shard of profiles each
    outbox/<connection>/<run>/00.calls  what the run wants to tell
    outcomes/<run>/<connection>.jsonl   the journal: what became of it
    memory/<connection>.json            ids of lists and fields at the vendor
    runs/<run>/                         summary.json, dead_letters.jsonl

A run writes beside what is there and then moves the pointer; killed before, it leaves no trace in
what the next run reads.
"""

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.journal import Journal, fates, replace
from pipeline.outbox import Outbox, shard_file
from schemas.packing import unpack
from schemas.report import Report
from schemas.state import FORMAT, ShardState
from transforms.logic.shard import Settlement

_shard_state = msgspec.msgpack.Decoder(ShardState)


class StoreError(Exception):
    """The state directory cannot be used; the text says why and what to do."""


class Committed(Struct, kw_only=True):
    """One connection's part of a manifest."""

    settings: str  # digest, hex
    calls: list[int]  # per shard
    flushed: int = 0  # a list's last flush: microseconds since 1970


class Manifest(Struct, kw_only=True):
    """What a committed run says of itself."""

    format: int = FORMAT
    run: str
    now: int
    plan: str  # digest, hex
    created: dict[str, int]  # of syncs
    connections: dict[str, Committed]


class Decided(Struct, kw_only=True):
    """What the first step of a run counted."""

    errors: list[str] = []  # unreadable files: nothing was committed
    input: dict[str, int] = {}  # read, applied, unchanged, dead_letters, unknown_field …
    profiles: int = 0
    connections: dict[str, dict[str, int]] = {}  # made, carried, superseded, held, no_identifier


class Run:
    """The places of one run. Picklable."""

    def __init__(self, root: Path, name: str, previous: Manifest | None) -> None:
        self.root = root
        self.name = name
        self.previous = previous
        self.snapshot = root / "snapshots" / name
        self.folder = root / "runs" / name

    def make(self, connections: list[str]) -> None:
        """Make the folders."""
        for path in (self.snapshot, self.folder / "dead_letters", self.root / "outcomes" / self.name):
            path.mkdir(parents=True, exist_ok=True)
        for connection in connections:
            (self.root / "outbox" / connection / self.name).mkdir(parents=True, exist_ok=True)
        (self.root / "memory").mkdir(exist_ok=True)

    # -- what the previous run left

    def previous_state(self, shard: int) -> ShardState:
        """The profiles of a shard as the previous run left them."""
        if self.previous is None:
            return ShardState({})
        packed = (self.root / "snapshots" / self.previous.run / f"{shard:02}.state").read_bytes()
        return unpack(packed, _shard_state)

    def settlements(self, shard: int, fates_of: Mapping[str, bytes]) -> list[Settlement]:
        """The previous outboxes' calls of a shard with their fates."""
        if self.previous is None:
            return []
        return [
            Settlement(
                name, bytes.fromhex(done.settings), self._outbox(self.previous, name).shard(shard), fates_of[name]
            )
            for name, done in self.previous.connections.items()
            if done.calls[shard]
        ]

    def _outbox(self, manifest: Manifest, connection: str) -> Outbox:
        directory = self.root / "outbox" / connection / manifest.run
        return Outbox(directory, manifest.connections[connection].calls)

    # -- what this run writes

    def write_state(self, shard: int, packed: bytes) -> None:
        replace(self.snapshot / f"{shard:02}.state", packed)

    def write_outbox(self, connection: str, shard: int, packed: bytes) -> None:
        replace(shard_file(self.root / "outbox" / connection / self.name, shard), packed)

    def write_dead_letters(self, shard: int, lines: bytes) -> None:
        replace(self.folder / "dead_letters" / f"parse-{shard:02}.jsonl", lines)

    def write_decided(self, decided: Decided) -> None:
        replace(self.folder / "decided.json", msgspec.json.encode(decided))

    def write_report(self, report: Report) -> None:
        replace(self.folder / "reports" / f"{report.connection}.json", msgspec.json.encode(report))

    def commit(self, manifest: Manifest) -> None:
        """From here on the run's events are safe: the pointer moves."""
        replace(self.snapshot / "manifest.json", msgspec.json.encode(manifest))
        replace(self.root / "current", self.name.encode())

    # -- delivery

    def outbox(self, connection: str, sizes: list[int]) -> Outbox:
        return Outbox(self.root / "outbox" / connection / self.name, sizes)

    def journal(self, connection: str) -> Journal:
        return Journal(
            connection,
            self.root / "outcomes" / self.name / f"{connection}.jsonl",
            self.folder / "dead_letters" / f"{connection}.jsonl",
            self.root / "memory" / f"{connection}.json",
        )

    def memory(self, connection: str) -> dict[str, Any]:
        """What the connection keeps from earlier runs."""
        path = self.root / "memory" / f"{connection}.json"
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any]) if path.exists() else {}

    # -- what the run has to say

    def manifest(self) -> Manifest | None:
        """What this run committed; None where it did not."""
        path = self.snapshot / "manifest.json"
        return msgspec.json.decode(path.read_bytes(), type=Manifest) if path.exists() else None

    def decided(self) -> Decided:
        """What the first step counted; with errors, the run was not committed."""
        return msgspec.json.decode((self.folder / "decided.json").read_bytes(), type=Decided)

    def reports(self) -> dict[str, Report]:
        """What the senders said, by connection."""
        paths = (self.folder / "reports").glob("*.json")
        return {path.stem: msgspec.json.decode(path.read_bytes(), type=Report) for path in paths}

    def gather_dead_letters(self) -> int:
        """Make one file of all dead letters, `dead_letters.jsonl`; their number."""
        parts = sorted((self.folder / "dead_letters").glob("*.jsonl"))
        path, number = self.folder / "dead_letters.jsonl", 0
        with path.open("wb") as whole:
            for part in parts:
                with part.open("rb") as lines:
                    for line in lines:
                        whole.write(line)
                        number += 1
        shutil.rmtree(self.folder / "dead_letters")
        return number


class StateStore:
    """A state directory on a local disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time; the lock of a dead run is free."""
        os.umask(0o077)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            file = (self.root / "lock").open("a+")
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be written: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                owner = file.read().strip() or "another run"
                raise StoreError(f"{self.root}: in use by {owner}; wait until it ends, or stop it") from error
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z")
            file.flush()
            yield

    def current(self) -> Manifest | None:
        """The manifest of the last committed run."""
        pointer = self.root / "current"
        if not pointer.exists():
            return None
        path = self.root / "snapshots" / pointer.read_text() / "manifest.json"
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(f"{path}: cannot be read: {error}; restore it, or start with another --state") from error
        if manifest.format > FORMAT:
            raise StoreError(f"{path}: written by a newer version (format {manifest.format}, here {FORMAT})")
        return manifest

    def fates(self, manifest: Manifest) -> dict[str, list[bytearray]]:
        """Per connection and shard, what the journals say of the calls of a run's outboxes."""
        return {
            name: fates(self.root / "outcomes" / manifest.run / f"{name}.jsonl", done.calls)
            for name, done in manifest.connections.items()
        }

    def new_run(self, previous: Manifest | None) -> Run:
        """A run with a name of its own, in order of time."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        number = 0
        name = stamp
        while (self.root / "runs" / name).exists():
            number += 1
            name = f"{stamp}-{number}"
        return Run(self.root, name, previous)

    def prune(self, keep: set[str]) -> None:
        """Remove snapshots, outboxes and journals of other runs; what a run reported stays."""
        folders = [self.root / "snapshots", self.root / "outcomes", *(self.root / "outbox").glob("*")]
        for old in (path for folder in folders if folder.exists() for path in folder.iterdir()):
            if old.name not in keep:
                shutil.rmtree(old)
