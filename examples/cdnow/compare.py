"""Compare what two sandboxes were told: `python -m examples.cdnow.compare URL URL [--patience SECONDS]`.

Of each person that a vendor knows, the values count; when and how often they were told does not, and who is told to be
out of an audience is like who was never in: also where the vendor made somebody for it, with a name and an address.
With `--patience` they may take so long to become alike. With exit code 1 they differ.
"""

import argparse
import sys
import time
from typing import Any

import requests

_NAMES = ("email", "name", "first_name", "last_name", "firstname", "lastname")  # who somebody is, and no more
_VENDORS_OWN = ("hs_object_id", "createdate", "lastmodifieddate", "id")  # numbers and times that a vendor gives
Known = dict[tuple[str, str], dict[str, Any]]  # (vendor, identifiers) → values


def known(url: str) -> Known:
    """Everybody with a value, as the vendors of a sandbox have them."""
    found: Known = {}
    for vendor in requests.get(f"{url}/_sandbox/told", timeout=60).json():
        name = vendor["connection"] or vendor["host"]
        for person in vendor.get("people", ()):
            told = {kind: value for kind, value in person["identifiers"].items() if kind not in _VENDORS_OWN}
            who = " ".join(f"{kind}={value}" for kind, value in sorted(told.items()))
            values = {
                key: value
                for key, value in person["values"].items()
                if value not in (False, "false") and key not in _VENDORS_OWN
            }
            if values.keys() - set(_NAMES):
                found[name, who] = values
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.cdnow.compare", description=__doc__)
    parser.add_argument("urls", nargs=2, metavar="URL")
    parser.add_argument("--patience", type=float, default=0.0, metavar="SECONDS")
    options = parser.parse_args()
    until = time.monotonic() + options.patience
    while True:
        first, second = (known(url) for url in options.urls)
        different = sorted(place for place in first.keys() | second.keys() if first.get(place) != second.get(place))
        if not different or time.monotonic() > until:
            break
        time.sleep(2.0)
    for place in different[:5]:
        print(f"{place[0]}, {place[1]}: {first.get(place)} and {second.get(place)}")
    people = len(first.keys() | second.keys())
    print(f"{people:,} people at {len({name for name, _ in first})} vendors; of {len(different)} the values differ")
    if different:
        print("They should not: of these people the two jobs told the vendors something else, or not all of it yet.")
    sys.exit(bool(different) or not people)


if __name__ == "__main__":
    main()
