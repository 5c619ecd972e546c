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
READ = 16 << 10
"""Letters of a text that are looked at for secrets. What is behind them is never shown."""
MOST_ITEMS = 50
DEEPEST = 8

_SECRET_NAME = re.compile(
    r"(?<![a-z])(pass(word|wd|phrase|code)?|pwd|secret|token|credentials?|authorization|cookie|"
    r"(api|access|private|secret|ssh|encryption)[_-]?key(s|_data)?|chpasswd)(?![a-z])",
    re.IGNORECASE,
)
_NAMED = r"[\w.-]{0,40}(?:passw(?:or)?d|passphrase|passwd|secret|token|(?:api|access|private)[_-]?key)[\w.-]{0,40}"
_VALUE = r"(?:\"[^\"\n]{0,400}\"?|'[^'\n]{0,400}'?|[^\s\"'&;,|}]+)"
_PRINTED = r"\b(?:echo|printf)\s[^|\n]{0,400}?"
# Every repetition has a bound, so that no text takes longer than its length times that.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), put)
    for pattern, put in (
        # The end may be missing: what was cut off is no less secret.
        (r"(-----BEGIN ([A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20})-----)(?:.|\n)*?(?:-----END \2-----|\Z)", rf"\1 {MASK}"),
        (r"\b(authorization\s{0,5}[:=]\s{0,5})(?:(?:bearer|basic|digest|token)\s+)?[^\s'\"]+", rf"\1{MASK}"),
        (r"\b(bearer\s+)[\w.~+/-]{8,}=*", rf"\1{MASK}"),
        (r"\b([a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,100}:)[^\s/@]{1,400}@", rf"\1{MASK}@"),
        (r"\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*", MASK),
        (r"\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,})", MASK),
        (r"\b(?:sk-[\w-]{16,}|AKIA[0-9A-Z]{12,})", MASK),
        # A name that tells, and its value: password=..., "token": "...", --api-key ..., PASSWORD: ...
        (rf"((?<![\w-])(?:--?)?{_NAMED}[\"']?\s{{0,5}}[=:]\s{{0,5}}){_VALUE}", rf"\1{MASK}"),
        (rf"((?<![\w-])--?{_NAMED}\s{{1,5}})(?!-){_VALUE}", rf"\1{MASK}"),
        # What is piped into programs that take passwords.
        (rf"({_PRINTED}[\w.-]{{1,64}}:)[^\s\"'|]{{1,400}}([\"']?\s{{0,5}}\|\s{{0,5}}(?:sudo\s{{1,5}})?chpasswd)", rf"\1{MASK}\2"),
        (r"\b(echo|printf)\s[^|\n]{0,400}(\|\s{0,5}(?:sudo\s{1,5}-[\w-]{0,20}S|passwd\s{1,5}--stdin))", rf"\1 {MASK} \2"),
        (rf"(\bsshpass\s{{1,5}}-p\s{{0,5}}){_VALUE}", rf"\1{MASK}"),
        (r"(\bcurl\b[^|;&\n]{0,400}?\s(?:-u|--user)[\s=]{0,5}[\"']?[^\s:\"']{1,100}:)[^\s\"']+", rf"\1{MASK}"),
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
    """``text`` without what looks like a secret in it, and cut where it is long."""
    read = text[:READ]
    for pattern, put in _PATTERNS:
        read = pattern.sub(put, read)
    if len(text) <= READ and len(read) <= LONGEST:
        return read
    digest = hashlib.sha256(read.encode(errors="replace")).hexdigest()[:16]  # of what has no secrets in it any more
    return f"{read[:HEAD]}... ({len(text)} letters, sha256 {digest})"


def _of(name: str, value: Any, depth: int) -> Any:  # noqa: PLR0911  # one line for each kind of data
    if value is None or isinstance(value, bool):
        return value
    if name and _SECRET_NAME.search(_words(name)):
        return MASK
    if isinstance(value, int | float):
        return value
    if depth >= DEEPEST:
        return mask_text(repr(value))
    if isinstance(value, BaseModel):
        return _of("", value.model_dump(mode="json"), depth)
    if isinstance(value, Mapping):
        some = list(value.items())[:MOST_ITEMS]
        more = {"...": f"{len(value) - MOST_ITEMS} more"} if len(value) > MOST_ITEMS else {}
        return {mask_text(str(key)): _of(str(key), one, depth + 1) for key, one in some} | more
    if isinstance(value, bytes | bytearray):
        return _length(value)
    if isinstance(value, list | tuple | set | frozenset):
        some = list(value)[:MOST_ITEMS]
        more_items = [f"... {len(value) - MOST_ITEMS} more"] if len(value) > MOST_ITEMS else []
        return [_of("", one, depth + 1) for one in some] + more_items
    return mask_text(value if isinstance(value, str) else str(value) if isinstance(value, Path) else repr(value))


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
