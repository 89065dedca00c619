"""The destinations, found by looking: every module here that defines one, and those of other packages.

A module that makes several from a table has them in `DESTINATIONS`.

A package has destinations of its own by an entry point in the group `profilecast.destinations`, which names a class.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

from transforms.destinations.contract import Destination

GROUP = "profilecast.destinations"


@cache
def catalogue() -> dict[str, type[Destination]]:
    """Destination classes by slug, in order of slug."""
    found: dict[str, type[Destination]] = {}
    for module in iter_modules(__path__):
        members = vars(import_module(f"{__name__}.{module.name}"))
        for item in (*members.values(), *members.get("DESTINATIONS", ())):
            if isinstance(item, type) and issubclass(item, Destination) and hasattr(item, "slug"):
                found[item.slug] = item
    for point in entry_points(group=GROUP):
        item = point.load()
        if not (isinstance(item, type) and issubclass(item, Destination) and hasattr(item, "slug")):
            raise TypeError(f"the entry point {point.name} in {GROUP} names no destination: {point.value}")
        if found.get(item.slug, item) is not item:
            raise TypeError(f"the entry point {point.name} in {GROUP} has the slug of another destination: {item.slug}")
        found[item.slug] = item
    return dict(sorted(found.items()))


def find(slug: str) -> type[Destination] | None:
    """The destination of this slug or alias."""
    classes = catalogue()
    return classes.get(slug) or next((c for c in classes.values() if slug in c.aliases), None)
