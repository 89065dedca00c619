"""Input events: what a profile store tells about people and accounts. One tagged union, `type` first."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

# Stores that number their people write whole numbers as identifiers: the parser and the columns take these too.
Id = Annotated[str, Meta(min_length=1, description="An identifier; never empty.", extra={"whole_numbers": True})]
Name = Annotated[str, Meta(min_length=1)]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339, with a zone.")]
# Any JSON: scalar, array, object or null. Avro and Parquet carry it as JSON text.
JSON = Any

# The types of identifiers that have a meaning of their own; any other is a custom one.
IDENTIFIER_TYPES = ("user_id", "email", "phone", "anonymous_id", "android.idfa", "ios.idfa")


class ExternalId(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One identifier of a person."""

    type: Annotated[
        Name,
        Meta(description=f"{', '.join(f'`{each}`' for each in IDENTIFIER_TYPES)}, or one of your own."),
    ]
    id: Annotated[Id, Meta(description="The identifier; never empty.")]


PersonId = Annotated[
    Id,
    Meta(
        description="Whom the event is about: the profile store's own id of the person, never empty.",
        examples=["p1"],
    ),
]
AccountId = Annotated[
    Id,
    Meta(
        description="Which account the event is about: the profile store's own id of it, never empty.",
        examples=["acme"],
    ),
]
At = Annotated[
    Time,
    Meta(
        description="Since when it is so: an RFC 3339 time with a zone, from 1970 to a day after the run's clock.",
        examples=["2026-01-05T09:00:00Z"],
    ),
]


class Event(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True, gc=False):
    """What every event is."""


class OfPerson(Event, frozen=True, kw_only=True, gc=False):
    """An event about a person."""

    account_id: ClassVar[str] = ""

    profile_id: PersonId
    at: At


class OfEither(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An event about a person or about an account: just one of the two is there."""

    profile_id: PersonId = ""
    account_id: Annotated[
        Id, Meta(description="In place of `profile_id`, where the computation is one of accounts: which account.")
    ] = ""
    at: At


class OfAccount(Event, frozen=True, kw_only=True, gc=False):
    """An event about an account."""

    account_id: AccountId
    at: At


class Profile(OfPerson, frozen=True, tag="profile", kw_only=True, gc=False):
    """Identifiers and plain traits of a person became known, or identifiers were taken away."""

    external_ids: Annotated[
        list[ExternalId],
        Meta(
            description="Identifiers that became known. They are added to those known before.",
            examples=[[{"type": "email", "id": "ana@example.com"}]],
        ),
    ] = []
    removed_ids: Annotated[
        list[ExternalId],
        Meta(
            description="Identifiers that are not this person's any more.",
            examples=[[{"type": "email", "id": "ana@old.example"}]],
        ),
    ] = []
    traits: Annotated[
        dict[str, JSON],
        Meta(
            description="Plain traits by name. Others that are known stay as they are.",
            examples=[{"first_name": "Ana", "plan": "gold"}],
        ),
    ] = {}


class Trait(OfEither, frozen=True, tag="trait", kw_only=True, gc=False):
    """A computed trait has this value since `at`."""

    computation: Annotated[
        Name,
        Meta(description="The key or the name of the trait in the workspace.", examples=["total_revenue"]),
    ]
    value: Annotated[
        JSON,
        Meta(description="Any JSON value; null where there is none.", examples=[450.25]),
    ]


class Audience(OfEither, frozen=True, tag="audience", kw_only=True, gc=False):
    """The person, or the account, entered or left the audience at `at`."""

    computation: Annotated[
        Name,
        Meta(description="The key or the name of the audience in the workspace.", examples=["big_spenders"]),
    ]
    member: Annotated[bool, Meta(description="`true`: entered, `false`: left.", examples=[True])]


class Account(OfAccount, frozen=True, tag="account", kw_only=True, gc=False):
    """Plain traits of an account became known."""

    traits: Annotated[
        dict[str, JSON],
        Meta(
            description="Plain traits by name. Others that are known stay as they are.",
            examples=[{"name": "Acme Ltd", "employees": 250}],
        ),
    ] = {}


class AccountMember(OfAccount, frozen=True, tag="account_member", kw_only=True, gc=False):
    """A person belongs to an account since `at`, or does not any more."""

    profile_id: PersonId
    member: Annotated[bool, Meta(description="`true`: joined, `false`: left.", examples=[True])]


class Delete(OfPerson, frozen=True, tag="delete", kw_only=True, gc=False):
    """Forget this person: everything known up to `at`."""


AnyEvent = Profile | Trait | Audience | Account | AccountMember | Delete
