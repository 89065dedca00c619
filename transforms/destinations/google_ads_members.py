"""Members of Google's lists, as it compares them.

https://developers.google.com/data-manager/api/devguides/concepts/formatting
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from schemas.calls import Call
from transforms.destinations import personal
from transforms.destinations.personal import FIRST_NAME, LAST_NAME, hashed

Kind = Literal["contact", "ios", "android", "user_id"]
# Identifiers by what a list is matched by, and what the API calls such a list. A list has one kind for good.
MATCHED: Mapping[Kind, tuple[tuple[str, ...], str]] = {
    "contact": (("email", "phone"), "CONTACT_ID"),
    "ios": (("ios.idfa",), "MOBILE_ID"),
    "android": (("android.idfa",), "MOBILE_ID"),
    "user_id": (("user_id",), "USER_ID"),
}
NAMES = {"email": "emailAddress", "phone": "phoneNumber"}


def member(call: Call, understood: Sequence[str], region: str = "") -> dict[str, Any]:
    """All that is known of a member, who leaves by the same: whoever was matched by the number alone, too."""
    kind = call.identifier.type
    own = normal(kind, call.identifier.id, region)
    if kind not in NAMES:
        return {"userIdData": {"userId": own}} if kind == "user_id" else {"mobileData": {"mobileIds": [own]}}
    known = {kind: own}
    for other in understood:
        written = call.traits.get(other)
        if other not in known and isinstance(written, str) and (value := normal(other, written, region)):
            known[other] = value
    found: list[dict[str, Any]] = [{NAMES[each]: value} for each, value in known.items()]
    return {"userData": {"userIdentifiers": [*found, *address(call.traits)]}}


def normal(kind: str, written: str, region: str = "") -> str:
    """As Google compares it; "" if it cannot be right. Devices are compared in any case (unsure)."""
    match kind:
        case "email":
            return hashed(written, email)
        case "phone":
            return hashed(written, lambda number: personal.phone(number, region))
        case "user_id":
            return written.strip()
    return personal.device(written)


def email(written: str) -> str:
    """Without blanks; what Gmail does not tell apart is one: dots, and what follows a `+`."""
    local, _, host = personal.email("".join(written.split())).partition("@")
    if host in ("gmail.com", "googlemail.com"):
        local = local.partition("+")[0].replace(".", "")
    return f"{local}@{host}" if local else ""


def address(traits: Mapping[str, object]) -> list[dict[str, Any]]:
    """Both names, country and postcode together, or nothing: Google takes no part of them alone."""
    names = [hashed(personal.trait(traits, each), personal.name) for each in (FIRST_NAME, LAST_NAME)]
    country = personal.country(personal.trait(traits, personal.COUNTRY))
    postcode = personal.postcode(personal.trait(traits, personal.POSTCODE), country)
    if not (all(names) and country and postcode):
        return []
    given, family = names
    found = {"givenName": given, "familyName": family, "regionCode": country.upper(), "postalCode": postcode.upper()}
    return [{"address": found}]
