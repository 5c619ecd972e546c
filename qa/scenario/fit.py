"""Makes models out of data from a file, and turns what pydantic finds wrong into problems with their places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from qa.scenario.problems import Problem, did_you_mean, nearest
from qa.scenario.source import KeyPath, Source

M = TypeVar("M", bound=BaseModel)

_TEXT_WANTED = frozenset({"string_type", "path_type", "literal_error"})
_MESSAGES = {
    "string_type": "must be text",
    "path_type": "must be a path",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
}


def fit(
    model: type[M],
    value: dict[str, Any],
    source: Source,
    locate: Callable[[KeyPath], KeyPath],
    problems: list[Problem],
    *,
    of: str = "",
) -> M | None:
    """``value`` as ``model``, or None and its mistakes in ``problems``.

    A scalar that YAML took for a number or a truth value is given as it was written where text is wanted: ``succeed: true``
    runs the command ``true``.

    Args:
        locate: makes the place in the file out of a place in ``value``.
        of: what has the keys, for messages (``succeed``).
    """
    while True:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            if not _mend(value, error, source, locate):
                details = _without_consequences(error.errors(), model)
                problems.extend(_problem(detail, source, locate, model, of) for detail in details)
                return None


def _mend(value: Any, error: ValidationError, source: Source, locate: Callable[[KeyPath], KeyPath]) -> bool:
    """Put the written text in the place of scalars where text is wanted; tells whether anything changed."""
    changed = False
    for detail in error.errors():
        parent: Any = value
        keys = list(detail["loc"])
        while len(keys) > 1 and _has(parent, keys[0]) and isinstance(parent[keys[0]], dict | list):
            parent = parent[keys.pop(0)]
        if detail["type"] not in _TEXT_WANTED or not keys or not _has(parent, keys[0]):
            continue
        raw = source.raw.get(locate(detail["loc"]))
        if raw is not None and isinstance(parent[keys[0]], bool | int | float):
            parent[keys[0]] = raw
            changed = True
    return changed


def _without_consequences(details: Sequence[Mapping[str, Any]], model: type[BaseModel]) -> list[Mapping[str, Any]]:
    """The mistakes without keys that are missing only because they were mistyped."""
    mistyped = set()
    for detail in details:
        loc = detail["loc"]
        if detail["type"] == "extra_forbidden" and (near := nearest(str(loc[-1]), keys_of(model, loc[:-1]))):
            mistyped.add((*loc[:-1], near))
    return [detail for detail in details if detail["type"] != "missing" or detail["loc"] not in mistyped]


def _has(container: Any, key: Any) -> bool:
    if isinstance(container, dict):
        return key in container
    return isinstance(container, list) and isinstance(key, int) and key < len(container)


def within(source: Source, base: KeyPath) -> Callable[[KeyPath], KeyPath]:
    """A ``locate`` for a value that stands at ``base`` as it is; what pydantic adds to a place of its own is left out."""

    def locate(loc: KeyPath) -> KeyPath:
        path = base
        for part in loc:
            if (*path, part) not in source.values:
                break
            path = (*path, part)
        return path

    return locate


def _problem(
    detail: Mapping[str, Any], source: Source, locate: Callable[[KeyPath], KeyPath], model: type[BaseModel], of: str
) -> Problem:
    loc, kind = detail["loc"], detail["type"]
    path = locate(loc)
    name = str(next((part for part in reversed(loc) if isinstance(part, str) and part in path), loc[0] if loc else of))
    if kind == "extra_forbidden":
        key = str(loc[-1])
        parent = next((str(part) for part in reversed(loc[:-1]) if isinstance(part, str) and part in path), of)
        owner = f" of {parent}" if parent else ""
        choice = keys_of(model, loc[:-1])
        hint = did_you_mean(key, choice) or (f"there are: {', '.join(choice)}" if choice else None)
        return source.problem(path, f"unknown key {key!r}{owner}", hint, key=True)
    if kind == "missing":
        return source.problem(path, f"{of + ' needs' if of else 'there must be'} {str(loc[-1])!r}", key=True)
    if kind == "literal_error":
        expected = str(detail["ctx"]["expected"])
        words = [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",")]
        return source.problem(path, f"{name!r} must be {expected}", did_you_mean(str(detail["input"]), words))
    message = str(detail["msg"])
    if kind == "value_error":
        return source.problem(path, message.removeprefix("Value error, "))
    if kind == "string_pattern_mismatch":
        return source.problem(
            path, f"{detail['input']!r} does not fit the pattern {detail['ctx']['pattern']}", key="[key]" in loc
        )
    said = _MESSAGES.get(kind, message[:1].lower() + message[1:]).format(**detail.get("ctx", {}))
    return source.problem(path, f"{name!r} {said}")


def keys_of(model: type[BaseModel], loc: KeyPath = ()) -> tuple[str, ...]:
    """The keys of a model, or of the model inside it at ``loc``; none where there is no model."""
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is None:  # a name or an index on the way into a mapping or a list of models
            continue
        inner = _model_in(field.annotation)
        if inner is None:
            return ()
        model = inner
    return tuple(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_in(one))), None)
