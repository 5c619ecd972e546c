#!/usr/bin/env python3
"""Writes docs/reference.md: verbs, modifiers and options, out of the code that runs them.

``tools/reference.py`` writes the page, ``tools/reference.py --check`` only tells whether it is up to date.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from qa.config import TABLES, Config
from qa.operations import CATALOGUE, Operation
from qa.operations.options import DiskOptions, LoginOptions, MachineOptions
from qa.scenario.schema import STRUCTURE, Expect, MachineEntry, Modifiers, Retry, ScriptModel
from qa.scenario.variables import BUILT_IN

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"
HEAD = """\
# Reference

This page is made out of the code by `tools/reference.py`; [scripts](scripts.md) teaches the same things by examples.
"""


def render(operations: Mapping[str, Operation]) -> str:
    """The page."""
    parts = [HEAD, "## Verbs\n", "What stands in *italics* is the argument that a lone value is taken for.\n"]
    groups: dict[str, list[Operation]] = {}
    for operation in operations.values():
        groups.setdefault(operation.group, []).append(operation)
    for group, members in groups.items():
        parts.append(f"### {group.capitalize()}\n")
        parts += [_verb(one.name, one.description, one.arguments, one.bare) for one in members]
    parts.append("### Structure\n")
    parts += [_verb(name, inspect.cleandoc(model.__doc__ or ""), model, bare) for name, (model, bare) in STRUCTURE.items()]
    parts += ["## Beside the verb\n", _table(Modifiers), "`retry`:\n", _table(Retry), "`expect`:\n", _table(Expect)]
    parts += ["## At the top of a script\n", _table(ScriptModel)]
    parts += ["`machine`:\n", _table(MachineOptions), "`disks`, each:\n", _table(DiskOptions), "`login`:\n", _table(LoginOptions)]
    own = set(MachineEntry.model_fields) - set(MachineOptions.model_fields)
    parts += ["`machines`, each: what `machine` has, and\n", _table(MachineEntry, only=own)]
    parts += ["## Built-in variables\n", _rows(("variable", "value"), ((f"`{name}`", text) for name, text in BUILT_IN.items()))]
    parts += [
        "## Settings\n",
        "In `config.toml`, or in the environment as `ANIMA_QA_` and the name in capitals.\n",
        _table(Config),
        *(f"`[{name}]`, a table of the file:\n\n{_table(type(getattr(Config(), name)))}" for name in TABLES),
    ]
    return "\n".join(parts)


def _verb(name: str, description: str, model: type[BaseModel], bare: str | None) -> str:
    table = _table(model, bare=bare) if model.model_fields else ""
    return f"#### `{name}`\n\n{description.strip()}\n\n{table}"


def _table(model: type[BaseModel], *, bare: str | None = None, only: Iterable[str] | None = None) -> str:
    schema = model.model_json_schema()
    definitions, required = schema.get("$defs", {}), schema.get("required", [])
    rows = []
    for name, field in schema["properties"].items():
        if only is not None and name not in only:
            continue
        shown = f"*`{name}`*" if name == bare else f"`{name}`"
        default = "needed" if name in required else _default(field.get("default"))
        about = field.get("description") or _definition(field, definitions).get("description", "")
        rows.append((shown, _type(field, definitions), default, " ".join(about.split())))
    return _rows(("name", "value", "default", ""), rows)


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _default(value: Any) -> str:
    if value is None or value in ({}, [], ""):
        return ""
    if isinstance(value, dict):
        return "its defaults"
    return f"`{str(value).lower() if isinstance(value, bool) else f'{value:g}' if isinstance(value, float) else value}`"


def _definition(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = definitions.get(str(field.get("$ref", "")).rpartition("/")[2], field)
    return found


def _type(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What may be written, in words."""
    if forms := field.get("anyOf"):
        words = [word for form in forms if (word := _type(form, definitions)) != "nothing"]
        return " or ".join(dict.fromkeys(words))
    field = _definition(field, definitions)
    if "enum" in field:
        return ", ".join(f"`{str(one).lower() if isinstance(one, bool) else one}`" for one in field["enum"])
    if field.get("type") == "array":
        items = field.get("items", {})
        return "steps" if "$comment" in items else f"list of: {_type(items, definitions)}"
    words = {"string": "text", "integer": "whole number", "boolean": "`true` or `false`", "object": "mapping", "null": "nothing"}
    return words.get(str(field.get("type")), str(field.get("type", "anything")))


def main() -> int:
    """Write the page, or compare it."""
    text = render(CATALOGUE)
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{PAGE} is out of date: run tools/reference.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
