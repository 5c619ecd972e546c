"""Reading text off the machine's screen."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from qa.errors import DeadlineExceeded, HostError, MachineError
from qa.machine.base import WAIT_LIMIT, Duration, Pattern
from qa.machine.looking import Looking
from qa.patterns import compile_pattern
from qa.screen.frames import Frame
from qa.screen.sight import Mark, Sight
from qa.screen.watch import new_frames

if TYPE_CHECKING:  # whoever only checks a script reads no screens
    from collections.abc import Mapping

    from qa.screen.text import Box, Match, ScreenText


class ScreenRegion(BaseModel):
    """A part of the screen, in pixels from the top left."""

    model_config = ConfigDict(extra="forbid")

    x: int = Field(ge=0)
    y: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)


def _region(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if len(value) != len(ScreenRegion.model_fields):
        raise ValueError("a region is four numbers: [x, y, width, height]")
    return dict(zip(ScreenRegion.model_fields, value, strict=True))


_Four = Annotated[list[int], Field(min_length=4, max_length=4)]
Region = Annotated[
    ScreenRegion | None,
    BeforeValidator(_region, json_schema_input_type=ScreenRegion | _Four | None),
    Field(description="Only this part of the screen: [x, y, width, height], in pixels."),
]

LAST_LOOK = 10.0
"""Seconds for the last look, when time is up: tesseract takes 5 for a screen full of small text on a slow host."""

LABEL = 60
"""Characters of a text that are written beside the place where it was found."""


class TextNotFound(DeadlineExceeded):
    """A text did not come onto the screen. ``result`` is what was seen last."""

    def __init__(self, message: str, *, evidence: Mapping[str, str], hint: str | None, result: Sight | None) -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        self.result = result


@dataclass
class _Seen:
    """The last that was seen of the screen, and what was read of the last frame of which anything was."""

    frame: Frame | None = None
    texts: list[ScreenText] = field(default_factory=list)


class Reading(Looking):
    """Verbs that read."""

    async def read_screen_text(self, region: Region = None) -> str:
        """The text on the screen.

        Text consoles (the kernel's, GRUB's, the UEFI shell's) are read exactly, character by character; everything else is
        recognised by tesseract, which can err, and which must be installed for it.
        """
        from qa.screen.text import Box, read_frame  # noqa: PLC0415 -- as above

        box = Box(region.x, region.y, region.width, region.height) if region else None
        text = await read_frame(await self.grab(), region=box, language=self.setup.text_language)
        if text.failed:
            raise HostError(text.note, hint=text.hint or None)
        if text.how != "glyphs" or (text.grid and text.grid.unknown):
            self.bus.notice(f"{self.name}: {text.note}")  # what it says may not be what the screen shows
        return text.text

    async def wait_for_text(self, pattern: Pattern, timeout: Duration = WAIT_LIMIT) -> Sight:
        """Wait until the screen shows a text. The report shows where.

        On a text console a text may go on in the next row. On other screens tesseract recognises what it can: a short pattern of
        plain letters is found more surely than a long one.
        """
        frame, text, match = await self._look_for(pattern, timeout)
        how = "read exactly" if text.how == "glyphs" else text.note
        label = match.text if len(match.text) <= LABEL else f"{match.text[:LABEL]}..."
        mark = Mark(label, match.box.x, match.box.y, match.box.width, match.box.height)
        return Sight(frame, f"text /{pattern}/, {how}", marks=(mark,))

    async def _find_text(self, pattern: str, timeout: float) -> tuple[Frame, Box]:
        """Wait until a text is on the screen.

        Returns:
            The frame, and where the text is in it.

        Raises:
            UsageError: the pattern is no regular expression.
            DeadlineExceeded: it is not there in time; with the text that is most like it, and with the last frame as ``result``.
        """
        frame, _, match = await self._look_for(pattern, timeout)
        return frame, match.box

    async def _look_for(self, pattern: str, timeout: float) -> tuple[Frame, ScreenText, Match]:
        compile_pattern(pattern)  # a mistake in it is told before the screen is looked at
        self._on()
        deadline = self._deadline(timeout)
        seen = _Seen()
        try:
            return await self._guarded(self._watch_for(pattern, seen), deadline, f"text /{pattern}/ on the screen")
        except DeadlineExceeded as error:
            if found := await self._read_newest(pattern, seen):
                return found
            raise _not_found(error, pattern, seen) from None

    async def _read_newest(self, pattern: str, seen: _Seen) -> tuple[Frame, ScreenText, Match] | None:
        """Look once more when the time is up: reading may have been busy with an older picture, or not have begun."""
        with suppress(MachineError, TimeoutError):
            async with asyncio.timeout(LAST_LOOK):
                return await self._read(pattern, await self.grab(), seen)
        return None

    async def _watch_for(self, pattern: str, seen: _Seen) -> tuple[Frame, ScreenText, Match]:
        async with aclosing(new_frames(self.grab)) as frames:
            async for frame in frames:
                if found := await self._read(pattern, frame, seen):
                    return found
        raise AssertionError("a machine's frames have no end")

    async def _read(self, pattern: str, frame: Frame, seen: _Seen) -> tuple[Frame, ScreenText, Match] | None:
        from qa.screen.text import readings  # noqa: PLC0415 -- as above

        seen.frame, texts = frame, []
        async for text in readings(frame, language=self.setup.text_language):
            texts.append(text)
            seen.texts = texts
            if match := text.search(pattern):
                return frame, text, match
        return None


def _not_found(error: DeadlineExceeded, pattern: str, seen: _Seen) -> TextNotFound:
    """``error`` with what the screen says instead."""
    from qa.screen.text import together  # noqa: PLC0415 -- as above
    from qa.screen.text.nearest import nearest_text  # noqa: PLC0415 -- as above

    evidence: dict[str, str] = {}
    hint = None
    if seen.texts:
        text = together(seen.texts)
        if near := nearest_text(pattern, text.text):
            evidence["most like it on the screen"] = near
        evidence["the screen, recognised by tesseract" if text.how == "tesseract" else "the screen"] = text.text or text.note
        hint = text.hint or None
    sight = Sight(seen.frame, f"text /{pattern}/") if seen.frame else None
    return TextNotFound(error.message, evidence=evidence, hint=hint, result=sight)
