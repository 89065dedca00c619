"""`make destination name=acme-ads`: a new destination passes everything as it is made."""

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
    ".ci",
    "pipeline",
    "transforms",
    "schemas",
)
PARTS += ("sandbox", "examples", "benchmarks", "scripts", "docs", "tests")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a new destination."""
    copy = tmp_path_factory.mktemp("copy") / "profilecast"
    copy.mkdir()
    ignore = shutil.ignore_patterns("__pycache__")
    for path in (path for pattern in PARTS for path in ROOT.glob(pattern)):
        if path.is_dir():
            shutil.copytree(path, copy / path.name, ignore=ignore)
        else:
            shutil.copy(path, copy)
    made = run(copy, "scripts.new_destination", "acme-ads")
    assert (0, "") == (made.returncode, made.stderr)
    return copy


def test_it_is_listed_without_further_ado(tree: Path) -> None:
    assert "| acme-ads | event |" in (tree / "README.md").read_text("utf-8")
    assert "acme-ads" in run(tree, "pipeline", "destinations").stdout


def test_it_passes_the_contract_and_the_layout(tree: Path) -> None:
    suites = ("tests/transforms/destinations", "tests/test_layout.py", "tests/sandbox/test_workspace_accounts.py")
    result = run(tree, "pytest", "-p", "no:cacheprovider", *suites)
    assert 0 == result.returncode, result.stdout


def test_it_has_the_style(tree: Path) -> None:
    files = ("transforms/destinations/acme_ads.py", "sandbox/vendors/acme_ads.py")
    for check in ("check", "format --check"):
        result = run(tree, "ruff", *check.split(), "--no-cache", *files)
        assert 0 == result.returncode, result.stdout + result.stderr


def test_a_name_that_is_taken_or_none_is_refused(tree: Path) -> None:
    again = run(tree, "scripts.new_destination", "acme-ads")
    assert 1 == again.returncode
    assert "choose another name" in again.stderr
    assert 2 == run(tree, "scripts.new_destination", "Acme Ads").returncode
    assert 2 == run(tree, "scripts.new_destination").returncode
