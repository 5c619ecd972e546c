#!/bin/bash
# build.sh OUT.qcow2 [SUITE]: a Debian system for UEFI, from the mirror that this machine's apt uses. As root; mounts nothing.
#
# A GPT disk with an EFI system partition (GRUB, which finds the root by its label) and an ext4 root. What is in the system says the
# folder RECIPE (this one where it is not given): packages; overlay/, the files that are there before any package; grub.cfg; and if
# they are there dpkg.cfg, options of dpkg, and setup, which a shell of the new system runs at the end.
# To whoever runs it, it prints lines of the form "progress: DONE/TOTAL TEXT" and "package: NAME VERSION"; the rest is a log.
# Works in TMPDIR (3 GB at most, while the disk is put together) and leaves nothing there.
set -euo pipefail
umask 022
export LC_ALL=C

ESP_MIB=64
DISK_MIB=2048     # the installed system takes half of it; qemu-img resize and cloud-init's growpart make it any size

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export RECIPE=${RECIPE:-$here}
name=$(basename "$RECIPE")
out=$(realpath -m "${1:?build.sh OUT.qcow2 [SUITE]}")
suite=${2:-trixie}
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'echo "build.sh: failed at line $LINENO: $BASH_COMMAND" >&2' ERR
cd "$work"
chmod 755 .       # apt in the new system reads as another user

fail() { echo "build.sh: $*" >&2; exit 1; }
progress() { echo "progress: $1/5 $2"; }

debian_mirror() {  # where this machine's own apt gets Debian from
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' | head -n 1)
  [ -n "$mirror" ] || fail "apt on this machine has no source of Debian, or no lists yet (apt-get update)"
  echo "$mirror"
}

make_system() {
  local packages options=()
  export OVERLAY=$work/overlay
  cp -r "$RECIPE/overlay" "$OVERLAY"
  chmod -R u=rwX,go=rX "$OVERLAY"  # a recipe that was unpacked or cloned for one user alone must make a system for all of its users
  packages=$(grep -v '^#' "$RECIPE/packages" | paste -sd ,)
  [ ! -e "$RECIPE/dpkg.cfg" ] || options+=(--dpkgopt="$RECIPE/dpkg.cfg")
  [ ! -e "$RECIPE/setup" ] || options+=(--customize-hook='chroot "$1" sh -e < "$RECIPE/setup"')
  mmdebstrap --variant=minbase --architectures=amd64 --aptopt='Acquire::Retries "3"' --include="$packages" \
    --setup-hook='cp -r "$OVERLAY/." "$1"' "${options[@]}" "$suite" system "$mirror" ||
    fail "mmdebstrap could not make $suite from $mirror"
  dpkg-query --admindir=system/var/lib/dpkg --show --showformat 'package: ${Package} ${Version}\n'
}

set_up_system() {
  local version
  version=$(basename "$(find system/boot -name 'vmlinuz-*' | sort -V | tail -n 1)" | sed 's/^vmlinuz-//')
  [ -e "system/boot/initrd.img-$version" ] || fail "the system has no kernel or no initramfs"
  mkdir -p system/boot/efi system/boot/grub
  sed "s/@VERSION@/$version/" "$RECIPE/grub.cfg" > system/boot/grub/grub.cfg
  # each machine makes its own identity
  : > system/etc/machine-id
  rm -f system/etc/ssh/ssh_host_* system/etc/hostname system/var/lib/dbus/machine-id
  rm -rf system/var/cache/apt/*.bin system/var/lib/apt/lists/*
  printf 'IMAGE=anima-qa-%s\nSUITE=%s\nKERNEL=%s\n' "$name" "$suite" "$version" > system/etc/anima-qa-image
}

make_disk() {
  local root_start
  grub-mkimage -O x86_64-efi -c "$here/grub-early.cfg" -p /boot/grub -o BOOTX64.EFI \
    part_gpt ext2 fat search search_label configfile normal linux echo serial terminal efi_gop all_video test true sleep
  truncate -s ${ESP_MIB}M esp.img
  mkfs.fat -n ESP esp.img > /dev/null
  mmd -i esp.img ::/EFI ::/EFI/BOOT
  mcopy -i esp.img BOOTX64.EFI ::/EFI/BOOT/
  truncate -s ${DISK_MIB}M disk.raw
  sgdisk -n 1:1M:+${ESP_MIB}M -t 1:ef00 -n 2:0:0 -t 2:8304 disk.raw > /dev/null
  root_start=$(sgdisk -i 2 disk.raw | sed -n 's/^First sector: \([0-9]*\).*/\1/p')
  # 2 MiB less at the end: the second copy of the partition table
  truncate -s $((DISK_MIB - root_start / 2048 - 2))M root.img
  mke2fs -q -t ext4 -L root -d system root.img
  dd if=esp.img of=disk.raw bs=1M seek=1 conv=notrunc,sparse status=none
  dd if=root.img of=disk.raw bs=1M seek=$((root_start / 2048)) conv=notrunc,sparse status=none
  rm root.img
}

[ "$(id -u)" = 0 ] || fail "this recipe must run as root: the guest's files have many owners"
progress 0 "finding the mirror"
mirror=$(debian_mirror)
progress 1 "installing Debian $suite"
make_system
progress 2 "setting the system up"
set_up_system
progress 3 "making the disk"
make_disk
progress 4 "converting"
qemu-img convert -f raw -O qcow2 disk.raw "$out"
progress 5 "done"
