"""Where a service's pages are served, as the command line has it."""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.commands.arguments import port

if TYPE_CHECKING:
    from pipeline.status_server import Routes

_SHORTEST = 16  # characters of a token


class WrongStatus(Exception):
    """The pages cannot be served so; the text says why and what to do."""


def add_status_arguments(add: Any) -> None:
    add(
        "--status-port",
        type=port,
        default=8807,
        metavar="PORT",
        help="the port of its page, /healthz and /status (%(default)s); 0 takes a free one",
    )
    add(
        "--status-host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the address that they are served on (%(default)s: this machine only); any other needs a token",
    )
    add("--status-token-file", type=Path, metavar="FILE", help="a file with the token that who asks has to bring")


@contextmanager
def status_pages(args: argparse.Namespace, routes: "Routes") -> Iterator[str]:
    """Serve the routes while the block lasts; the address of the status. Raises WrongStatus."""
    from pipeline.status_guard import is_local
    from pipeline.status_server import serving_status

    host, token = args.status_host, _token(args.status_token_file)
    if not token and not is_local(host):
        raise WrongStatus(
            f"--status-host {host}: others could see and do there what only you may; give it a token: "
            "--status-token-file FILE"
        )
    with ExitStack() as stack:
        try:
            served = stack.enter_context(serving_status(args.status_port, routes, host, token))
        except OSError as error:
            raise WrongStatus(_unavailable(args, error)) from error
        yield f"http://{f'[{host}]' if ':' in host else host}:{served}/status"


def _unavailable(args: argparse.Namespace, error: OSError) -> str:
    if args.status_host != "127.0.0.1":
        return f"--status-host {args.status_host} --status-port {args.status_port}: {error.strerror}; give others"
    return f"--status-port {args.status_port}: {error.strerror}; give another one, or 0 for any that is free"


def _token(file: Path | None) -> str:
    if file is None:
        return ""
    option = f"--status-token-file {file}"
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongStatus(f"{option}: it cannot be read: {getattr(error, 'strerror', 'it is no text')}") from error
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise WrongStatus(
            f"{option}: a token is {_SHORTEST} or more letters, digits and signs in one line, such as the output of "
            "`openssl rand -hex 16`"
        )
    return token
