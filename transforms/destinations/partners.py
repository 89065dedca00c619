"""Partners: vendors that take every call as its neutral message, at a webhook of one form.

One POST per message, JSON, Basic authorization with the key that the partner gave its customer. 501: not this type of
message. Left out are those that judge a message by what no change of a profile has: the page, the click, the campaign
(Clearbit Reveal, Podsights, Trackier, TrafficGuard). tray.io takes signed messages: it is an alias of the webhook.
"""

from base64 import b64encode
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from msgspec import Meta, Struct

from transforms.destinations.auth import Auth, Basic
from transforms.destinations.contract import (
    Call,
    Form,
    Outcome,
    Reply,
    Request,
    Secret,
    Session,
    Verdict,
    by_status,
    refused,
)
from transforms.destinations.plain import Item, Plain
from transforms.destinations.safety import check_texts, url_fault

USER = ("user_id",)
ANYBODY = ("user_id", "anonymous_id")
BOTH: tuple[Form, ...] = ("identify", "track")
UNSURE = "how its key travels is not published: Basic is assumed"


@dataclass(frozen=True)
class KeyAlone(Auth):
    """`Authorization: Basic …` of the key, without the colon that follows a user."""

    def headers(self, request: Request, settings: Any, session: Session, now: float) -> Mapping[str, str]:
        return {"authorization": f"Basic {b64encode(settings.api_key.reveal().encode()).decode()}"}


class Partner(NamedTuple):
    """A row of the table."""

    slug: str
    name: str
    remark: str = ""
    forms: tuple[Form, ...] = BOTH
    identifiers: tuple[str, ...] = ANYBODY
    endpoint: str = ""  # "": the partner tells its customer
    auth: Auth = Basic("{api_key}")


PARTNERS = (
    Partner("adtriba", "Adtriba", "now part of Funnel"),
    Partner("blendo", "Blendo", "bought by RudderStack in 2020: does it still run?"),
    Partner("bytegain", "ByteGain"),
    Partner("callingly", "Callingly", "makes a lead and calls it", ("identify",), ("phone",)),
    Partner("candu", "Candu", "", BOTH, USER, "https://api.candu.ai/api/eventWebhook", KeyAlone()),
    Partner(
        "clearbit-enrichment", "Clearbit Enrichment", "now Breeze Intelligence of HubSpot", ("identify",), ("email",),
        "https://segment.clearbit.com/v2/events",
    ),
    Partner("cruncher", "Cruncher"),
    Partner("customfit-ai", "CustomFit.ai", identifiers=USER),
    Partner("dreamdata-io", "Dreamdata IO", identifiers=USER),
    Partner("emma", "EMMA", "of emma.io; events must exist in its dashboard", identifiers=USER),
    Partner("epica", "EPICA"),
    Partner("experiments-by-growthhackers", "Experiments by Growthhackers", "", ("track",), USER),
    Partner("factorsai", "FactorsAI"),
    Partner("funnelfox", "FunnelFox"),
    Partner("hydra", "hydra", identifiers=USER),
    Partner("kitemetrics", "Kitemetrics", "Apple Search Ads", ("track",), ("ios.idfa",)),
    Partner("mabl", "mabl", "looks at pages: has no use for traits", identifiers=USER),
    Partner("mammoth", "Mammoth", "an endpoint per dataset, from its user interface"),
    Partner("mutiny", "Mutiny", identifiers=USER),
    Partner("personyze", "Personyze", "", ("identify",), USER),
    Partner("pixelme", "PixelMe", "keeps traits and does nothing with them", identifiers=("anonymous_id",)),
    Partner("pointillist", "Pointillist", f"of Genesys now; {UNSURE}"),
    Partner("proof-experiences", "Proof Experiences"),
    Partner("savio", "Savio", "", ("identify",), USER),
    Partner("sherlock", "Sherlock", "ignores arrays", identifiers=USER),
    Partner("smbstream", "SMBStreams", "now BuzzBoard; needs the trait `email` too", ("identify",), USER),
    Partner("tractionboard", "Tractionboard", UNSURE, identifiers=USER),
    Partner("unwaffle", "Unwaffle", identifiers=USER),
    Partner("upcall", "Upcall", "makes a lead and calls it", ("identify",), ("phone",)),
    Partner("useriq", "UserIQ"),
    Partner("watchtower", "Watchtower", "now Nightfall AI", identifiers=USER),
    Partner("whale-alerts", "Whale Alerts", UNSURE, identifiers=("email",)),
    Partner("whale-watch", "Whale Watch", UNSURE),
    Partner("wigzo", "Wigzo", f"of Shiprocket now; {UNSURE}", identifiers=USER),
)  # fmt: skip


class KeyAndEndpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the partner gave its customer."""

    url: Annotated[str, Meta(pattern="^https://", description="The partner's endpoint: ask the partner for it.")]
    api_key: Annotated[Secret, Meta(description="The key that the partner gave out for this account.")]

    def __post_init__(self) -> None:
        check_texts(self)
        if fault := url_fault(self.url):
            raise ValueError(f"url {fault}")


class Key(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the partner gave its customer."""

    api_key: Annotated[Secret, Meta(description="The key that the partner gave out for this account.")]


class PartnerWebhook(Plain):
    """A destination of the table."""

    page = "https://segment.com/docs/partners/subscriptions/build-webhook/"  # the form of all of them

    def unit(self, call: Call) -> Hashable:
        """Every call is a message of its own."""
        return id(call)

    def tell(self, told: Item) -> Request:
        return self.post("", self.message(told.call))

    delete = tell

    def read(self, reply: Reply, items: Sequence[Item]) -> Outcome:
        return refused(reply, "unsupported") if reply.status == 501 else super().read(reply, items)  # type: ignore[return-value]

    def classify(self, request: Request, reply: Reply, items: int) -> Verdict:
        return Verdict("answered") if reply.status == 501 else by_status(reply, items)


def _webhook(partner: Partner) -> type[PartnerWebhook]:
    declared: dict[str, Any] = {
        "slug": partner.slug,
        "name": partner.name,
        "remark": partner.remark,
        "names": {kind: kind for kind in partner.identifiers},
        "base": partner.endpoint or "{url}",
        "Settings": Key if partner.endpoint else KeyAndEndpoint,
        "auth": partner.auth,
        **dict.fromkeys(partner.forms, PartnerWebhook.tell),
    }
    return type(partner.slug, (PartnerWebhook,), declared)


DESTINATIONS = tuple(map(_webhook, PARTNERS))
