"""How Salesforce's destinations sign in: at the domain of an org. https://help.salesforce.com/s/articleView?id=xcloud.external_client_apps.htm"""

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from schemas.secret import Secret
from transforms.destinations.auth import ClientCredentials
from transforms.destinations.http import Reply, Verdict
from transforms.destinations.names import in_ascii
from transforms.destinations.reading import word

BUSY = ("token request is already being processed", "expired authorization code")  # another token is being made


@dataclass(frozen=True)
class Login(ClientCredentials):
    """The client credentials of an external client app, at the org's own domain. The answer says where its API is."""

    def refused(self, reply: Reply) -> Verdict:
        if reply.status == 400 and any(said in reply.words() for said in BUSY):
            return Verdict("transient", words=reply.words())
        if reply.ok and word(reply.object, "access_token") and not _at_salesforce(word(reply.object, "instance_url")):
            return Verdict("credentials", words="signing in led to no host of Salesforce (`instance_url`)")
        return super().refused(reply)


LOGIN = Login("https://{domain}/services/oauth2/token", base_url="instance_url")
Domain = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*\.my\.salesforce\.com$",
        description="The org's own domain, such as acme.my.salesforce.com: Setup > My Domain.",
    ),
]
ClientId = Annotated[
    str,
    Meta(
        pattern="^[A-Za-z0-9._-]+$",
        description="Consumer key of an external client app with the client credentials flow: Setup > External Client "
        "App Manager.",
    ),
]
ClientSecret = Annotated[Secret, Meta(description="Consumer secret of that app.")]


def _at_salesforce(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and (parts.hostname or "").endswith(".salesforce.com")


def field_name(key: str) -> str:
    """The name of a custom field without its `__c`: a letter first, no `_` at the end, and never two of them."""
    name = re.sub("_+", "_", in_ascii(key.removesuffix("__c"), 40)).strip("_")
    return name if name[:1].isalpha() else f"t_{name}"[:40].rstrip("_")
