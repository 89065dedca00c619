"""Begins a destination: `python -m scripts.new_destination acme`, or `make destination name=acme`.

Copies the webhook's three parts (destination, transcripts, fake vendor) under the new name. They pass all tests as
they stand, so what fails later is what was changed since.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DESTINATIONS, VENDORS = Path("transforms/destinations"), Path("sandbox/vendors")
TRANSCRIPTS = Path("tests/data/destinations")


def main(slug: str) -> int:
    module = slug.replace("-", "_")
    title = slug.replace("-", " ").title()
    destination, vendor, transcripts = DESTINATIONS / f"{module}.py", VENDORS / f"{module}.py", TRANSCRIPTS / slug
    if taken := [str(path) for path in (destination, vendor, transcripts) if (ROOT / path).exists()]:
        print(f"{', '.join(taken)}: there already; choose another name", file=sys.stderr)
        return 1
    both = {"class Webhook(": f"class {title.replace(' ', '')}(", 'slug = "webhook"': f'slug = "{slug}"'}
    head = f'"""{title}: how it is spoken to. API: (its page, and when it was read)."""'
    own = {'name = "Webhook"': f'name = "{title}"', '    aliases = ("webhooks",)\n': ""}
    _copy(DESTINATIONS / "webhook.py", destination, head, both | own)
    hosts = rf'hosts = (r"api\.{slug}\.example",)'
    _copy(VENDORS / "webhook.py", vendor, f'"""{title}: what it checks and answers."""', both | {"hosts = ()": hosts})
    shutil.copytree(ROOT / TRANSCRIPTS / "webhook", ROOT / transcripts)
    subprocess.run([sys.executable, "-m", "scripts.update_docs"], cwd=ROOT, check=True)
    print(f"Made {destination}, {vendor} and {transcripts}/: the webhook under another name.")
    print(f"Now make them {title}'s, and say `make check`.")
    return 0


def _copy(source: Path, target: Path, head: str, changes: dict[str, str]) -> None:
    """With another first line and these changes. Raises ValueError where one does not fit."""
    text = (ROOT / source).read_text()
    for old, new in changes.items():
        if old not in text:
            raise ValueError(f"{source} has no {old!r} any more: scripts/new_destination.py has to follow")
        text = text.replace(old, new)
    (ROOT / target).write_text(f"{head}\n{text.partition(chr(10))[2]}")


def _slug(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name such as acme or acme-ads")
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slug", type=_slug, help="as the workspace will name it: acme, acme-ads")
    sys.exit(main(parser.parse_args().slug))
