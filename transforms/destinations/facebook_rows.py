"""Facebook's rows: the keys of a person, normalised, and hashed where Meta wants it.

https://developers.facebook.com/docs/marketing-api/audiences/guides/custom-audiences (hashing and normalization)
"""

import re
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from schemas.calls import Call, Identifier
from transforms.destinations import personal
from transforms.destinations.personal import hashed

EXTERN_ID = "EXTERN_ID"
IDENTIFIERS = {
    "email": "EMAIL",
    "phone": "PHONE",
    "ios.idfa": "MADID",
    "android.idfa": "MADID",
    "user_id": EXTERN_ID,
}
FINDING = frozenset({"EMAIL", "PHONE", "MADID"})  # unsure: names and places may find somebody, too
# Columns, in the order in which they stand in a row.
SCHEMA = (
    EXTERN_ID, "EMAIL", "PHONE", "MADID", "FN", "LN", "GEN", "DOBY", "DOBM", "DOBD", "CT", "ST", "ZIP", "COUNTRY",
)  # fmt: skip
# Traits that fill a column, in lower case and without `_`: `first_name` and `firstName` are one.
TRAITS = {
    "firstname": "FN",
    "lastname": "LN",
    "gender": "GEN",
    "birthday": "DOB",
    "birthdate": "DOB",
    "dateofbirth": "DOB",
    "dob": "DOB",
    "city": "CT",
    "state": "ST",
    "zip": "ZIP",
    "zipcode": "ZIP",
    "postalcode": "ZIP",
    "country": "COUNTRY",
    "countrycode": "COUNTRY",
}
GENDERS = {"m": "m", "male": "m", "man": "m", "f": "f", "female": "f", "woman": "f"}
US_STATES: dict[str, str] = dict(
    re.findall(
        r"(\w+) (\w\w)\b",
        """
        alabama al, alaska ak, arizona az, arkansas ar, california ca, colorado co, connecticut ct, delaware de,
        districtofcolumbia dc, florida fl, georgia ga, hawaii hi, idaho id, illinois il, indiana in, iowa ia,
        kansas ks, kentucky ky, louisiana la, maine me, maryland md, massachusetts ma, michigan mi, minnesota mn,
        mississippi ms, missouri mo, montana mt, nebraska ne, nevada nv, newhampshire nh, newjersey nj, newmexico nm,
        newyork ny, northcarolina nc, northdakota nd, ohio oh, oklahoma ok, oregon or, pennsylvania pa, puertorico pr,
        rhodeisland ri, southcarolina sc, southdakota sd, tennessee tn, texas tx, utah ut, vermont vt, virginia va,
        washington wa, westvirginia wv, wisconsin wi, wyoming wy
        """,
    )
)

Row = dict[str, str]  # values by column; none is empty


class Cell(NamedTuple):
    """One key of a person."""

    column: str
    value: str


def cell(identifier: Identifier, region: str = "") -> Cell | None:
    """What stands in a row for an identifier; None if it cannot be right. `region`: of phone numbers without `+`."""
    value = _identifier(identifier.type, identifier.id, region)
    return Cell(IDENTIFIERS[identifier.type], value) if value else None


def row(call: Call, region: str = "") -> Row:
    """All keys that are known of a call's person: its identifier, those that travel with it, and traits."""
    told = cell(call.identifier, region)
    if not call.traits:
        return {told.column: told.value} if told else {}
    return {**_of_traits(call.traits), **_attached(call.traits, region), **({told.column: told.value} if told else {})}


def leaving(call: Call, region: str = "") -> Row:
    """The keys of a call that are its person's alone: those by which the person is taken out.

    Unsure: Meta seems to take whoever has any key of the row; a household may share a number, a device, a name.
    """
    own = {IDENTIFIERS[call.identifier.type], EXTERN_ID}
    return {column: value for column, value in row(call, region).items() if column in own}


def table(rows: Sequence[Row]) -> dict[str, Any]:
    """A payload of rows, with the columns that any of them has; what a row lacks is ""."""
    used = set().union(*rows)
    schema = [column for column in SCHEMA if column in used]
    return {"schema": schema, "data": [[each.get(column, "") for column in schema] for each in rows]}


# -- identifiers
def _attached(traits: dict[str, Any], region: str) -> Row:
    found: Row = {}
    for kind, column in IDENTIFIERS.items():
        written = traits.get(kind)
        if isinstance(written, str) and (value := _identifier(kind, written, region)):
            found.setdefault(column, value)
    return found


def _identifier(kind: str, written: str, region: str) -> str:
    """Normalised, and hashed where Meta wants it; "" if it cannot be right."""
    plain = written.strip()
    match kind:
        case "user_id":
            return plain
        case "ios.idfa" | "android.idfa":
            return personal.device(plain)
        case "phone":
            return hashed(plain, lambda number: phone(number, region))
    return hashed(plain, personal.email)


def phone(number: str, region: str = "") -> str:
    """Digits with country code: Meta wants no `+`."""
    return personal.phone(number, region).lstrip("+")


# -- traits
def _of_traits(traits: dict[str, Any]) -> Row:
    written: dict[str, str] = {}
    for name, value in traits.items():
        column = TRAITS.get(name.lower().replace("_", ""))
        if column and isinstance(value, str | int) and not isinstance(value, bool):
            written.setdefault(column, str(value).strip())
    country = personal.country(written.get("COUNTRY", ""))
    born = _born(written.get("DOB", ""))
    found = {
        "FN": hashed(written.get("FN", ""), personal.name),
        "LN": hashed(written.get("LN", ""), personal.name),
        "GEN": hashed(written.get("GEN", ""), lambda gender: GENDERS.get(gender.lower(), "")),
        "DOBY": hashed(f"{born:%Y}" if born else "", str),
        "DOBM": hashed(f"{born:%m}" if born else "", str),
        "DOBD": hashed(f"{born:%d}" if born else "", str),
        "CT": hashed(written.get("CT", ""), personal.letters),
        "ST": hashed(written.get("ST", ""), lambda state: _state(state, country)),
        "ZIP": hashed(written.get("ZIP", ""), lambda code: _zip(code, country)),
        "COUNTRY": hashed(written.get("COUNTRY", ""), personal.country),
    }
    return {column: value for column, value in found.items() if value}


def _state(written: str, country: str) -> str:
    """Two letters in the US; elsewhere the name."""
    letters = personal.letters(written)
    return US_STATES.get(letters, letters) if country in ("us", "") else letters


def _zip(written: str, country: str) -> str:
    """Area, district and sector in the United Kingdom."""
    code = personal.postcode(written, country)
    british = country == "gb" and re.fullmatch(r"[a-z]{1,2}\d[a-z\d]?\d[a-z]{2}", code)
    return code[:-2] if british else code


def _born(written: str) -> date | None:
    """The day of an ISO date or time."""
    try:
        born = date.fromisoformat(written[:10])
    except ValueError:
        return None
    return born if born.year >= 1900 else None
