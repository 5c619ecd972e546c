"""Disks with a GRUB of their own, to see consoles that the guests do not show by themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KERNEL = """\
search --no-floppy --file /vmlinuz --set=root
set gfxmode={mode}
set gfxpayload={mode}
terminal_output gfxterm
linux /vmlinuz console=tty0 console=ttyS0,115200 quiet panic=-1
initrd /initrd.gz
boot
"""
_KERNEL_MODULES = "part_gpt fat normal linux search search_fs_file efi_gop all_video gfxterm"


def kernel_disk(folder: Path, builtin: Path, mode: str) -> Path:
    """A disk that starts the built-in guest, whose image is given, on a screen of another size: ``1024x768``."""
    raw = folder / "builtin.img"
    _run(f"qemu-img convert -O raw {builtin} {raw}", f"mcopy -n -i {raw} ::/vmlinuz ::/initrd.gz {folder}")
    return bootable(folder, _KERNEL.format(mode=mode), _KERNEL_MODULES, folder / "vmlinuz", folder / "initrd.gz")


def bootable(folder: Path, config: str, modules: str, *files: Path) -> Path:
    """A disk with ``files`` and with a GRUB that has ``modules`` and does what ``config`` says."""
    loader, disk, script = folder / "BOOTX64.EFI", folder / "grub.img", folder / "grub.cfg"
    script.write_text(config, encoding="ascii")
    disk.unlink(missing_ok=True)
    _run(
        f"grub-mkimage -O x86_64-efi -c {script} -p / -o {loader} {modules}",
        f"truncate -s 50M {disk}",
        f"mkfs.fat -F 32 {disk}",
        f"mmd -i {disk} ::/EFI ::/EFI/BOOT",
        f"mcopy -i {disk} {loader} ::/EFI/BOOT/",
        f"mcopy -i {disk} {' '.join(map(str, files))} ::/",
    )
    return disk


def _run(*commands: str) -> None:
    for command in commands:
        subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)
