"""What the guide shows is true of the program: its links, its commands and its scripts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML
from scenario_world import write

from qa.cli.root import root
from qa.operations import CATALOGUE
from qa.scenario.reader import read_script

TOP = Path(__file__).resolve().parent.parent.parent
PAGES = [TOP / "README.md", TOP / "CHANGELOG.md", *sorted((TOP / "docs").glob("*.md"))]
PICTURE_LIMIT = 150_000
"""Bytes of a picture in the guide: more makes the first page slow to load."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in FENCE.findall(page.read_text()) if name == language]


def anchors(page: Path) -> set[str]:
    """As GitHub and GitLab make them out of headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield target


def commands(page: Path) -> Iterator[str]:
    """Every call of the program: in fenced and indented blocks, and between backticks."""
    text = page.read_text()
    for line in text.splitlines():
        found = re.search(r"(?:^\s+|\$ |script: |- |run: )(?:[./\w]*/)?(anima-qa [a-z-].*)", line)
        if found:
            yield found[1]
    yield from re.findall(r"`(anima-qa [a-z-][^`]*)`", FENCE.sub("", text))


def unknown_word(call: str) -> str | None:
    """The first word of ``call`` that the program does not know: a command or an option."""
    words = [re.split(r"[=,]", word)[0] for word in shlex.split(re.split(r"[|>;&]|  #", call.replace("'", ""))[0])[1:]]
    command: click.Command = root
    for word in words:
        if word.startswith("-") and word != "-":
            with click.Context(command, help_option_names=["-h", "--help"]) as context:
                if not any(word in option.opts for option in command.get_params(context)):
                    return word
        elif isinstance(command, click.Group):
            with click.Context(command) as context:
                found = command.get_command(context, word)
            if found is None:
                return word
            command = found
    return None


def whole_scripts(page: Path) -> list[str]:
    """YAML that can be saved and run as it is: it has an image and steps. Pieces, and jobs of CI systems, have not both."""
    found = []
    for block in blocks(page, "yaml"):
        data = YAML(typ="safe").load(block)
        if isinstance(data, dict) and "steps" in data and {"image", "machines"} & data.keys():
            found.append(block)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_that_are_shown_exist(page: Path) -> None:
    assert {call: word for call in commands(page) if (word := unknown_word(call))} == {}


@pytest.mark.parametrize(
    ("call", "word"),
    [
        ("anima-qa rum a.yaml", "rum"),
        ("anima-qa run --kep a.yaml", "--kep"),
        ("anima-qa image bild debian", "bild"),
        ("anima-qa image build --sweet trixie", "--sweet"),
        ("anima-qa check --schema > out.json", None),
        ("anima-qa run web.yaml mail.yaml --jobs 2 --var page=hello", None),
    ],
)
def test_a_word_that_the_program_does_not_know_is_found(call: str, word: str | None) -> None:
    assert unknown_word(call) == word


def test_the_readme_and_the_first_steps_show_commands_and_scripts() -> None:
    for page in (TOP / "README.md", TOP / "docs" / "getting-started.md"):
        assert any(call.startswith("anima-qa run web.yaml") for call in commands(page))
        assert whole_scripts(page)


@pytest.mark.parametrize(
    "script", [script for page in PAGES for script in whole_scripts(page)], ids=lambda script: script.splitlines()[0]
)
def test_whole_scripts_have_no_mistakes(tmp_path: Path, script: str) -> None:
    assert read_script(write(tmp_path, script), CATALOGUE).steps


def test_pictures_load_quickly() -> None:
    pictures = list((TOP / "docs" / "images").iterdir())
    assert pictures
    assert {picture.name: size for picture in pictures if (size := picture.stat().st_size) > PICTURE_LIMIT} == {}


def test_every_page_of_the_guide_is_in_its_index() -> None:
    index = (TOP / "docs" / "index.md").read_text()
    assert [
        page.name for page in PAGES if page.parent.name == "docs" and page.name != "index.md" and page.name not in index
    ] == []
