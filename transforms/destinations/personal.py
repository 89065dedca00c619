"""Personal data as advertising tools match it: normalised, and hashed. What cannot be right is "".

The tools compare hashes, so both sides must have written the same letters. The rules are those that Meta and Google
have in common; where one differs, its own module does the rest.
https://developers.facebook.com/docs/marketing-api/audiences/guides/custom-audiences (hashing and normalization)
https://developers.google.com/data-manager/api/devguides/concepts/formatting
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256

import phonenumbers

COUNTRIES = {"uk": "gb", "usa": "us"}  # what people write for their ISO code
# What is what, in the names of traits in lower case and without `_`: `first_name` and `firstName` are one.
FIRST_NAME, LAST_NAME = ("firstname", "givenname"), ("lastname", "familyname", "surname")
COUNTRY, POSTCODE = ("country", "countrycode"), ("zip", "zipcode", "postalcode", "postcode")
EXPECTED = {
    "user_id": "an id that is not blank",
    "email": "name@host",
    "phone": "a possible number with its country code",
    "ios.idfa": "an advertising id that is not all zeros",
    "android.idfa": "an advertising id that is not all zeros",
}


def hashed(written: str, normalise: Callable[[str], str]) -> str:
    """SHA-256 of what is normalised; what is such a hash already stays. "" where nothing is left of it."""
    written = written.strip()
    if re.fullmatch("[0-9a-fA-F]{64}", written):
        return written.lower()
    clear = normalise(written)
    return sha256(clear.encode("utf-8", "surrogatepass")).hexdigest() if clear else ""


def is_address(text: str) -> bool:
    """Whether it has the form of an e-mail address."""
    return re.fullmatch(r"[^@\s]+@[^@\s]+", text) is not None


def email(address: str) -> str:
    """Lower case."""
    address = address.strip().lower()
    return address if is_address(address) else ""


@lru_cache(maxsize=1 << 15)
def phone(number: str, region: str = "") -> str:
    """E.164: `+`, country code, and the rest without a leading zero.

    `region`: the country (US) of numbers without `+`; by default these must start with their country code.
    """
    number = number.strip()
    local = not number.startswith(("+", "00")) and (region or number.startswith("0"))
    international = "+" + re.sub(r"\D", "", number).lstrip("0")
    try:
        parsed = phonenumbers.parse(number if local else international, region or None)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_possible_number(parsed):
        return ""
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def device(number: str) -> str:
    """An advertising id in lower case; all zeros is what a phone says whose owner does not want to be tracked."""
    number = number.strip().lower()
    fine = re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", number) and number.strip("0-")
    return number if fine else ""


def name(written: str) -> str:
    """Lower case without punctuation; letters of every alphabet stay. Unsure: blanks inside stay as one."""
    letters = (c for c in unicodedata.normalize("NFC", written.lower()) if unicodedata.category(c)[0] in "LMZ")
    return " ".join("".join(letters).split())


def letters(written: str) -> str:
    """The letters a to z, of accented ones too."""
    return re.sub("[^a-z]", "", unicodedata.normalize("NFKD", written.casefold()))


def country(written: str) -> str:
    """The ISO 3166-1 code of two letters, in lower case; names of countries are not understood."""
    code = COUNTRIES.get(written.strip().lower(), written.strip().lower())
    return code if re.fullmatch("[a-z]{2}", code) else ""


def postcode(written: str, of: str) -> str:
    """Lower case without blanks; five digits in the US. `of`: the country; "" may be the US."""
    code = "".join(written.lower().split())
    return code[:5] if of in ("us", "") and re.fullmatch(r"\d{5}-?\d{4}", code) else code


def trait(traits: Mapping[str, object], names: tuple[str, ...]) -> str:
    """The first trait of these names that is a text or a number, as text; "" where there is none."""
    for key, value in traits.items():
        if key.lower().replace("_", "") in names and isinstance(value, str | int) and not isinstance(value, bool):
            return str(value).strip()
    return ""
