"""The page of a service: one HTML file with its script and style, from the service itself and from nowhere else.

It shows what `/status` says, every two seconds. What an operator does on it is posted, with a token that only this
page of this process has: no other site's page can do it.
"""

import hmac
from collections.abc import Callable, Mapping
from importlib.resources import files
from secrets import token_urlsafe
from typing import Any

import msgspec
from jinja2 import Environment, StrictUndefined

from pipeline.disk import StoreError
from pipeline.status_server import Answer, Asked, Route, in_json


class Wrong(Exception):
    """What an operator asked for cannot be done; the text says why."""


Act = Callable[[Mapping[str, str]], Any]

TOKEN = "x-page-token"  # the header that brings it
_KINDS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}


def page_routes(name: str, acts: Mapping[str, Act]) -> dict[str, Route]:
    """The page, and what can be done on it: it shows only what there are acts for. `name` is the command's."""
    token = token_urlsafe(24)
    html = _template().render(name=name, acts=acts, token=token).encode()
    routes: dict[str, Route] = {
        "GET /": lambda asked: Answer(200, html, "text/html; charset=utf-8", _HEADERS),
        **{f"GET /{file}": _file(file, kind) for file, kind in _KINDS.items()},
        **{f"POST /{act}": _acting(carry_out, token) for act, carry_out in acts.items()},
    }
    return routes


def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_read("page.html").decode())


def _file(name: str, kind: str) -> Route:
    content = _read(name)
    return lambda asked: Answer(200, content, f"{kind}; charset=utf-8")


def _read(name: str) -> bytes:
    return files(__name__).joinpath(name).read_bytes()


def _acting(act: Act, token: str) -> Route:
    def route(asked: Asked) -> Answer:
        if not hmac.compare_digest(asked.headers.get(TOKEN, "").encode(), token.encode()):
            return in_json(403, {"trouble": "this page is of a service that has ended since: load it anew"})
        try:
            return in_json(200, act(msgspec.json.decode(asked.body, type=dict[str, str])))
        except msgspec.MsgspecError:
            return in_json(400, {"trouble": "the body is not a JSON object of texts"})
        except (Wrong, StoreError) as error:
            return in_json(409, {"trouble": str(error)})

    return route
