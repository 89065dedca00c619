"""Four destinations of fixed shape, so that tests of the rules do not depend on a vendor's."""

from collections.abc import Mapping
from typing import ClassVar

from msgspec import Struct

from schemas.workspace import Connection, Workspace
from transforms.destinations.contract import Destination


class _Vendor(Destination):
    page = "https://vendor.example"
    limits = ()

    class Settings(Struct, frozen=True):
        region: str = "us"


class Mailer(_Vendor):
    """Takes calls about users and e-mail addresses; forgets on request."""

    slug = "mailer"
    name = "Mailer"
    kind = "event"
    identifiers = ("user_id", "email")
    forgets = True


class Desk(_Vendor):
    """Requires a name; cannot forget."""

    slug = "desk"
    name = "Desk"
    kind = "event"
    identifiers = ("email", "user_id")
    required: ClassVar[Mapping[str, tuple[tuple[str, ...], ...]]] = {"name": (("name",), ("first_name", "last_name"))}


class Ads(_Vendor):
    """Keeps lists of e-mail addresses and phone numbers."""

    slug = "ads"
    name = "Ads"
    kind = "list"
    identifiers = ("email", "phone")
    flush_every = 3600.0
    forgets = True


class Site(_Vendor):
    """Keeps lists, and takes nothing from before a sync was created."""

    slug = "site"
    name = "Site"
    kind = "list"
    identifiers = ("*",)
    history = False


VENDORS: dict[str, type[Destination]] = {vendor.slug: vendor for vendor in (Mailer, Desk, Ads, Site)}


def destination_of(workspace: Workspace, connection: Connection) -> Destination:
    """The destination of a connection."""
    return VENDORS[connection.destination](workspace, connection)
