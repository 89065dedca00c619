"""Puts secrets of Secret Manager into environment variables: a worker of Dataflow is given none from outside."""

from collections.abc import Callable, MutableMapping


def parsed(text: str) -> dict[str, str]:
    """`NAME=projects/P/secrets/S/versions/V …` → the name of each secret by its variable. Raises ValueError."""
    found = {}
    for word in text.split():
        variable, _, name = word.partition("=")
        if not variable.isidentifier() or not name.startswith("projects/"):
            raise ValueError(f"PROFILECAST_SECRETS: {word!r} is not like NAME=projects/P/secrets/S/versions/latest")
        found[variable] = name
    return found


def fill(environment: MutableMapping[str, str], read: Callable[[str], str] | None = None) -> None:
    """Read the secrets that PROFILECAST_SECRETS names, as the account that this machine runs as."""
    wanted = parsed(environment.get("PROFILECAST_SECRETS", ""))
    if wanted:
        read = read or _reader()
        environment.update({variable: read(name) for variable, name in wanted.items()})


def _reader() -> Callable[[str], str]:
    from google.cloud import secretmanager

    client = secretmanager.SecretManagerServiceClient()
    return lambda name: client.access_secret_version(name=name).payload.data.decode()
