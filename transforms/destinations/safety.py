"""What settings, names and secrets must not do to a request, or give away."""

import re
from hashlib import blake2b
from typing import Any

from schemas.canonical import canonical
from schemas.secret import Secret, secrets_in

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def check_texts(settings: Any) -> None:
    """For `__post_init__` of Settings: no text may break a URL or header. Raises ValueError."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, str) and _CONTROLS.search(value):
            raise ValueError(f"{name} has a line break or another control character in it")


def broken_secrets(settings: Any) -> list[str]:
    """The variables whose value would break a header: a line break is easily pasted with it. Reveals secrets."""
    return [secret.variable for secret in secrets_in(settings) if _CONTROLS.search(secret.reveal())]


def fingerprint(*parts: str) -> str:
    """A digest that tells values apart and reveals none of them."""
    return blake2b(canonical(parts), digest_size=12).hexdigest()


def sealed(value: Any) -> Any:
    """For `msgspec.to_builtins`: a secret as its digest."""
    if isinstance(value, Secret):
        return fingerprint(value.reveal())
    raise NotImplementedError(type(value))


def breaks_path(name: str) -> bool:
    """Whether a name cannot be a segment of a URL's path, quoted or not: somebody on the way resolves `..`."""
    return bool(_CONTROLS.search(name)) or not {"", ".", ".."}.isdisjoint(re.split(r"[/\\]", name))
