"""Freshsales: contacts. https://developers.freshworks.com/crm/api/"""

from sandbox.plain import PlainVendor, Takes, header


class Freshsales(PlainVendor):
    slug = "freshsales"
    hosts = (r"[\w-]+\.(myfreshworks|freshsales)\.(com|io)",)
    secret_in = header("authorization", "Token token=")
    takes = (
        Takes("POST", "/crm/sales/api/contacts/upsert", ids={"unique_identifier.emails": str},
              traits="contact.custom_field", needs={"contact": dict}),
    )  # fmt: skip
