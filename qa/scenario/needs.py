"""What a script's machines take of this host."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache

from qa.errors import QaError
from qa.fleet.admission import Need
from qa.images.resolve import DEFAULT_MEMORY, usual_memory
from qa.paths import Paths
from qa.scenario.script import MachinePlan, Script

QEMU_MEMORY = 256 << 20
"""Bytes that QEMU takes beside the guest's memory, the code that it translates under software emulation among them."""


def needs_on(paths: Paths) -> Callable[[Script], Need]:
    """How to tell what a script needs, with the images that are known under ``paths``."""

    @cache
    def of_image(reference: str) -> int:
        with suppress(QaError):  # an image that is damaged is told when it is opened
            return usual_memory(reference, paths=paths)
        return DEFAULT_MEMORY

    def of_machine(plan: MachinePlan) -> int:
        return QEMU_MEMORY + (plan.options.memory or of_image(plan.image))

    def of_script(script: Script) -> Need:
        return Need(sum(map(of_machine, script.machines)), sum(plan.options.cpus for plan in script.machines))

    return of_script
