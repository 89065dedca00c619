"""`--listen` and `--write-key` of `serve`: where messages are taken, and from whom."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from schemas.secret import MissingSecret, Secret


class Address(NamedTuple):
    host: str
    port: int


class WrongKey(Exception):
    """There is no write key where `--write-key` says."""


def add_listening_arguments(add: Callable[..., object]) -> None:
    add(
        "--listen",
        type=address,
        metavar="HOST:PORT",
        help="take messages in Segment's format: POST /v1/batch, /v1/import, /v1/identify, /v1/group, /v1/track",
    )
    add(
        "--write-key",
        metavar="FILE|${NAME}",
        help="with --listen: a file with the keys that senders may use, one a line, or the variable that has the key",
    )


def address(text: str) -> Address:
    """`127.0.0.1:8809`, `[::1]:8809`."""
    match = re.fullmatch(r"\[([0-9a-fA-F:.]+)\]:(\d{1,5})|([^:\[\]/\s]+):(\d{1,5})", text)
    port = int(match[2] or match[4]) if match else 0
    if not match or port > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a host and a port such as 127.0.0.1:8809")
    return Address(match[1] or match[3], port)


def write_keys(given: str) -> list[str]:
    """The keys; a file or a variable has them, for a command line can be read by everybody. Raises WrongKey."""
    if given.startswith("${"):
        try:
            keys = [Secret(given).reveal().strip()]
        except (ValueError, MissingSecret) as error:
            raise WrongKey(f"--write-key: {error}") from error
    else:
        keys = _in_file(Path(given))
    if not any(keys):
        raise WrongKey("--write-key: there is no key in it; write one key a line")
    return [key for key in keys if key]


def _in_file(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:  # no word of what was given: it may be a key
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise WrongKey(f"--write-key: the file cannot be read ({why}); name a file, or write '${{NAME}}'") from error
