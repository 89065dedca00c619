"""Destinations of fixed shape, so that tests of the workspace do not depend on a vendor's."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from schemas.secret import Secret
from schemas.workspace import Connection, Workspace
from transforms.destinations.contract import Destination, Limit


class Acme(Destination):
    slug = "acme"
    name = "Acme"
    page = "https://docs.acme.example"
    forms = ("identify", "track")
    aliases = ("acme-classic",)
    identifiers = ("user_id", "email")
    limits = (Limit(100, source="https://docs.acme.example/limits"), Limit(20, 60.0, "delete"))
    required: ClassVar[Mapping[str, tuple[tuple[str, ...], ...]]] = {"name": (("name",), ("email:local",))}
    columns_first = True

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        endpoint: Annotated[str, Meta(pattern="^https://", description="Like https://eu.acme.example")]
        api_key: Secret
        account: str = ""
        region: Literal["us", "eu"] = "us"
        batch: Annotated[int, Meta(ge=1, le=75)] = 75
        sandboxed: bool = False
        phone_column: str = ""
        second_key: Secret | None = None
        tags: tuple[str, ...] = ()

        def __post_init__(self) -> None:
            if self.sandboxed and self.region != "us":
                raise ValueError("the sandbox is in the us region only")

    settings: Settings

    def __init__(self, workspace: Workspace, connection: Connection) -> None:
        super().__init__(workspace, connection)
        if self.settings.phone_column:
            self.identifiers = (*self.identifiers, "phone")


class Lists(Destination):
    slug = "lists"
    name = "Lists"
    page = "https://lists.example"
    forms = ("list",)
    identifiers = ("*",)
    limits = ()
    history = False

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        headers: dict[str, Secret] = {}


class Both(Destination):
    slug = "both"
    name = "Both"
    page = "https://both.example"
    forms = ("list", "identify", "track")
    identifiers = ("user_id", "email")
    limits = ()

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """There are none."""


DESTINATIONS: dict[str, type[Destination]] = {"acme": Acme, "both": Both, "lists": Lists}
