"""Takes secrets out of what is written down, and cuts what is long."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel

MASK = "***"
LONGEST = 500
"""Letters of a text that are kept whole. Longer ones are cut, and told apart by a digest."""
HEAD = 300
MOST_ITEMS = 50
DEEPEST = 8

_SECRET_NAME = re.compile(
    r"(?<![a-z])(pass(word|wd|phrase|code)?|pwd|secret|token|credentials?|authorization|cookie|"
    r"(api|access|private|secret|ssh|encryption)[_-]?key(s|_data)?|chpasswd)(?![a-z])",
    re.IGNORECASE,
)
_NAMED = r"[\w.-]*(?:passw(?:or)?d|passphrase|passwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)[\w.-]*"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), put)
    for pattern, put in (
        # The end may be missing: what was cut off is no less secret.
        (r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY[A-Z ]*)-----(?:.|\n)*?(?:-----END \1-----|\Z)", r"-----BEGIN \1----- " + MASK),
        (r"\b(authorization\s*[:=]\s*)(?:(?:bearer|basic|digest|token)\s+)?[^\s'\"]+", r"\1" + MASK),
        (r"\b(bearer\s+)[\w.~+/-]{8,}=*", r"\1" + MASK),
        (r"\b([a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@", r"\1" + MASK + "@"),
        (r"\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*", MASK),
        (r"\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,})", MASK),
        (r"\b(?:sk-[\w-]{16,}|AKIA[0-9A-Z]{12,})", MASK),
        # A name that tells, and its value: password=..., "token": "...", --api-key ..., PASSWORD: ...
        (rf"((?<![\w-])(?:--?)?{_NAMED}[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s\"'&;,|}}]+)", r"\1" + MASK),
        (rf"((?<![\w-])--?{_NAMED}\s+)(\"[^\"]*\"|'[^']*'|[^\s\"'&;|-][^\s\"'&;|]*)", r"\1" + MASK),
        (r"((?:echo|printf)\s+(?:-\w+\s+)*[\"']?[\w.-]+:)[^\s\"'|]+([\"']?\s*\|\s*(?:sudo\s+)?chpasswd)", r"\1" + MASK + r"\2"),
        (
            r"((?:echo|printf)\s+(?:-\w+\s+)*)(?:\"[^\"]*\"|'[^']*'|[^\s|]+)(\s*\|\s*(?:sudo\s+-\S*S|passwd\s+--stdin))",
            r"\1" + MASK + r"\2",
        ),
        (r"(\bsshpass\s+-p\s*)(\"[^\"]*\"|'[^']*'|\S+)", r"\1" + MASK),
        (r"(\bcurl\b[^|;&\n]*?\s(?:-u|--user)[\s=]*[\"']?[^\s:\"']+:)[^\s\"']+", r"\1" + MASK),
    )
)  # fmt: skip


def masked(value: Any, *, tool: str = "", hide: tuple[str, ...] = ()) -> Any:
    """``value`` as data for JSON, without what looks like a secret by its name or by itself, and with long texts cut.

    Args:
        tool: the operation, whose arguments ``hide`` names.
        hide: ``tool.argument``, with ``*`` for any letters: of these only the length is kept.
    """
    if isinstance(value, Mapping):
        return {
            str(name): _length(one) if _is_hidden(f"{tool}.{name}", hide) else _of(str(name), one, 0)
            for name, one in value.items()
        }
    return _of("", value, 0)


def mask_text(text: str) -> str:
    """``text`` without what looks like a secret in it."""
    for pattern, put in _PATTERNS:
        text = pattern.sub(put, text)
    return text


def cut(text: str) -> str:
    """``text``, or its beginning with its length and digest."""
    if len(text) <= LONGEST:
        return text
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
    return f"{text[:HEAD]}... ({len(text)} letters, sha256 {digest})"


def _of(name: str, value: Any, depth: int) -> Any:  # noqa: PLR0911  # one line for each kind of data
    if value is None or isinstance(value, bool):
        return value
    if name and _SECRET_NAME.search(_words(name)):
        return MASK
    if isinstance(value, int | float):
        return value
    if depth >= DEEPEST:
        return cut(mask_text(repr(value)))
    if isinstance(value, BaseModel):
        return _of("", value.model_dump(mode="json"), depth)
    if isinstance(value, Mapping):
        some = list(value.items())[:MOST_ITEMS]
        more = {"...": f"{len(value) - MOST_ITEMS} more"} if len(value) > MOST_ITEMS else {}
        return {cut(mask_text(str(key))): _of(str(key), one, depth + 1) for key, one in some} | more
    if isinstance(value, bytes | bytearray):
        return _length(value)
    if isinstance(value, list | tuple | set | frozenset):
        some = list(value)[:MOST_ITEMS]
        more_items = [f"... {len(value) - MOST_ITEMS} more"] if len(value) > MOST_ITEMS else []
        return [_of("", one, depth + 1) for one in some] + more_items
    return cut(mask_text(value if isinstance(value, str) else str(value) if isinstance(value, Path) else repr(value)))


def _words(name: str) -> str:
    """``userPassword`` and ``USER_PASSWORD`` as words with bounds."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).replace("_", "-")


def _length(value: Any) -> str:
    return (
        f"{MASK} ({len(value)} {'bytes' if isinstance(value, bytes | bytearray) else 'letters'})"
        if hasattr(value, "__len__")
        else MASK
    )


def _is_hidden(place: str, hide: tuple[str, ...]) -> bool:
    return any(fnmatchcase(place, pattern) for pattern in hide)
