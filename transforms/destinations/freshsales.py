"""Freshsales: contacts, one by one. Its custom fields are set up by hand; events of a free name there are none."""

from typing import Annotated

from msgspec import Meta, Struct

from transforms.destinations.auth import Header
from transforms.destinations.contract import Request, Secret
from transforms.destinations.plain import Item, Plain
from transforms.destinations.safety import check_texts

# Fields of a contact; any other trait is a custom field.
STANDARD = {"first_name": "first_name", "last_name": "last_name", "phone": "mobile_number", "user_id": "external_id"}


class Freshsales(Plain):
    slug = "freshsales"
    name = "Freshsales"
    page = "https://developers.freshworks.com/crm/api/"
    base = "https://{domain}/crm/sales/api"
    names = {"email": "emails"}
    columns_first = True
    auth = Header("authorization", "Token token={api_key}")

    class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Access to one account."""

        domain: Annotated[str, Meta(pattern=r"^[\w.-]+$", description="acme.myfreshworks.com, of the account.")]
        api_key: Annotated[Secret, Meta(description="API key: Personal settings > API settings.")]

        def __post_init__(self) -> None:
            check_texts(self)

    def identify(self, contact: Item) -> Request:
        own = {STANDARD[name]: value for name, value in contact.traits.items() if name in STANDARD}
        # Names of custom fields begin with `cf_` (unsure: from Freshsales' examples).
        custom = {f"cf_{name}": value for name, value in contact.traits.items() if name not in STANDARD}
        told = {**contact.ids, **own, "custom_field": custom}
        return self.post("/contacts/upsert", {"unique_identifier": contact.ids, "contact": told})
