"""What is shown to users is right: the examples, and the scripts in the guide."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scenario_world import write

from qa.operations import CATALOGUE
from qa.scenario.reader import read_script

TOP = Path(__file__).resolve().parent.parent.parent
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", (TOP / "docs" / "scripts.md").read_text(), re.MULTILINE | re.DOTALL)
HEAD = "machines: {server: {image: builtin}}\n"


@pytest.mark.parametrize("path", sorted((TOP / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_has_no_mistakes(path: Path) -> None:
    assert read_script(path, CATALOGUE).steps


def complete(block: str) -> str:
    """A piece of a script with what the guide does not repeat."""
    if block.startswith("  - "):
        return HEAD + "steps:\n" + block
    if block.startswith("    when:"):
        return HEAD + "steps:\n  - reboot:\n" + block
    if "steps:" not in block:
        return block + "steps: [reboot]\n"
    return block if "image:" in block else HEAD + block


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0])
def test_the_guide_shows_scripts_without_mistakes(tmp_path: Path, block: str) -> None:
    (tmp_path / "common").mkdir()
    write(tmp_path, "- reboot", "common/login.yaml")
    write(tmp_path, "- succeed: echo ${page}", "common/page.yaml")
    assert read_script(write(tmp_path, complete(block)), CATALOGUE).steps
