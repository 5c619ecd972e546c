"""The JSON Schema of whole scripts, out of the same models that check them: editors complete verbs and their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from qa.operations.operation import Operation
from qa.scenario.schema import A_STEP, STRUCTURE, WHOLE, FragmentModel, Modifiers, ScriptModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}
"""A variable may stand for any number, truth value or word out of a list."""
_Verb = tuple[type[BaseModel], str | None, str]
"""Arguments, the one that a lone value stands for, and the summary."""
_SCALARS = frozenset({"integer", "number", "boolean"})


def script_schema(operations: Mapping[str, Operation]) -> dict[str, Any]:
    """The schema of scripts and of included files."""
    definitions: dict[str, Any] = {}
    script = _schema(ScriptModel, definitions)
    _schema(FragmentModel, definitions)
    modifiers = _schema(Modifiers, definitions)
    verbs: dict[str, _Verb] = {
        name: (operation.arguments, operation.bare, operation.summary) for name, operation in operations.items()
    }
    verbs |= {name: (model, bare, (model.__doc__ or "").partition("\n")[0]) for name, (model, bare) in STRUCTURE.items()}
    definitions["Step"] = _step(modifiers, {name: _verb(name, *verb, definitions) for name, verb in verbs.items()}, verbs)
    return {
        "$schema": DIALECT,
        **_with_references(script),
        "title": "anima-qa script",
        "$defs": {name: _with_references(definition) for name, definition in definitions.items()},
    }


def _schema(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(schema_generator=_Generator, ref_template="#/$defs/{model}")
    definitions.update(schema.pop("$defs", {}))
    return schema


class _Generator(GenerateJsonSchema):
    """Leaves out what is noise in an editor: the titles, and defaults of None."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        made = super().default_schema(schema)
        if made.get("default", ...) is None:
            del made["default"]
        return made


def _step(modifiers: dict[str, Any], verbs: dict[str, Any], models: Mapping[str, _Verb]) -> dict[str, Any]:
    lone = [name for name, (model, _, _) in models.items() if _needs_nothing(model)]
    mapping = {
        "type": "object",
        "description": "One verb with its argument, and modifiers.",
        "properties": {**verbs, **modifiers["properties"]},
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in verbs],
    }
    return {"anyOf": [mapping, {"enum": lone, "description": "A verb without arguments."}] if lone else [mapping]}


def _verb(name: str, model: type[BaseModel], bare: str | None, summary: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """What may stand behind a verb: its arguments, the lone one, or nothing."""
    schema = _schema(model, definitions)
    schema.pop("title", None)
    schema.pop("description", None)
    forms: list[dict[str, Any]] = [schema]
    if bare:
        lone = dict(schema["properties"][bare])
        if name in WHOLE:
            return {**lone, "description": summary}
        forms.insert(0, _scalar_as_text(lone) if lone.get("type") == "string" else lone)
    if _needs_nothing(model):
        forms.append({"type": "null"})
    return {"description": summary, "anyOf": forms}


def _needs_nothing(model: type[BaseModel]) -> bool:
    return not any(field.is_required() for field in model.model_fields.values()) and model is not STRUCTURE["record"][0]


def _scalar_as_text(schema: dict[str, Any]) -> dict[str, Any]:
    """``succeed: true`` runs the command ``true``."""
    return {**schema, "type": ["string", "number", "boolean"]}


def _with_references(schema: Any) -> Any:
    """``schema`` in which everything that is not text may also be a variable."""
    if isinstance(schema, list):
        return [_with_references(item) for item in schema]
    if schema == A_STEP:
        return {"$ref": "#/$defs/Step"}
    if not isinstance(schema, dict):
        return schema
    if str(schema.get("type")) in _SCALARS or ("enum" in schema and schema.get("type") == "string"):
        notes = {key: schema[key] for key in ("description", "default") if key in schema}
        rest = {key: value for key, value in schema.items() if key not in notes}
        return {**notes, "anyOf": [rest, _REFERENCE]}
    return {
        key: value if key in {"default", "pattern", "const", "required", "enum"} else _members(key, value)
        for key, value in schema.items()
    }


def _members(key: str, value: Any) -> Any:
    if key in {"properties", "$defs"} and isinstance(value, dict):
        return {name: _with_references(one) for name, one in value.items()}
    return _with_references(value)
