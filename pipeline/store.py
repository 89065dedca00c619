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
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec
import pyarrow as pa
from msgspec import Struct

from pipeline.disk import RESTORE, StoreError, replace, sync_folder, writing
from pipeline.journal import Fates, Journal, JournalPaths, fates
from pipeline.outbox import Outbox, shard_file
from schemas.calls import Call
from schemas.dead_letters import DeadLetter, mask
from schemas.memory import Memory
from schemas.packing import unpack
from schemas.report import Report
from schemas.state import FORMAT, ShardState
from transforms.logic.ledger import Fate
from transforms.logic.shard import Past, Settlement

_shard_state = msgspec.msgpack.Decoder(ShardState)
_letter = msgspec.json.Decoder(DeadLetter)
RUN_NAME = re.compile(r"\d{8}T\d{6}Z(-\d{2})?")


class Committed(Struct, kw_only=True):
    """One connection's part of a manifest."""

    settings: str  # digest, hex
    calls: list[int]  # per shard
    # By computation, its list's last flush: microseconds since 1970.
    flushed: dict[str, int] = msgspec.field(default_factory=dict, name="flushes")
    acknowledged: bool = False  # the vendor acknowledged a call in an earlier run


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
    connections: dict[str, dict[str, int]] = {}  # made, left, and what `Expanded` counts


class Run:
    """The places of one run. Picklable."""

    def __init__(self, root: Path, name: str, previous: Manifest | None, masked: bool = False) -> None:
        self.root = root
        self.name = name
        self.previous = previous
        self.masked = masked  # dead letters without personal data
        self.snapshot = root / "snapshots" / name
        self.folder = root / "runs" / name

    def make(self, connections: list[str]) -> None:
        """Make the folders."""
        outboxes = [self.root / "outbox" / connection / self.name for connection in connections]
        journals = self.root / "outcomes" / self.name
        for path in (self.snapshot, self.folder / "dead_letters", journals, self.root / "memory", *outboxes):
            with writing(path):
                path.mkdir(parents=True, exist_ok=True)

    # -- what the previous run left

    def previous_state(self, shard: int) -> ShardState:
        """The profiles of a shard as the previous run left them."""
        if self.previous is None:
            return ShardState({})
        path = self.root / "snapshots" / self.previous.run / f"{shard:02}.state"
        with reading(path):
            return unpack(path.read_bytes(), _shard_state)

    def settlements(self, shard: int, past: Past) -> list[Settlement]:
        """The previous outboxes' calls of a shard with their fates."""
        if self.previous is None:
            return []
        return [
            Settlement(
                name,
                bytes.fromhex(done.settings),
                self.previous_calls(name, shard),
                past.fates[name],
                past.tried_at[name],
            )
            for name, done in self.previous.connections.items()
            if done.calls[shard]
        ]

    def previous_calls(self, connection: str, shard: int) -> list[Call]:
        """The previous outbox's calls of a shard."""
        if self.previous is None:
            return []
        directory = self.root / "outbox" / connection / self.previous.run
        sizes = self.previous.connections[connection].calls
        path = shard_file(directory, shard)
        with reading(path):
            calls = Outbox(directory, sizes).shard(shard)
        if len(calls) != sizes[shard]:
            raise StoreError(f"{path}: it holds {len(calls):,} calls, not {sizes[shard]:,}; {RESTORE}")
        return calls

    # -- what this run writes

    def write_state(self, shard: int, packed: bytes) -> None:
        replace(self.snapshot / f"{shard:02}.state", packed)

    def write_outbox(self, connection: str, shard: int, packed: bytes) -> None:
        replace(shard_file(self.root / "outbox" / connection / self.name, shard), packed)

    def write_dead_letters(self, shard: int, lines: bytes) -> None:
        if self.masked:
            letters = [mask(_letter.decode(line)) for line in lines.splitlines()]
            lines = b"".join(msgspec.json.encode(letter) + b"\n" for letter in letters)
        replace(self.folder / "dead_letters" / f"parse-{shard:02}.jsonl", lines)

    def write_decided(self, decided: Decided) -> None:
        replace(self.folder / "decided.json", msgspec.json.encode(decided))

    def write_report(self, report: Report) -> None:
        replace(self.folder / "reports" / f"{report.connection}.json", msgspec.json.encode(report))

    def commit(self, manifest: Manifest) -> None:
        """From here on the run's events are safe: the pointer moves."""
        replace(self.snapshot / "manifest.json", msgspec.json.encode(manifest))
        outboxes = [self.root / "outbox" / connection for connection in manifest.connections]
        for folder in (self.snapshot, *(outbox / self.name for outbox in outboxes), *outboxes, self.snapshot.parent):
            sync_folder(folder)
        replace(self.root / "current", self.name.encode())
        sync_folder(self.root)

    # -- delivery

    def outbox(self, connection: str, sizes: list[int]) -> Outbox:
        return Outbox(self.root / "outbox" / connection / self.name, sizes)

    def journal(self, connection: str) -> Journal:
        paths = JournalPaths(
            self.journal_path(connection),
            self.folder / "dead_letters" / f"{connection}.jsonl",
            self.root / "memory" / f"{connection}.json",
        )
        return Journal(self.name, connection, bytes.fromhex(self._committed(connection).settings), paths, self.masked)

    def journal_path(self, connection: str) -> Path:
        return self.root / "outcomes" / self.name / f"{connection}.jsonl"

    def first_sync(self, connection: str) -> bool:
        """Whether the vendor never acknowledged anything."""
        return not self._committed(connection).acknowledged

    def _committed(self, connection: str) -> Committed:
        manifest = self.manifest()
        if manifest is None:
            raise StoreError(f"{self.snapshot}: there is no manifest.json any more; {RESTORE}")
        return manifest.connections[connection]

    def memory(self, connection: str) -> dict[str, Any]:
        """What the connection keeps from earlier runs."""
        path = self.root / "memory" / f"{connection}.json"
        if not path.exists():
            return {}
        with reading(path):
            content = path.read_bytes()
            msgspec.json.decode(content, type=Memory)
            return msgspec.json.decode(content, type=dict[str, Any])

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
        beside = path.with_name(path.name + ".new")  # killed here, the parts are still what counts
        with writing(path):
            with beside.open("wb") as whole:
                for part in parts:
                    with part.open("rb") as lines:
                        for line in lines:
                            whole.write(line)
                            number += 1
                whole.flush()
                os.fsync(whole.fileno())
            beside.replace(path)
        shutil.rmtree(self.folder / "dead_letters", ignore_errors=True)
        return number


