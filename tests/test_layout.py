"""The layout's promises: who may import what, what every destination has, and that the docs speak of what exists."""

import ast
import os
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from sandbox.vendors import all_vendors
from scripts.update_docs import GENERATED, updated
from transforms.destinations import catalogue
from transforms.destinations.partners import PARTNERS

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "transforms", "schemas", "sandbox", "examples")
OWN = (*PACKAGES, "benchmarks", "scripts", "tests")
TOP_LEVEL = (".ci/run", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "constraints.txt")
TOP_LEVEL += ("SECURITY.md", "mkdocs.yml", "pyproject.toml", "run_local.sh", "run_tests.sh", "setup.py")
PAGES = ("docs/architecture.md", "docs/events.md", "docs/going-live.md", "docs/graveyard.md", "docs/operations.md")
PAGES += (
    "docs/index.md",
    "docs/compare.md",
    "docs/segment.md",
    "docs/semantics.md",
    "docs/streaming.md",
    "docs/workspace.md",
    "deploy/README.md",
)
SCRIPTS = (".ci/run", "run_local.sh", "run_tests.sh", "scripts/setup.sh", "scripts/setup_dataflow.sh")
SCRIPTS += ("scripts/renew_constraints.sh",)
SCRIPTS += ("deploy/flink/submit_session.sh", "deploy/flink/submit_application.sh", "deploy/dataflow/build_and_run.sh")


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """The modules that a file imports anywhere, by full name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def importing(paths: list[Path], *modules: str) -> list[str]:
    """Which files import any of these modules, or what is below them."""
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(imported(path))
        if any(name == module or name.startswith(f"{module}.") for module in modules)
    ]


# -- imports
PURE = sources("transforms/logic", "transforms/destinations", "schemas")


def test_beam_is_imported_only_where_things_are_wired() -> None:
    allowed = [*sources("pipeline"), *(ROOT / "transforms").glob("*.py")]
    assert [] == importing([p for p in sources(*PACKAGES) if p not in allowed], "apache_beam")


def test_decisions_declarations_and_records_know_no_network_and_no_engine() -> None:
    network = ("aiohttp", "asyncio", "http", "httpx", "requests", "socket", "ssl", "urllib.request")
    clients = ("urllib3.connection", "urllib3.connectionpool", "urllib3.poolmanager", "botocore.session")
    network += clients  # their encoders and signers are no clients
    assert [] == importing(PURE, "apache_beam", *network)


def test_decisions_declarations_and_records_are_told_what_time_it_is() -> None:
    clocks = {"now", "utcnow", "today"}
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno} asks for the time"
        for path in PURE
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in clocks
    ]
    assert [] == importing(PURE, "time", "threading") + asked


def test_what_is_done_does_not_know_how_it_is_run() -> None:
    others = ("examples", "sandbox", "tests", "benchmarks", "scripts")
    assert [] == importing(sources("transforms", "schemas"), "pipeline", *others)
    assert [] == importing(sources("pipeline"), *others)


def test_decisions_know_no_vendor_and_vendors_know_no_sender() -> None:
    assert [] == importing(sources("transforms/logic"), "transforms.destinations", "transforms.sending")
    assert [] == importing(sources("transforms/destinations"), "transforms.sending")


# -- dependencies
def declared(extra: str = "") -> set[str]:
    """The names of the distributions in setup.py."""
    calls = [node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text("utf-8"))) if isinstance(node, ast.Call)]
    given = {k.arg: k.value for call in calls for k in call.keywords if k.arg in ("install_requires", "extras_require")}
    lines = ast.literal_eval(given["extras_require"])[extra] if extra else ast.literal_eval(given["install_requires"])
    return {_normal(re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0]) for line in lines}


def pinned() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    return {_normal(name): version for name, _, version in (line.partition("==") for line in lines)}


def third_party(*folders: str) -> set[str]:
    """The distributions that files import."""
    modules = {name.partition(".")[0] for path in sources(*folders) for name in imported(path)}
    outside = modules - set(OWN) - sys.stdlib_module_names
    return {_normal(packages_distributions()[module][0]) for module in outside}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_imported_is_declared_and_nothing_else() -> None:
    traces = {name for name in pinned() if name.startswith("opentelemetry-")}  # all of them have one module
    extras = declared("aws") | declared("kafka") | declared("tables") | traces
    assert declared() == third_party(*PACKAGES) - (extras - declared())
    assert set() == third_party("tests", "benchmarks", "scripts") - declared() - declared("dev")


def test_every_dependency_is_pinned_to_one_version() -> None:
    assert set() == (declared() | declared("dev")) - set(pinned())
    assert [] == [name for name, version in pinned().items() if not re.fullmatch(r"[\w.+]+", version)]


# -- files
@pytest.mark.parametrize("name", sorted({*TOP_LEVEL, *PAGES, *SCRIPTS}))
def test_what_the_layout_names_is_there(name: str) -> None:
    assert (ROOT / name).is_file()


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_can_be_started(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)


def test_every_module_has_one_line_at_its_head() -> None:
    headless = [p for p in sources(*OWN) if not (ast.get_docstring(ast.parse(p.read_text("utf-8"))) or "").strip()]
    assert [] == [str(path.relative_to(ROOT)) for path in headless]


def test_no_file_knows_a_machine_or_a_registry() -> None:
    homes = "|".join(("work", "root", "home", "Users"))
    words = re.compile(rf"(?<![\w.~}}>$)\]-])/({homes})/\w|--(extra-)?index-url|files\.pythonhosted")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in texts()
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if (match := words.search(line)) and path != Path(__file__)
    ]
    assert [] == found


def texts() -> Iterator[Path]:
    """Every file of the project that people write."""
    for name in (*OWN, "deploy", "docs", ".ci"):
        for path in sorted((ROOT / name).rglob("*")):
            if path.is_file() and path.suffix not in (".gz", ".pyc"):
                yield path
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.name != ".git")  # of a worktree, a file


# -- destinations
def test_every_destination_has_transcripts_and_a_fake_vendor() -> None:
    folders = ROOT / "tests" / "data" / "destinations"
    alike = {partner.slug for partner in PARTNERS[1:]}  # the first has the transcripts of all
    for slug in catalogue():
        assert slug in alike or (folders / slug).is_dir(), f"write tests/data/destinations/{slug}/"
        assert slug in all_vendors(), f"write sandbox/vendors/{slug.replace('-', '_')}.py"
    assert set(all_vendors()) <= set(catalogue()), "a fake vendor without destination"


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.name)
def test_what_is_generated_in_the_docs_is_what_the_code_declares(page: Path) -> None:
    assert updated(page.read_text("utf-8")) == page.read_text("utf-8"), "run `make docs`"


# -- docs
DOCS = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "examples/cdnow/README.md")
]
DOCS += [
    ROOT / "deploy" / "README.md",
    ROOT / "examples" / "cdnow" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "tests" / "data" / "destinations" / "README.md",
]
AN_EXAMPLE = "acme"  # the destination that does not exist
every_doc = pytest.mark.parametrize("doc", DOCS, ids=lambda doc: str(doc.relative_to(ROOT)))


def quoted(doc: Path) -> list[str]:
    """What stands in backticks, outside of blocks of code."""
    prose = re.sub(r"^```.*?^```", "", doc.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [text for text in re.findall(r"`([^`\n]+)`", prose) if AN_EXAMPLE not in text]


@pytest.mark.parametrize("doc", ["README.md", "docs/architecture.md"])
def test_the_picture_is_that_of_the_graph(doc: str) -> None:
    graph = ast.get_docstring(ast.parse((ROOT / "pipeline" / "graph.py").read_text("utf-8"))) or ""
    picture = graph.partition("\n\n")[2]
    assert "Deliver" in picture
    assert picture in (ROOT / doc).read_text("utf-8")


@pytest.mark.parametrize("folder", ["pipeline/streaming", "transforms/sending"])
def test_the_map_of_the_architecture_names_every_module(folder: str) -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    modules = [path.name for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py"]
    assert [] == [name for name in modules if f"`{name}`" not in page]


@every_doc
def test_files_that_docs_name_exist(doc: Path) -> None:
    paths = [text for text in quoted(doc) if re.fullmatch(rf"({'|'.join(OWN)}|deploy|docs)/[\w./*-]*", text)]
    assert [] == [path for path in paths if not list(ROOT.glob(path.rstrip("/")))]


@every_doc
def test_names_of_code_that_docs_use_exist(doc: Path) -> None:
    names = [text for text in quoted(doc) if re.fullmatch(rf"({'|'.join(OWN)})(\.[A-Za-z_]\w*)+(\(\))?", text)]
    assert [] == [name for name in names if not _exists(name.removesuffix("()"))]


def _exists(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    try:
        import_module(name)
    except ImportError:
        return bool(module) and (hasattr(import_module(module), attribute) if "." in module else False)
    return True


@every_doc
def test_links_of_docs_lead_somewhere(doc: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", doc.read_text("utf-8"))
    assert [] == [link for link in links if not (doc.parent / link).exists()]
