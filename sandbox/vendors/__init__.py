"""One fake vendor per file; they are found by themselves, and by entry points in the group `profilecast.sandbox`."""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from re import fullmatch

from sandbox.vendor import Vendor


@cache
def all_vendors() -> dict[str, type[Vendor]]:
    """The fake vendors by slug."""
    found: dict[str, type[Vendor]] = {}
    for module in iter_modules(__path__, __name__ + "."):
        for member in vars(import_module(module.name)).values():
            own = isinstance(member, type) and issubclass(member, Vendor) and member.__module__ == module.name
            if own and hasattr(member, "slug"):  # what has none is a part of a vendor
                found |= dict.fromkeys((member.slug, *member.also), member)
    found |= {point.load().slug: point.load() for point in entry_points(group="profilecast.sandbox")}
    return dict(sorted(found.items()))


@cache
def serving(host: str) -> type[Vendor]:
    """The vendor at this host; one that nobody knows is a webhook receiver."""
    for vendor in all_vendors().values():
        if any(fullmatch(pattern, host) for pattern in vendor.hosts):
            return vendor
    return all_vendors()["webhook"]
