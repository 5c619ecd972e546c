"""A desktop used as a person does it: the example, with the needles that come with the program."""

from __future__ import annotations

from pathlib import Path

from program import Program

EXAMPLE = Path(__file__).parents[2] / "examples" / "desktop.yaml"


def test_a_desktop_is_used_as_a_person_does_it(program: Program) -> None:
    ended = program.run("run", EXAMPLE)
    assert ended.status == 0, ended.text
    seen = [one for group in ended.result["steps"] for one in (group, *group.get("steps", [])) if one.get("screen")]
    assert len(seen) >= 10
    assert (ended.folder / "shots").is_dir()
    assert program.leftovers() == []
