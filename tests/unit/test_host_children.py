"""Whether memory of child processes can be reached."""

from __future__ import annotations

import os
from typing import Any

import pytest

from qa.host import children


def test_here_it_can() -> None:
    assert children.cannot_reach_children() is None


def test_a_refusal_is_told_in_the_kernels_words(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: str, *rest: Any) -> int:
        if "/mem" in path:
            raise PermissionError(1, os.strerror(1), path)
        return opened(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    assert children.cannot_reach_children() == "Operation not permitted"
