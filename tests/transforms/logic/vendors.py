"""Four vendors of fixed shape, so that tests of the rules do not depend on a destination's."""

from collections.abc import Mapping
from typing import ClassVar

from msgspec import Struct

from schemas.workspace import Connection, Form, Workspace
from transforms.logic.registry import Vendor


class Settings(Struct, frozen=True):
    """Of all of them."""

    account: str = "shop"  # the tenant
    region: str = "us"  # only that something can change


class Kind:
    """What one vendor takes."""

    slug: ClassVar[str]
    forms: ClassVar[tuple[Form, ...]]  # the first is a sync's default
    identifiers: ClassVar[tuple[str, ...]]
    required: ClassVar[Mapping[str, tuple[tuple[str, ...], ...]]] = {}
    flush_every: ClassVar[float] = 0.0
    history: ClassVar[bool] = True
    forgets: ClassVar[tuple[str, ...]] = ()
    Settings = Settings


class Mailer(Kind):
    """Takes calls about users and e-mail addresses, lists, accounts and who belongs to them; forgets on request."""

    slug = "mailer"
    forms = ("identify", "track", "list", "group", "member")
    identifiers = ("user_id", "email")
    forgets = ("user_id", "email")


class Desk(Kind):
    """Requires a name; cannot forget."""

    slug = "desk"
    forms = ("identify", "track")
    identifiers = ("email", "user_id")
    required: ClassVar[Mapping[str, tuple[tuple[str, ...], ...]]] = {"name": (("name",), ("first_name", "last_name"))}


class Ads(Kind):
    """Keeps lists of e-mail addresses and phone numbers."""

    slug = "ads"
    forms = ("list",)
    identifiers = ("email", "phone")
    flush_every = 3600.0
    forgets = ("email", "phone")


class Site(Kind):
    """Keeps lists, and takes nothing from before a sync was created."""

    slug = "site"
    forms = ("list",)
    identifiers = ("*",)
    history = False


VENDORS: dict[str, type[Kind]] = {vendor.slug: vendor for vendor in (Mailer, Desk, Ads, Site)}


def vendor_of(connection: Connection) -> Vendor:
    """What deciding knows of the vendor of a connection."""
    kind = VENDORS[connection.destination]
    return Vendor(
        tenant=f"{kind.slug}/{connection.settings.account}",
        understood=kind.identifiers,
        required=kind.required,
        forgets=kind.forgets,
        history=kind.history,
    )


def vendors_of(workspace: Workspace) -> dict[str, Vendor]:
    return {connection.name: vendor_of(connection) for connection in workspace.connections}
