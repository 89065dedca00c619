"""Where input files are: patterns, the files behind them, and the file systems that hold them."""

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, BinaryIO, NamedTuple, cast
from urllib.parse import urlsplit

from apache_beam.io.aws.clients.s3 import boto3_client
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.value_provider import RuntimeValueProvider

from pipeline.input_errors import InputError as InputError
from pipeline.input_errors import WrongPattern as WrongPattern
from pipeline.input_errors import one_line

_WILDCARD = re.compile(r"[*?[]")
_HIDDEN = re.compile(r"(?:^|(?<=/))[._]")  # what the names of marker files and hidden files begin with
_NAMED = 5  # so many skipped files are named
# What reads a scheme, and the extra of apache-beam that brings it.
_EXTRAS = {"s3": ("boto3", "aws"), "gs": ("google.cloud.storage", "gcp")}


class Found(NamedTuple):
    """What patterns led to."""

    files: list[str]  # sorted, each once
    notes: list[str]  # sentences for who started the run


# -- patterns


def find_files(patterns: Iterable[str], beam_arguments: Sequence[str] = ()) -> Found:
    """The files that match: local paths, globs, and whatever else Beam's file systems reach.

    `beam_arguments` are the pipeline's, where a file system is told its endpoint, for instance.
    A pattern passes over marker files and hidden files, and may match nothing yet; a file that is
    named has to be there. Raises InputError.
    """
    FileSystems.set_options(PipelineOptions([*beam_arguments]))
    files: set[str] = set()
    skipped: dict[str, str] = {}  # the path, and the part of it that is hidden
    notes = []
    for pattern in patterns:
        paths, hidden = look_up(pattern)
        if not paths and _is_pattern(pattern):
            notes.append(f"{pattern}: no file matches yet")
        elif not paths:
            raise InputError(pattern, "there is no such file", "correct the path")
        files.update(paths)
        skipped |= hidden
    names = [name for path, name in sorted(skipped.items()) if path not in files]
    if names:
        notes.append(_skipped_note(len(names), [*dict.fromkeys(names)]))
    return Found(sorted(files), notes)


def look_up(pattern: str) -> tuple[list[str], dict[str, str]]:
    """The files of one pattern; those that it passes over, each with the part of its path that is hidden."""
    local = pattern if "://" in pattern else os.path.normpath(pattern)
    remote = urlsplit(pattern) if "://" in pattern else None
    if os.path.isdir(local) or (remote and (pattern.endswith("/") or not remote.path)):
        raise WrongPattern(pattern, "it is a directory", f"name the files in it: {os.path.join(pattern, '*')}")
    if not _is_pattern(pattern):
        return [local] if os.path.exists(local) else _match(local), {}
    # Beam looks for a pattern without a folder nowhere.
    beneath = local if "://" in local or os.path.dirname(local) else f"./{local}"
    matches = re.compile(FileSystem.translate_pattern(beneath)).match
    paths, hidden = [], {}
    for path in _match(beneath):
        if part := _hidden_part(path, matches):
            hidden[path.removeprefix("./")] = part
        elif not path.endswith("/"):  # object stores keep folders as empty objects of such names
            paths.append(path.removeprefix("./"))
    return paths, hidden


def _is_pattern(path: str) -> bool:
    return bool(_WILDCARD.search(path)) and not os.path.isfile(path)


def _match(pattern: str) -> list[str]:
    system = file_system(pattern)
    try:
        if pattern.startswith("s3://"):
            _reach(system, urlsplit(pattern).netloc)
        (match,) = system.match([pattern])
    except (BeamIOError, ValueError, OSError) as error:
        advice = "correct the path, and see that the credentials of the environment may read it"
        raise InputError(pattern, f"it cannot be looked up ({words_of(error)})", advice) from error
    return [metadata.path for metadata in match.metadata_list]


