"""What settings, names and secrets must not do to a request, or give away."""

import re
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

from schemas.canonical import canonical
from schemas.secret import Secret

CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def check_texts(settings: Any) -> None:
    """For `__post_init__` of Settings: no text may break a URL or header. Raises ValueError."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, str) and CONTROLS.search(value):
            raise ValueError(f"{name} has a line break or another control character in it")


def fingerprint(*parts: str) -> str:
    """A digest that tells values apart and reveals none of them."""
    return blake2b(canonical(parts), digest_size=12).hexdigest()


def named(value: Any) -> Any:
    """For `msgspec.to_builtins`: a secret as the name of its variable."""
    if isinstance(value, Secret):
        return str(value)
    raise NotImplementedError(type(value))


def breaks_path(name: str) -> bool:
    """Whether a name cannot be a segment of a URL's path, quoted or not: somebody on the way resolves `..`."""
    return bool(CONTROLS.search(name)) or not {"", ".", ".."}.isdisjoint(re.split(r"[/\\]", name))


def url_fault(url: str) -> str:
    """Why nothing can be sent to this URL of the settings, or should not; "" if nothing."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "cannot be a URL"
    if not parts.hostname or re.search(r"\s", url):
        return "has no host" if not parts.hostname else "has a blank in it"
    return "names a user or password: these are secret" if "@" in parts.netloc else ""
