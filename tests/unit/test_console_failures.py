"""Known ends of a boot, recognised in the console's stream."""

from __future__ import annotations

import pytest

from qa.console.failures import KNOWN_FAILURES, FailureScan
from qa.errors import BootFailed, GuestPanic, GuestStalled

SEEN = {
    "panic": b"[    1.234567] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n",
    "stalled": b"[   24.1] rcu: rcu_preempt kthread timer wakeup didn't happen for 5235 jiffies! g-1135 f0x0\r\n",
    "UEFI shell": b"\x1b[2J\x1b[01;01HUEFI Interactive Shell v2.2\r\n",
    "no boot device": b"BdsDxe: No bootable option or device was found.\r\n",
    "boot loader's prompt": b"\x1b[H\x1b[Jgrub> ",
    "initramfs shell": b"BusyBox v1.37.0 (Debian) built-in shell (ash)\r\n(initramfs) ",
    "emergency shell": b'You are in emergency mode. After logging in, type "journalctl -xb"\r\n',
}
MORE = {
    "UEFI shell": [b"\r\nShell> "],
    "boot loader's prompt": [
        b"\r\ngrub rescue> ",
        b"error: no such device: rootfs.\r\ngrub> ",
        b"\x1b[5;1Hgrub> ",
        b"\x1b[?25hgrub>",
    ],
    "initramfs shell": [b"dracut:/# ", b"Entering emergency mode. Exit the shell to continue.\r\n"],
    "emergency shell": [
        b"Give root password for maintenance\r\n",
        b"Cannot open access to console, the root account is locked.\r\n",
        b"You are in rescue mode.\r\n",
    ],
}
CASES = [*SEEN.items(), *((name, text) for name, texts in MORE.items() for text in texts)]


def feed(scan: FailureScan, *pieces: bytes) -> tuple[str, str] | None:
    for piece in pieces:
        if found := scan.feed(piece):
            return found[0].name, found[1]
    return None


def test_each_known_failure_is_tried_here() -> None:
    assert set(SEEN) == {failure.name for failure in KNOWN_FAILURES}


@pytest.mark.parametrize(("name", "text"), CASES)
def test_it_is_recognised(name: str, text: bytes) -> None:
    found = feed(FailureScan(), b"something before\r\n" + text)
    assert found is not None
    assert found[0] == name


@pytest.mark.parametrize(("name", "text"), CASES)
def test_it_is_recognised_byte_by_byte(name: str, text: bytes) -> None:
    found = feed(FailureScan(), b"before\r\n", *(text[index : index + 1] for index in range(len(text))))
    assert found is not None
    assert found[0] == name


def test_a_panics_reason_is_told_whole_wherever_the_pieces_end() -> None:
    for border in range(len(SEEN["panic"])):
        found = feed(FailureScan(), SEEN["panic"][:border], SEEN["panic"][border:])
        assert found == ("panic", "VFS: Unable to mount root fs on unknown-block(0,0)")


def test_after_the_boot_only_a_panic_counts() -> None:
    scan = FailureScan()
    scan.booting = False
    assert [feed(scan, b"\r\n" + text) for name, text in CASES if name != "panic"] == [None] * (len(CASES) - 1)
    assert feed(scan, SEEN["panic"]) is not None


def test_a_failure_is_told_once() -> None:
    scan = FailureScan()
    assert feed(scan, SEEN["no boot device"]) is not None
    assert feed(scan, b"something else\r\n") is None


@pytest.mark.parametrize(
    "harmless",
    [
        b"Unpacking initramfs...\r\n",
        b"Loading initial ramdisk ...\r\n",
        b"Reached target emergency.target\r\n",
        b"update-grub> done\r\n",
        b"the menu entry shows grub> set root=(hd0)\r\n",
        b"kernel.panic = -1\r\n",
    ],
)
def test_harmless_output_is_no_failure(harmless: bytes) -> None:
    assert feed(FailureScan(), harmless) is None


def test_only_a_panic_is_called_one() -> None:
    assert {failure.name for failure in KNOWN_FAILURES if failure.error is GuestPanic} == {"panic"}
    assert {failure.error for failure in KNOWN_FAILURES if failure.name != "panic"} == {BootFailed, GuestStalled}


def test_little_is_carried_over_between_pieces() -> None:
    scan = FailureScan()
    for _ in range(100):
        scan.feed(b"x" * 10_000)
    assert len(scan._carried) == FailureScan.OVERLAP
