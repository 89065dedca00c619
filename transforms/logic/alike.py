"""Identifiers that are one for a vendor, however they are spelled: it reads addresses without regard to case."""

from collections.abc import Collection

from schemas.calls import Identifier
from schemas.state import ProfileState

_NO_CASE = ("email", "ios.idfa", "android.idfa")


def alike(identifier: Identifier) -> Identifier:
    """The same for all spellings of one identifier. Ids of people are what they are."""
    if identifier.type in _NO_CASE:
        return Identifier(identifier.type, identifier.id.strip().casefold())
    if identifier.type == "phone":
        return Identifier(identifier.type, "".join(filter(str.isdecimal, identifier.id)))
    return identifier


def is_among(state: ProfileState, place: int, reached: Collection[int]) -> bool:
    """Whether an identifier that was taken away is there in another spelling: its exit would be that one's too."""
    its = alike(state.ids[place].identifier)
    return any(alike(state.ids[each].identifier) == its for each in reached)
