"""Input events: what a profile store tells about a person. One tagged union, `type` first."""

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

Id = Annotated[str, Meta(min_length=1, description="An identifier; never empty.")]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339, with a zone.")]
# Any JSON: scalar, array, object or null. Avro and Parquet carry it as JSON text.
JSON = Any


class ExternalId(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One identifier of a person: `user_id`, `email`, `phone`, `anonymous_id`, `ios.idfa`, …"""

    type: Id
    id: Id


class Event(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True, gc=False):
    """What every event has."""

    profile_id: Id
    at: Time


class Profile(Event, frozen=True, tag="profile", kw_only=True, gc=False):
    """External ids and plain traits of a person became known, or ids are the person's no more."""

    external_ids: list[ExternalId] = []
    removed_ids: list[ExternalId] = []
    traits: dict[str, JSON] = {}


class Trait(Event, frozen=True, tag="trait", kw_only=True, gc=False):
    """A computed trait has this value since `at`."""

    computation: Id
    value: JSON


class Audience(Event, frozen=True, tag="audience", kw_only=True, gc=False):
    """The person entered (`member`) or left the audience at `at`."""

    computation: Id
    member: bool


class Delete(Event, frozen=True, tag="delete", kw_only=True, gc=False):
    """Forget this person: everything known up to `at`."""


AnyEvent = Profile | Trait | Audience | Delete
