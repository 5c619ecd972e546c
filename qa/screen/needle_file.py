"""Needles that are made here: out of coordinates, written so that a needle is there whole or not at all."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from qa.errors import HostError, UsageError
from qa.screen.frames import Frame
from qa.screen.needle import Description, NeedleError, describe_problems

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BOX = r"(\d+),(\d+),(\d+)x(\d+)"
_AREA = re.compile(rf"{_BOX}(?::(\d+(?:\.\d+)?)%?)?(?::(openqa|colour|exact))?")
_EXCLUDE = re.compile(_BOX)
_CLICK = re.compile(r"(\d+),(\d+)(?::([A-Za-z0-9_-]+))?")


def parse_area(text: str) -> dict[str, Any]:
    """An area of type match out of ``X,Y,WxH``, ``X,Y,WxH:90%`` or ``X,Y,WxH:90%:colour``.

    Raises:
        UsageError: it is none.
    """
    if not (found := _AREA.fullmatch(text)):
        raise UsageError(
            f"{text!r} is not an area",
            hint="write X,Y,WxH, for example 20,40,300x80, 20,40,300x80:90% or 20,40,300x80:100%:exact",
        )
    match, metric = found.group(5), found.group(6)
    area = _box(found) | {"type": "match"}
    return area | ({"match": float(match)} if match else {}) | ({"metric": metric} if metric else {})


def parse_exclude(text: str) -> dict[str, Any]:
    """An area of type exclude out of ``X,Y,WxH``.

    Raises:
        UsageError: it is none.
    """
    if not (found := _EXCLUDE.fullmatch(text)):
        raise UsageError(f"{text!r} is not an area", hint="write X,Y,WxH, for example 20,40,300x80")
    return _box(found) | {"type": "exclude"}


def _box(found: re.Match[str]) -> dict[str, Any]:
    return dict(zip(("xpos", "ypos", "width", "height"), map(int, found.groups()[:4]), strict=True))


def add_click(areas: list[dict[str, Any]], text: str) -> None:
    """Put the click point ``X,Y`` or ``X,Y:ID`` (in the picture) into the smallest area of type match around it.

    Raises:
        UsageError: it is none, no area is there, or it has one already.
    """
    if not (found := _CLICK.fullmatch(text)):
        raise UsageError(f"{text!r} is not a click point", hint="write X,Y, or X,Y:NAME where there are several")
    x, y = int(found[1]), int(found[2])
    around = [
        area
        for area in areas
        if area["type"] == "match" and 0 <= x - area["xpos"] < area["width"] and 0 <= y - area["ypos"] < area["height"]
    ]
    if not around:
        raise UsageError(
            f"the click point {text} is in no area", hint="it moves with the area that it is in: put an --area around it"
        )
    area = min(around, key=lambda one: one["width"] * one["height"])
    if "click_point" in area:
        raise UsageError(f"the area around the click point {text} has one already", hint="an area has one click point")
    area["click_point"] = {"xpos": x - area["xpos"], "ypos": y - area["ypos"]} | ({"id": found[3]} if found[3] else {})


def check_name(name: str) -> None:
    """Refuse what makes no good file name.

    Raises:
        UsageError: it does not.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a needle", hint="letters, digits, dots, dashes and underscores, for example login-prompt"
        )


def check_description(path: Path, data: Mapping[str, Any], size: tuple[int, int]) -> None:
    """Refuse what could not be read again as the needle at ``path``.

    Args:
        size: width and height of its picture.

    Raises:
        NeedleError: it could not.
    """
    try:
        description = Description.model_validate(data)
    except ValidationError as error:
        raise NeedleError(describe_problems(path, error)[0]) from None
    if problems := description.outside(path, size):
        raise NeedleError(problems[0])


def write_needle(path: Path, data: Mapping[str, Any], frame: Frame | None) -> None:
    """Write a needle's JSON, and its picture where ``frame`` is given: the picture first, as nothing is read without the JSON.

    Raises:
        UsageError: a text in it cannot be written; nothing has been then.
        HostError: the folder cannot be written to.
    """
    try:
        content = f"{json.dumps(data, indent=2, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:
        raise UsageError(f"a text of {path} is not UTF-8", hint="give tags and the workaround in UTF-8") from None
    if frame:
        write_picture(path.with_suffix(".png"), frame)
    with _whole(path) as temporary:
        temporary.write_bytes(content)


def write_picture(path: Path, frame: Frame) -> None:
    """Write a picture in the place of the one that is there.

    Raises:
        HostError: the folder cannot be written to.
    """
    with _whole(path) as temporary:
        frame.save_png(temporary)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file beside ``path`` that takes its place when the block ends well."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror or error}") from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
