"""The people behind the customer ids: made up, all of them."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from examples.cdnow.chance import Chance
from examples.cdnow.purchases import LAST_DAY
from schemas.events import Delete, ExternalId, Profile

END = datetime.combine(LAST_DAY, time(), UTC) + timedelta(days=1)

NO_EMAIL_AT_FIRST = 0.10  # shares of all customers
VISITED_BEFORE = 0.50  # of those: seen by an anonymous id before they had a user id
SECOND_EMAIL = 0.12
THIRD_EMAIL = 0.25  # of those with a second one
APP = 0.15
APP_AT_FIRST = 0.50  # of those with the app
FIRST_NAME = 0.85
LAST_NAME = 0.90  # of those with a first name
FORGOTTEN = 0.01

_FIRST_NAMES = [
    "Ada", "Alma", "Amir", "Anton", "Aylin", "Ben", "Bruno", "Carla", "Chidi", "Clara", "Dario", "Edda", "Elif",
    "Emil", "Esra", "Femi", "Finn", "Greta", "Hana", "Ida", "Ivan", "Jana", "Jonas", "Kaya", "Leila", "Leon",
    "Lotte", "Luca", "Mara", "Mateo", "Mila", "Nadia", "Nils", "Noor", "Olga", "Omar", "Paula", "Priya", "Ravi",
    "Rosa", "Sami", "Selma", "Tariq", "Tilda", "Uma", "Vera", "Yara", "Zeno",
]  # fmt: skip
_LAST_NAMES = [
    "Abara", "Acker", "Adler", "Amsel", "Bach", "Becker", "Birk", "Castell", "Costa", "Dorn", "Ebert", "Falk",
    "Ferro", "Gruber", "Hallam", "Heide", "Ibarra", "Janik", "Kern", "Kowal", "Lang", "Linde", "Marlow", "Moreno",
    "Nagel", "Novak", "Okoro", "Orth", "Palme", "Quist", "Reyes", "Rossi", "Sahin", "Sorel", "Stern", "Tamm",
    "Thorne", "Ullman", "Vance", "Vidal", "Weir", "Wolff", "Yilmaz", "Zander",
]  # fmt: skip


def profile_id(customer: str) -> str:
    return f"cdnow-{customer}"


def profile_events(customer: str, first_order: datetime) -> Iterator[Profile | Delete]:
    """What becomes known of a person, oldest first for each kind of fact; and that some want to be forgotten."""
    chance = Chance(customer)
    signed_up = first_order - timedelta(seconds=chance.between(60, 240, "sign-up"))
    user_id = ("user_id", f"customer-{customer}")
    if not chance.happens(NO_EMAIL_AT_FIRST, "no e-mail"):
        yield _profile(customer, signed_up, user_id, ("email", _email(customer)), traits=_names(chance))
    else:
        if chance.happens(VISITED_BEFORE, "visit"):
            visited = signed_up - timedelta(seconds=chance.between(60, 1800, "visit length"))
            yield _profile(customer, visited, _anonymous(chance))
        yield _profile(customer, signed_up, user_id, _anonymous(chance), traits=_names(chance))
        yield _profile(customer, later(chance, signed_up, "e-mail"), ("email", _email(customer)))
    if chance.happens(SECOND_EMAIL, "second e-mail"):
        second = later(chance, signed_up, "second e-mail at")
        yield _profile(customer, second, ("email", _email(customer, "-home")))
        if chance.happens(THIRD_EMAIL, "third e-mail"):
            yield _profile(customer, later(chance, second, "third e-mail at"), ("email", _email(customer, "-work")))
    if chance.happens(APP, "app"):
        at_first = chance.happens(APP_AT_FIRST, "app at first")
        yield _profile(customer, signed_up if at_first else later(chance, signed_up, "app at"), _device(chance))
    if chance.happens(FORGOTTEN, "forgotten"):
        yield Delete(profile_id=profile_id(customer), at=later(chance, signed_up, "forgotten at"))


def _profile(
    customer: str, at: datetime, *external_ids: tuple[str, str], traits: dict[str, str] | None = None
) -> Profile:
    ids = [ExternalId(type=type, id=id) for type, id in external_ids]
    return Profile(profile_id=profile_id(customer), at=at, external_ids=ids, traits=traits or {})


def forgotten_at(customer: str, first_order: datetime) -> datetime | None:
    """When the person wants to be forgotten; None: never."""
    return next((event.at for event in profile_events(customer, first_order) if isinstance(event, Delete)), None)


def later(chance: Chance, than: datetime, what: str) -> datetime:
    """Any time up to the end of the data, so that new identifiers turn up in every month."""
    return than + timedelta(seconds=chance.between(1, int((END - than).total_seconds()), what))


def _email(customer: str, suffix: str = "") -> str:
    return f"customer-{customer}{suffix}@example.com"


def _anonymous(chance: Chance) -> tuple[str, str]:
    return "anonymous_id", str(_uuid(chance, "anonymous id"))


def _device(chance: Chance) -> tuple[str, str]:
    device = str(_uuid(chance, "device id"))
    return chance.one_of([("ios.idfa", device.upper()), ("android.idfa", device)], "device")


def _uuid(chance: Chance, what: str) -> UUID:
    return UUID(int=chance.number(what), version=4)


def _names(chance: Chance) -> dict[str, str]:
    if not chance.happens(FIRST_NAME, "named"):
        return {}
    names = {"first_name": chance.one_of(_FIRST_NAMES, "first name")}
    if chance.happens(LAST_NAME, "last named"):
        names["last_name"] = chance.one_of(_LAST_NAMES, "last name")
    return names