def _reach(system: Any, bucket: str) -> None:
    """Ask S3 for the bucket. Raises OSError where there are no credentials, no server, no such bucket.

    Beam takes the first two for a moment's trouble and tries again for ten minutes without a word;
    a bucket that is not there is an empty one to it.
    """
    client = boto3_client.Client(system._options).client
    try:
        client.head_bucket(Bucket=bucket)
    except Exception as error:
        answer = getattr(error, "response", None)
        if answer is None:
            raise OSError(words_of(error)) from error
        if answer["ResponseMetadata"]["HTTPStatusCode"] == 404:  # who may not ask may still read
            raise OSError(f"there is no bucket {bucket}") from error
    finally:
        client.close()


def _hidden_part(path: str, matches: Callable[[str], Any]) -> str:
    """From where a wildcard stands for the dot or the underscore that a name begins with; else nothing.

    It does where the pattern takes any other character there as well.
    """
    for first in _HIDDEN.finditer(path):
        if matches(f"{path[: first.start()]}\0{path[first.end() :]}"):
            return path[first.start() :]
    return ""


def _skipped_note(number: int, names: list[str]) -> str:
    """Files of the same name in many folders are named once."""
    whose = "1 file whose name begins" if number == 1 else f"{number:,} files whose names begin"
    more = f" and {len(names) - _NAMED:,} more names" if len(names) > _NAMED else ""
    return f"skipped {whose} with . or _: {', '.join(names[:_NAMED])}{more}"


# -- file systems


def file_system(path: str) -> FileSystem:
    """The file system that holds this path. Raises WrongPattern where what reads it is not installed."""
    scheme = urlsplit(path).scheme if "://" in path else ""
    if extra := missing_extra(scheme, _installed):
        wrong = f"what reads {scheme}:// is not installed"
        raise WrongPattern(path, wrong, f"install it: pip install 'apache-beam[{extra}]'")
    # They want options; a process in which neither a pipeline was made nor a worker set up has none.
    if getattr(FileSystems, "_pipeline_options", None) is None and RuntimeValueProvider.runtime_options is None:
        FileSystems.set_options(PipelineOptions([]))
    try:
        return FileSystems.get_filesystem(path)
    except ValueError as error:
        known = ", ".join(f"{each}://" for each in _EXTRAS)
        wrong = f"files cannot be read from {scheme}://"
        raise WrongPattern(path, wrong, f"write a local path, or one of {known}") from error


def missing_extra(scheme: str, installed: Callable[[str], bool]) -> str:
    """The extra of apache-beam without which nothing of this scheme can be read; "" where nothing is missing."""
    module, extra = _EXTRAS.get(scheme, ("", ""))
    return extra if module and not installed(module) else ""


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """The file's bytes as they are. What a file system's own client raises comes out as OSError."""
    system = file_system(path)
    if "://" not in path:
        with system.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as handle:
            yield handle
        return
    with _plain_errors():
        handle = system.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    with io.BufferedReader(_Remote(handle), buffer_size=1 << 20) as buffered:
        yield cast(BinaryIO, buffered)


class _Remote(io.RawIOBase):
    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        with _plain_errors():
            return self._handle.seek(offset, whence)

    def tell(self) -> int:
        return self._handle.tell()

    def readinto(self, buffer: Any) -> int:
        with _plain_errors():
            found = self._handle.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        self._handle.close()
        super().close()


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # each client has its own
        raise OSError(words_of(error)) from error


def words_of(error: BaseException) -> str:
    """What an error says, on one line; of one that wraps others, the first of these."""
    while isinstance(error, BeamIOError) and error.exception_details:
        error = next(iter(error.exception_details.values()))
    return one_line(error)


_REMOTE = 64 << 20  # bytes that a file elsewhere is taken for
_UNPACKED = 8  # times: what a file that is no plain text grows by, about


def size_of(path: str) -> int:
    """About how many bytes of events are in a file, as if nothing were compressed."""
    if "://" in path:
        return _REMOTE
    return os.path.getsize(path) * (1 if path.endswith((".jsonl", ".json", ".ndjson")) else _UNPACKED)
