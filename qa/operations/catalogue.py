"""The catalogue: every operation once, taken from the methods of ``Machine``."""

from __future__ import annotations

from qa.machine import Machine
from qa.operations.operation import Catalogue, operation_of

CATALOGUE = Catalogue(
    [
        operation_of(Machine.execute, group="commands", bare="command"),
        operation_of(Machine.succeed, group="commands", bare="command"),
        operation_of(Machine.fail, group="commands", bare="command"),
        operation_of(Machine.wait_until_succeeds, group="commands", bare="command"),
        operation_of(Machine.wait_until_fails, group="commands", bare="command"),
        operation_of(Machine.wait_for_ready, group="waiting"),
        operation_of(Machine.wait_for_unit, group="waiting", bare="unit"),
        operation_of(Machine.wait_for_open_port, group="waiting", bare="port"),
        operation_of(Machine.wait_for_closed_port, group="waiting", bare="port"),
        operation_of(Machine.wait_for_file, group="waiting", bare="path"),
        operation_of(Machine.wait_for_console_text, group="waiting", bare="pattern"),
        operation_of(Machine.wait_for_screen, group="waiting", bare="needle"),
        operation_of(Machine.wait_for_text, group="waiting", bare="pattern"),
        operation_of(Machine.wait_for_still_screen, group="waiting", bare="still"),
        operation_of(Machine.wait_for_shutdown, group="waiting"),
        operation_of(Machine.screenshot, group="looking", bare="name"),
        operation_of(Machine.assert_screen, group="looking", bare="needle"),
        operation_of(Machine.read_screen_text, group="looking", bare="region"),
        operation_of(Machine.read_console, group="looking", bare="lines"),
        operation_of(Machine.send_key, group="hands", bare="keys"),
        operation_of(Machine.send_chars, group="hands", bare="text"),
        operation_of(Machine.click, group="hands", bare="needle"),
        operation_of(Machine.drag, group="hands"),
        operation_of(Machine.scroll, group="hands", bare="direction"),
        operation_of(Machine.move_mouse, group="hands", bare="at"),
        operation_of(Machine.send_console, group="hands", bare="text"),
        operation_of(Machine.copy_to, group="files"),
        operation_of(Machine.copy_from, group="files"),
        operation_of(Machine.boot, group="power"),
        operation_of(Machine.shutdown, group="power"),
        operation_of(Machine.reboot, group="power"),
        operation_of(Machine.crash, group="power"),
        operation_of(Machine.pause, group="power"),
        operation_of(Machine.resume, group="power"),
        operation_of(Machine.snapshot, group="state", bare="name"),
        operation_of(Machine.restore, group="state", bare="name"),
    ]
)
