"""Identifiers that are one for a vendor, however they are spelled: it reads addresses without regard to case."""

from schemas.calls import Identifier

_NO_CASE = ("email", "ios.idfa", "android.idfa")


def alike(identifier: Identifier) -> Identifier:
    """The same for all spellings of one identifier. Ids of people are what they are."""
    if identifier.type in _NO_CASE:
        return Identifier(identifier.type, identifier.id.strip().casefold())
    if identifier.type == "phone":
        return Identifier(identifier.type, "".join(filter(str.isdecimal, identifier.id)))
    return identifier
