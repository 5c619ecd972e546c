"""From a machine's spec to QEMU's command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qa.qemu.spec import Disk, MachineSpec

MONITOR = "monitor"
SERIAL = "serial"
NIC = "net0"

TB_SIZE = 512
"""MiB for translated code under TCG: the default of a quarter of the guest's memory is refilled again and again during a boot."""

SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


def port_channel(number: int) -> str:
    """Name of the channel behind a virtio serial port: 0 is the guest's hvc0, the others are its ``/dev/vport*pNUMBER``."""
    return f"port{number}"


def disk_node(number: int) -> str:
    """Name under which QEMU knows what is written of a disk of a machine that has just been started."""
    return f"disk{number}"


def channel_names(spec: MachineSpec) -> list[str]:
    """The channels that the machine has to the outside; each becomes an inherited descriptor."""
    return [MONITOR, SERIAL, *(port_channel(number) for number in range(spec.ports))]


def build_argv(binary: Path, spec: MachineSpec, descriptors: Mapping[str, int]) -> list[str]:
    """The command line. ``descriptors`` maps each of ``channel_names`` to a socket that QEMU inherits.

    The machine starts stopped: whoever launches it connects first and then lets it go.
    """
    return [
        str(binary),
        *("-name", _escape(spec.name)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-S"),
        *("-sandbox", SANDBOX),
        *(("-run-with", "exit-with-parent=on") if spec.exit_with_parent else ()),
        *("-action", "reboot=reset,shutdown=pause,panic=pause,watchdog=pause"),
        *(("-boot", f"menu=on,splash-time={spec.boot_menu * 1000:.0f}") if spec.boot_menu else ()),
        *_processor(spec),
        *("-drive", f"if=pflash,unit=0,format={spec.flash.code_format},readonly=on,file={_escape(spec.flash.code)}"),
        *("-drive", f"if=pflash,unit=1,format={spec.flash.variables_format},file={_escape(spec.flash.variables)}"),
        *_disks(spec.disks),
        *_network(spec),
        *("-vga", "none", "-device", "VGA"),
        *("-device", "qemu-xhci,id=usb", "-device", "usb-tablet,bus=usb.0"),
        *("-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0"),
        *("-device", "vmgenid,guid=auto", "-device", "pvpanic-pci"),
        *_channels(spec, descriptors),
        *(item for text in spec.smbios_strings for item in ("-smbios", f"type=11,value={_escape(text)}")),
    ]


def _escape(value: str | Path) -> str:
    """A comma inside an option's value is doubled."""
    return str(value).replace(",", ",,")


def _processor(spec: MachineSpec) -> list[str]:
    accel = f"tcg,thread=multi,tb-size={TB_SIZE}" if spec.accel == "tcg" else spec.accel
    cpu = "max" if spec.accel == "tcg" else "host"
    memory = max(1, spec.memory >> 20)
    common = ["-accel", accel, "-cpu", cpu, "-smp", str(spec.cpus), "-m", f"{memory}M"]
    if spec.frozen_memory is None:
        return ["-machine", "q35", *common]
    # The state that comes in is a list of devices alone, without the two sections that frame it in a migration between hosts.
    return [
        *("-machine", "q35,memory-backend=ram,suppress-vmdesc=on", "-global", "migration.send-configuration=off"),
        *("-incoming", "defer"),
        *("-object", f"memory-backend-file,id=ram,size={memory}M,share=off,mem-path={_escape(spec.frozen_memory)}"),
        *common,
    ]


def _disks(disks: tuple[Disk, ...]) -> list[str]:
    argv: list[str] = []
    for number, disk in enumerate(disks):
        node = disk_node(number)
        cache = ",cache.no-flush=on" if disk.throwaway and not disk.read_only else ""
        discard = "" if disk.read_only else ",discard=unmap"
        argv += [
            "-blockdev",
            f"driver={disk.format},node-name={node},read-only={'on' if disk.read_only else 'off'}{discard}{cache},"
            f"file.driver=file,file.filename={_escape(disk.path)}{',file.discard=unmap' if discard else ''}",
        ]
        serial = f",serial={disk.serial}" if disk.serial else ""
        boot = f",bootindex={number}" if disk.bootable else ""  # OVMF ignores -boot: this is the order
        argv += ["-device", f"virtio-blk-pci{boot},drive={node},id={node}-device{serial}"]
    return argv


def _network(spec: MachineSpec) -> list[str]:
    if spec.network == "none":
        return []
    restrict = ",restrict=on" if spec.network == "restricted" else ""
    # Without an option ROM the firmware does not wait for a network boot.
    return ["-netdev", f"user,id={NIC}{restrict}", "-device", f"virtio-net-pci,netdev={NIC},romfile="]


def _channels(spec: MachineSpec, descriptors: Mapping[str, int]) -> list[str]:
    argv: list[str] = []
    for name in channel_names(spec):
        argv += ["-chardev", f"socket,id={name},fd={descriptors[name]}"]
    argv += ["-mon", f"chardev={MONITOR},mode=control", "-serial", f"chardev:{SERIAL}"]
    if spec.ports:
        argv += ["-device", "virtio-serial-pci,id=ports"]
    for number in range(spec.ports):
        kind = "virtconsole" if number == 0 else "virtserialport"
        argv += ["-device", f"{kind},bus=ports.0,nr={number},chardev={port_channel(number)}"]
    return argv