class StateStore:
    """A state directory on a local disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time; the lock of a dead run is free."""
        os.umask(0o077)
        for path in (self.root, *self.root.parents):
            if path.exists() and not path.is_dir():
                raise StoreError(f"{path}: it is a file; --state needs a folder")
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            file = (self.root / "lock").open("a+")
        with file:
            self._claim(file, fcntl.LOCK_EX)
            file.truncate(0)
            owner = f"process {os.getpid()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z"
            with writing(self.root / "lock"):
                os.write(file.fileno(), owner.encode())  # a buffer would be written once more when it is closed
            try:
                yield
            finally:
                file.truncate(0)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """No run meanwhile, and nothing is written: a directory that may only be read will do."""
        path = self.root / "lock"
        if not path.exists():  # no run was ever here
            yield
            return
        with reading(path):
            file = path.open()
        with file:
            self._claim(file, fcntl.LOCK_SH)
            yield

    def _claim(self, file: TextIO, how: int) -> None:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read().strip() or "another run, or a dry run"
            raise StoreError(f"{self.root}: in use by {owner}; wait until it ends, or stop it") from error

    def current(self) -> Manifest | None:
        """The manifest of the last committed run."""
        pointer = self.root / "current"
        if not pointer.exists():
            return None
        with reading(pointer):
            name = pointer.read_text()
        if not RUN_NAME.fullmatch(name):
            raise StoreError(f"{pointer}: it names no run; {RESTORE}")
        path = self.root / "snapshots" / name / "manifest.json"
        with reading(path):
            content = path.read_bytes()
            written = msgspec.json.decode(content, type=_Version).format
            if written > FORMAT:
                newer = f"a newer version of profilecast wrote it (format {written}, this one reads {FORMAT})"
                raise StoreError(f"{path}: {newer}; install that version")
            return msgspec.json.decode(content, type=Manifest)

    def fates(self, manifest: Manifest) -> dict[str, Fates]:
        """What the journals say of the calls of a run's outboxes, by connection."""
        outcomes = self.root / "outcomes" / manifest.run
        return {
            name: fates(outcomes / f"{name}.jsonl", manifest.run, name, done.calls)
            for name, done in manifest.connections.items()
        }

    def cut_short(self, manifest: Manifest, found: Mapping[str, Fates]) -> dict[str, set[str]]:
        """Computations whose lists have calls that wait for another run, by connection."""
        lists = [name for name, done in manifest.connections.items() if done.flushed]
        return {name: self._left(manifest, name, found[name]) for name in lists}

    def _left(self, manifest: Manifest, connection: str, found: Fates) -> set[str]:
        if not found.left():
            return set()
        run = Run(self.root, "", manifest)
        return {
            call.key
            for shard, of_calls in enumerate(found.fates)
            for call, fate in zip(run.previous_calls(connection, shard), of_calls, strict=True)
            if fate in (Fate.PENDING, Fate.MAYBE)
        }

    def new_run(self, previous: Manifest | None, masked: bool = False) -> Run:
        """A run with a name of its own, in order of time."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        number = 0
        name = stamp
        while (self.root / "runs" / name).exists():
            number += 1
            name = f"{stamp}-{number:02}"
        return Run(self.root, name, previous, masked)

    def prune(self, keep: set[str], after: str = "") -> None:
        """Remove snapshots, outboxes and journals of other runs begun after a run; what a run reported stays."""
        folders = [self.root / "snapshots", self.root / "outcomes", *(self.root / "outbox").glob("*")]
        for old in (path for folder in folders if folder.exists() for path in folder.iterdir()):
            if old.name not in keep and old.name > after:
                shutil.rmtree(old, ignore_errors=True)


class _Version(Struct):
    format: int


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """A file of the state that cannot be read comes out as a StoreError that names it."""
    try:
        yield
    except (OSError, msgspec.MsgspecError, pa.ArrowException, UnicodeDecodeError, OverflowError) as error:
        if isinstance(error, OSError) and error.strerror:  # a codec has none
            raise StoreError(f"{path}: cannot be read: {error.strerror}; {RESTORE}") from error
        raise StoreError(f"{path}: it is damaged ({error}); {RESTORE}") from error
