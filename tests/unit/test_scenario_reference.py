from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from scenario_world import CATALOGUE

TOP = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", TOP / "tools" / "reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date(reference: ModuleType) -> None:
    from qa.operations import CATALOGUE as REAL

    assert reference.PAGE.read_text() == reference.render(REAL), "run tools/reference.py"


def test_each_verb_is_described_with_its_arguments(reference: ModuleType) -> None:
    page = reference.render(CATALOGUE)
    assert "#### `succeed`\n\nRun a command that must end with 0.\n" in page
    assert "| *`command`* | text | needed |  |" in page
    assert "| `timeout` | number or text | `60` | Seconds, or with units: 90, 90s, 1m30s, 500ms. |" in page
    assert "| `steps` | steps | needed | Run one after the other. |" in page
    assert "| `network` | `user`, `restricted`, `none` | `user` |" in page
