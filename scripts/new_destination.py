"""Begins destinations: `python -m scripts.new_destination acme`, or `make destination name=acme`.

Copies the three parts of a plain destination, Vero (module, transcripts, fake vendor), under the new name. They pass
all tests as they stand, so what fails later is what was changed since.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DESTINATIONS, VENDORS = Path("transforms/destinations"), Path("sandbox/vendors")
TRANSCRIPTS = Path("tests/data/destinations")


def main(slugs: list[str]) -> int:
    made = [slug for slug in slugs if _make(slug)]
    if made:
        subprocess.run([sys.executable, "-m", "scripts.update_docs"], cwd=ROOT, check=True)
    return 0 if made == slugs else 1


def _make(slug: str) -> bool:
    """Whether it could be made: the name was free."""
    module = slug.replace("-", "_")
    title = slug.replace("-", " ").title()
    destination, vendor, transcripts = DESTINATIONS / f"{module}.py", VENDORS / f"{module}.py", TRANSCRIPTS / slug
    if taken := [str(path) for path in (destination, vendor, transcripts) if (ROOT / path).exists()]:
        print(f"{', '.join(taken)}: there already; choose another name", file=sys.stderr)
        return False
    names = {
        "class Vero(": f"class {title.replace(' ', '')}(",
        'slug = "vero"': f'slug = "{slug}"',
        'name = "Vero"': f'name = "{title}"',
        "https://developers.getvero.com/": f"https://{slug}.example/docs",
        r"api\.getvero\.com": rf"api\.{slug}\.example",
        "api.getvero.com/api/v2": f"api.{slug}.example/api/v2",
        "VERO_TOKEN": f"{module.upper()}_TOKEN",
    }
    heads = (f'"""{title}: (what it keeps of people)."""', f'"""{title}: what a request must carry. (Its page.)"""')
    _copy(DESTINATIONS / "vero.py", destination, heads[0], names)
    _copy(VENDORS / "vero.py", vendor, heads[1], names)
    for path in sorted((ROOT / TRANSCRIPTS / "vero").iterdir()):
        _copy(TRANSCRIPTS / "vero" / path.name, transcripts / path.name, "", names)
    print(f"Made {destination}, {vendor} and {transcripts}/: Vero under another name.")
    print(f"Now make them {title}'s, and say `make check`.")
    return True


def _copy(source: Path, target: Path, head: str, changes: dict[str, str]) -> None:
    """With these changes, and with another first line where `head` is one."""
    text = (ROOT / source).read_text("utf-8")
    for old, new in changes.items():
        text = text.replace(old, new)
    (ROOT / target).parent.mkdir(exist_ok=True)
    (ROOT / target).write_text(f"{head}\n{text.partition(chr(10))[2]}" if head else text, "utf-8")


def _slug(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name such as acme or acme-ads")
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slugs", type=_slug, nargs="+", metavar="SLUG", help="its name, such as acme or acme-ads")
    sys.exit(main(parser.parse_args().slugs))
