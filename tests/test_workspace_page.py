"""The examples of docs/workspace.md are right."""

import re
from pathlib import Path
from textwrap import indent

import pytest

from pipeline.workspace import load

PAGE = Path(__file__).parents[1] / "docs" / "workspace.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
HEAD = """\
workspace: my-shop
computations:
  - {name: Big spenders, kind: audience}
  - {name: First time shopper, kind: audience}
connections:
"""
BRAZE = """\
  - name: braze-eu
    destination: braze
    settings: {endpoint: "https://rest.fra-01.braze.eu", api_key: "${BRAZE_API_KEY}"}
    syncs:
"""


def workspace(example: str) -> str:
    """A whole file, of an example that is one, some sources, some connections, or some syncs."""
    if example.startswith("sources:"):
        return f"{HEAD}{BRAZE}      - computation: big_spenders\n{example}"
    if example.startswith("workspace:"):
        return example
    if "destination:" in example:
        return HEAD + indent(example, "  ")
    return HEAD + BRAZE + indent(example, "      ")


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_loads(example: str, tmp_path: Path) -> None:
    file = tmp_path / "workspace.yaml"
    file.write_text(workspace(example), "utf-8")
    assert load(str(file), environment={}).connections


def test_there_are_examples() -> None:
    assert {"where:", "send_as:", "send_as_was:", "attach", "was:"} <= set(
        re.findall(r"where:|send_as:|send_as_was:|attach|\bwas:", "".join(EXAMPLES))
    )
