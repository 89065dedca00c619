"""`make destination name=acme`: a new destination passes everything as it is made."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = (
    "*.toml",
    "*.md",
    "*.txt",
    "*.sh",
    "Makefile",
    "LICENSE",
    "setup.py",
    "mkdocs.yml",
    ".ci",
    "pipeline",
    "transforms",
    "schemas",
)
PARTS += ("sandbox", "examples", "benchmarks", "scripts", "deploy", "docs", "tests")
SLUGS = ("acme", "acme-ads")
# What speaks of all destinations.
SUITES = ("tests/sandbox/test_workspace_accounts.py", "tests/test_layout.py")
SUITES += ("tests/sandbox/test_sandbox_server.py", "tests/test_workspace_page.py")
SUITES += ("tests/pipeline/test_workspace.py", "tests/pipeline/test_commands.py", "tests/schemas")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with two new destinations; tests have a stand-in that is called like one of them."""
    copy = tmp_path_factory.mktemp("copy") / "profilecast"
    copy.mkdir()
    ignore = shutil.ignore_patterns("__pycache__")
    for path in (path for pattern in PARTS for path in ROOT.glob(pattern)):
        if path.is_dir():
            shutil.copytree(path, copy / path.name, ignore=ignore)
        else:
            shutil.copy(path, copy)
    made = run(copy, "scripts.new_destination", *SLUGS)
    assert (0, "") == (made.returncode, made.stderr)
    return copy


def test_it_is_listed_without_further_ado(tree: Path) -> None:
    printed = run(tree, "pipeline", "destinations").stdout
    for slug in SLUGS:
        assert f"| {slug} | identify, track |" in (tree / "README.md").read_text("utf-8")
        assert f"`destination: {slug}`" in (tree / "docs" / "workspace.md").read_text("utf-8")
        assert f" {slug} " in printed


def test_it_passes_the_contract_and_the_layout(tree: Path) -> None:
    own = ("tests/transforms/destinations", "-k", "acme or test_every_folder")  # the others have passed it as they are
    for suite in (own, SUITES):
        result = run(tree, "pytest", "-p", "no:cacheprovider", *suite)
        assert 0 == result.returncode, result.stdout


def test_it_has_the_style(tree: Path) -> None:
    files = [
        f"{folder}/{slug.replace('-', '_')}.py"
        for folder in ("transforms/destinations", "sandbox/vendors")
        for slug in SLUGS
    ]
    for check in ("check", "format --check"):
        result = run(tree, "ruff", *check.split(), "--no-cache", *files)
        assert 0 == result.returncode, result.stdout + result.stderr


def test_a_name_that_is_taken_or_none_is_refused(tree: Path) -> None:
    again = run(tree, "scripts.new_destination", "acme-ads")
    assert 1 == again.returncode
    assert "choose another name" in again.stderr
    assert 2 == run(tree, "scripts.new_destination", "Acme Ads").returncode
    assert 2 == run(tree, "scripts.new_destination").returncode
