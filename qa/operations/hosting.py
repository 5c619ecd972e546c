"""Operations on what this host has: images and templates. Each is a function of a bench, with the schema and the help that every
surface shows for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from qa.operations import image_operations as images
from qa.operations import template_operations as templates
from qa.operations.bench import Bench
from qa.operations.calls import Effect, Facts
from qa.operations.operation import Arguments, Operation, by_name, operation_of

__all__ = ["HOST_OPERATIONS", "Bench", "HostOperation"]


@dataclass(frozen=True)
class HostOperation:
    """One operation.

    Attributes:
        effect: the most that it does; with some arguments it does less, which its facts tell.
        destroys: the argument without which it does not destroy; empty where it does in any case, or never.
        open_world: it fetches things from other hosts.
        judge: what a call of it does.
    """

    operation: Operation
    effect: Effect
    judge: Callable[[Bench, Mapping[str, Any]], Facts]
    open_world: bool = False
    destroys: str = ""

    @property
    def name(self) -> str:
        """Its name: ``image_convert``."""
        return self.operation.name

    @property
    def least(self) -> Effect:
        """The least that it does."""
        return "change" if self.destroys else self.effect

    @property
    def toolset(self) -> str:
        """``images`` or ``templates``."""
        return self.operation.group

    def facts(self, bench: Bench, arguments: Arguments) -> Facts:
        """What a call of it does, for the gate."""
        return self.judge(bench, by_name(arguments))

    async def __call__(self, bench: Bench, arguments: Arguments) -> Any:
        """Do it. The result is plain data.

        Raises:
            QaError: it could not be done.
        """
        return await self.operation(bench, arguments)


def _images(function: Any, effect: Effect, judge: Any, *, open_world: bool = False, destroys: str = "") -> HostOperation:
    return HostOperation(
        operation_of(function, group="images", bare="image" if "image" in function.__annotations__ else None),
        effect,
        judge,
        open_world,
        destroys,
    )


def _templates(function: Any, effect: Effect, judge: Any) -> HostOperation:
    return HostOperation(operation_of(function, group="templates"), effect, judge)


class HostOperations(Mapping[str, HostOperation]):
    """Operations by name, in the order in which they are taught."""

    def __init__(self, *operations: HostOperation) -> None:
        self._operations = {one.name: one for one in operations}

    def __getitem__(self, name: str) -> HostOperation:
        return self._operations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._operations)

    def __len__(self) -> int:
        return len(self._operations)


HOST_OPERATIONS = HostOperations(
    _images(images.image_list, "read", images.reads_nothing),
    _images(images.image_pull, "change", images.pulls, open_world=True),
    _images(images.image_info, "read", images.reads_image),
    _images(images.image_convert, "destroy", images.makes_image, open_world=True, destroys="replace"),
    _images(images.image_overlay, "destroy", images.makes_image, open_world=True, destroys="replace"),
    _images(images.image_resize, "destroy", images.changes_image, destroys="shrink"),
    _templates(templates.template_list, "read", templates.reads_store),
    _templates(templates.template_info, "read", templates.reads_store),
    _templates(templates.template_remove, "destroy", templates.removes),
    _templates(templates.template_prune, "destroy", templates.prunes),
)
