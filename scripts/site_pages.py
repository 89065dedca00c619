"""What the site has besides `docs/`: pages of other folders; and links as a site needs them. A hook of mkdocs.

A link to a file that is no page (code, a licence) is only its words on the site.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# Pages of other folders, and where they are on the site.
OTHERS = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "deploy/README.md": "deploy.md",
    "examples/cdnow/README.md": "example.md",
    "tests/data/destinations/README.md": "transcripts.md",
}
_LINK = re.compile(
    r"(?<!!)\[(?P<words>(?:[^\[\]]|\[[^\]]*\])*)\]"
    r"\((?!https?:|#|mailto:)(?P<path>[^)#\s]+)(?P<part>#[^)\s]*)?\)"
)


def on_config(config: MkDocsConfig, **_: Any) -> MkDocsConfig:
    """Called by mkdocs with `mkdocs.yml`. A folder in its `nav` becomes the pages in it."""
    config.nav = _filled(config.nav)
    return config


def _filled(nav: Any) -> Any:
    if isinstance(nav, list):
        return [_filled(each) for each in nav]
    if isinstance(nav, dict):
        return {title: _filled(each) for title, each in nav.items()}
    if nav.endswith("/"):
        return sorted(site for site in _places().values() if site.startswith(nav))
    return nav


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Called by mkdocs with the files of `docs/`."""
    for path, name in _others().items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs with each page."""
    return linked(markdown, page.file.src_uri)


def linked(markdown: str, name: str) -> str:
    """A page's text with the links that it has on the site; `name`: where it is there."""
    places = _places()
    here = next(path for path, site in places.items() if site == name)

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), found["path"]))
        if target not in places:
            return found["words"]
        path = posixpath.relpath(places[target], posixpath.dirname(name) or ".")
        return f"[{found['words']}]({path}{found['part'] or ''})"

    return _LINK.sub(link, markdown)


def _others() -> dict[str, str]:
    figures = {f"benchmarks/{path.name}": f"figures/{path.name}" for path in sorted((ROOT / "benchmarks").glob("*.md"))}
    return OTHERS | figures


def _places() -> dict[str, str]:
    """Each page by its path in the project: where it is on the site."""
    docs = ROOT / "docs"
    own = {f"docs/{path.relative_to(docs)}": str(path.relative_to(docs)) for path in docs.rglob("*.md")}
    return own | _others()
