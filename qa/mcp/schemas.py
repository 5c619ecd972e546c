"""JSON Schemas as clients need them: each word of one is read by a model in each conversation."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_NO_USE = {
    "title",
    "additionalProperties",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "exclusiveMinimum",
    "minimum",
    "maximum",
}
"""Limits are checked by the model, whose complaint says more; here they would cost a sixth of all words."""


def input_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a tool's arguments: references put in place, without titles, and without "or null" where an argument may
    be left out. Unknown names are refused by the model, with the nearest known one."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    schema.pop("description", None)
    lean = _lean(schema, definitions)
    assert isinstance(lean, dict)
    lean.setdefault("properties", {})
    return lean


def _lean(node: Any, definitions: dict[str, Any], *, names: bool = False) -> Any:
    """``names``: the keys of this mapping are names of arguments, and say nothing about the schema."""
    if isinstance(node, list):
        return [_lean(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {name: _lean(one, definitions) for name, one in node.items()}
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        node = {**{key: value for key, value in target.items() if key != "description"}, **node}
        del node["$ref"]
    if "anyOf" in node:
        node = _without_null(node)
    if "prefixItems" in node:  # some clients refuse tuples
        node = {**{key: value for key, value in node.items() if key != "prefixItems"}, "items": node["prefixItems"][0]}
    if isinstance(default := node.get("default"), float) and default.is_integer():
        node = {**node, "default": int(default)}
    left = {key: value for key, value in node.items() if key not in _NO_USE or (key == "title" and not isinstance(value, str))}
    if left.get("default", 0) is None:
        del left["default"]
    return {key: _lean(value, definitions, names=key == "properties") for key, value in left.items()}


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    choices = [one for one in node["anyOf"] if one != {"type": "null"}]
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    if len(choices) == 1:
        only: dict[str, Any] = choices[0]
        return only | rest
    return {"anyOf": choices, **rest}


def tokens(text: str) -> int:
    """How many tokens a model reads, about: 3.5 characters of JSON make one. Each model counts in its own way."""
    return round(len(text) / 3.5)
