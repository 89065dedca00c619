"""The docs as a site: it is built without a warning, every page is there, and none asks for anything from outside."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scripts.record_run import PICTURE, fonts_out
from scripts.site_pages import linked

ROOT = Path(__file__).parents[1]
# Attributes that a browser follows by itself; those of <a> it follows when somebody clicks.
FETCHED = {"src", "srcset", "poster", "data", "action"}


class _Fetches(HTMLParser):
    """What a browser would fetch for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.found += [value for name, value in given.items() if name in FETCHED and tag != "form"]
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(given.get("href", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert 0 == done.returncode, done.stdout + done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    docs = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    pages = [path.parent / ("" if path.stem == "index" else path.stem) / "index.html" for path in docs]
    more = [Path(name) / "index.html" for name in ("readme", "security", "deploy", "contributing", "figures/listen")]
    assert [] == [str(page) for page in (*pages, *more) if not (site / page).is_file()]


def test_no_page_asks_for_anything_from_outside(site: Path) -> None:
    asked = []
    for page in site.rglob("*.html"):
        parser = _Fetches()
        text = page.read_text("utf-8")
        parser.feed(text)
        asked += [f"{page.relative_to(site)}: {each}" for each in parser.found if urlsplit(each).netloc]
        assert "mermaid" not in text.lower(), "the theme fetches what draws it"
    assert [] == asked


def test_no_style_and_no_picture_asks_for_anything_from_outside(site: Path) -> None:
    asks = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"]|(?:xlink:)?href=['"])(?:https?:)?//[^'")]+""")
    found = {path.name: asks.findall(path.read_text("utf-8")) for path in (*site.rglob("*.css"), *site.rglob("*.svg"))}
    assert PICTURE.name in found
    assert {} == {name: each for name, each in found.items() if each}


def test_links_lead_to_pages_of_the_site_or_are_words(site: Path) -> None:
    text = "[a](../README.md#x) [b](events.md) [c](../setup.py) [d](https://e.example) [e](#f) ![g](run.svg)"
    assert "[a](readme.md#x) [b](events.md) c [d](https://e.example) [e](#f) ![g](run.svg)" == linked(text, "index.md")
    assert "[a](../events.md) b" == linked("[a](../docs/events.md) [b](listen.py)", "figures/listen.md")


def test_a_picture_has_no_fonts_from_elsewhere() -> None:
    picture = "<!-- Generated with Rich https://x -->@font-face {\n src: url(https://x)\n}\n.a { font: Fira Code }"
    assert ".a { font: ui-monospace, Menlo, Consolas }" == fonts_out(picture)
