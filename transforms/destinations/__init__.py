"""The destinations, found by looking: every module here that defines one is listed."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from transforms.destinations.contract import Destination


@cache
def catalogue() -> dict[str, type[Destination]]:
    """Destination classes by slug, in order of slug."""
    found: dict[str, type[Destination]] = {}
    for module in iter_modules(__path__):
        for item in vars(import_module(f"{__name__}.{module.name}")).values():
            if isinstance(item, type) and issubclass(item, Destination) and hasattr(item, "slug"):
                found[item.slug] = item
    return dict(sorted(found.items()))


def find(slug: str) -> type[Destination] | None:
    """The destination of this slug or alias."""
    classes = catalogue()
    return classes.get(slug) or next((c for c in classes.values() if slug in c.aliases), None)
