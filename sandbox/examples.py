"""Settings for every destination, as the sandbox takes them: those that `init` writes, and what only accounts know."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pipeline.first_workspace import Planned, settings_of
from schemas.workspace import Computation, Connection, Form, Sync, Workspace
from transforms.destinations.contract import Destination
from transforms.destinations.transcripts import secret, variables

AUDIENCE = Computation("Big spenders", "audience", "big_spenders", "computation-1")
TRAIT = Computation("Total revenue", "trait", "total_revenue", "computation-2")
ACTIVE = Computation("Active households", "audience", "active_households", "computation-3", "account")
REVENUE = Computation("Household revenue", "trait", "household_revenue", "computation-4", "account")
_FORMS: tuple[tuple[Computation, tuple[Form, ...]], ...] = (
    (AUDIENCE, ("identify", "track", "list")),
    (TRAIT, ("identify", "track")),
    (ACTIVE, ("group",)),
    (REVENUE, ("group", "member")),
)

_ANY = "https://example.com"  # what `init` writes for an address: here each has a host of its own
_EVENTS = ("Audience Entered", "Audience Exited", "Trait Computed")
# Hosts that show the sandbox whose they are, and the vendor's names of events, fields and lists.
_OWN: Mapping[str, Mapping[str, Any]] = {
    "activecampaign": {
        "host": "acme.api-us1.com",
        "event_account": "66666",
        "event_key": "${ACTIVECAMPAIGN_EVENT_KEY}",
    },
    "mailchimp": {"data_centre": "us6"},
    "freshsales": {"domain": "acme.myfreshworks.com"},
    "emarsys": {"events": {name: number for number, name in enumerate(_EVENTS, 100)}},
    "pardot": {"extension": "profilecast", "activities": {name: name.replace(" ", "_") for name in _EVENTS}},
    # apart from the other's: of both, the sandbox shows one row of a person
    "salesforce-marketing-cloud-lists": {"subdomain": "lists-of-acme"},
    "salesforce-marketing-cloud": {"events": {name: f"APIEvent-{n}" for n, name in enumerate(_EVENTS)}},
}


def settings(kind: type[Destination], keys: Iterable[str] = ()) -> dict[str, Any]:
    """Of a connection of the destination's name, as a workspace file has them; `keys` are those of its syncs."""
    own = dict(_OWN.get(kind.slug, {}))
    needed = settings_of(Planned(kind.slug, kind))
    own |= {name: f"https://{kind.slug}.example.com/in" for name, text in needed.items() if text == _ANY}
    if kind.slug == "emarsys":
        own |= {name: {key: number for number, key in enumerate(keys, 7000)} for name in ("fields", "lists")}
    return needed | own


def environment(kind: type[Destination]) -> dict[str, str]:
    """A value for each of its secrets: any will do for the sandbox, but what has to sign is a key."""
    return variables(settings(kind))


def connected(
    kind: type[Destination], forms: tuple[Form, ...] = (), enrich: tuple[str, ...] = ()
) -> tuple[Workspace, Connection]:
    """A workspace of one connection that is told all computations, in all its forms or in these.

    `enrich` goes along with those of people.
    """
    taken = {each: tuple(form for form in forms or kind.forms if form in its) for each, its in _FORMS}
    computations = tuple(each for each, its in taken.items() if its)
    syncs = tuple(
        Sync(each.key, forms=taken[each], enrich=enrich if each.level == "user" else ()) for each in computations
    )
    given = settings(kind, [*(each.key for each in computations), *enrich])
    made = msgspec.convert(given, kind.Settings, dec_hook=secret)
    connection = Connection(kind.slug, kind.slug, syncs, made)
    return Workspace("shop", computations, (connection,)), connection
