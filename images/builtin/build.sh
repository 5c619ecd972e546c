#!/bin/bash
# build.sh OUT.qcow2: the built-in guest, out of packages of the Debian release that this machine's apt knows. Needs no root.
#
# A FAT file system with a GRUB image, a kernel, and an initramfs of BusyBox and a few modules; dropbear for SSH.
# To whoever runs it, it prints lines of the form "progress: DONE/TOTAL TEXT" and "package: NAME VERSION"; the rest is a log.
# Where COPYRIGHTS names a folder, it gets the copyright file of each package, and "sources": package, version, source, its version.
# Works in TMPDIR and leaves nothing there. umask, time zone and times are fixed, so that equal packages give equal files.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=1700000000

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(realpath -m "${1:?build.sh OUT.qcow2}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'echo "build.sh: failed at line $LINENO: $BASH_COMMAND" >&2' ERR
cd "$work"

fail() { echo "build.sh: $*" >&2; exit 1; }
progress() { echo "progress: $1/5 $2"; }

kernel_package() {  # the package that the metapackage stands for: the newest kernel of this release
  local name
  name=$(apt-cache show --no-all-versions linux-image-cloud-amd64 2>/dev/null |
    sed -n 's/^Depends:.*\b\(linux-image-[0-9][^ ,|()]*\).*/\1/p' | head -n 1)
  [ -n "$name" ] || fail "apt knows no package linux-image-cloud-amd64; its lists may be missing (apt-get update), or this is not Debian"
  echo "$name"
}

fetch() {  # the packages, unpacked into packages/
  local sandbox=() file
  # apt drops root for the download and could not write into our private folder
  [ "$(id -u)" != 0 ] || sandbox=(-o APT::Sandbox::User=root)
  mkdir debs packages
  (cd debs && apt-get "${sandbox[@]}" -o Acquire::Retries=3 download "$@") || fail "cannot download: $*"
  for file in debs/*.deb; do
    echo "package: $(dpkg-deb --show --showformat '${Package} ${Version}' "$file")"
    dpkg-deb --extract "$file" packages
  done
  [ -z "${COPYRIGHTS:-}" ] || keep_copyrights
}

keep_copyrights() {  # of what ends up in the image: the packages, and GRUB, whose modules grub-mkimage puts into it
  local format='${Package} ${Version} ${source:Package} ${source:Version}\n' name
  {
    for file in debs/*.deb; do dpkg-deb --show --showformat "$format" "$file"; done
    dpkg-query --show --showformat "$format" grub-efi-amd64-bin
  } > "$COPYRIGHTS/sources"
  while read -r name _; do
    cp -L "packages/usr/share/doc/$name/copyright" "$COPYRIGHTS/$name" 2>/dev/null ||
      cp -L "/usr/share/doc/$name/copyright" "$COPYRIGHTS/$name" ||  # some keep it in a package that is on every host
      fail "$name has no copyright file"
  done < "$COPYRIGHTS/sources"
}

module_file() {  # the path of a module, under either spelling of its name; nothing if the kernel has it built in
  find packages -path '*/lib/modules/*' \( -name "${1//_/-}.ko*" -o -name "${1//-/_}.ko*" -o -name "$1.ko*" \) | head -n 1
}

unpacked() {
  case $1 in
    *.xz) xz -dc "$1" ;;
    *) cat "$1" ;;
  esac
}

add_module() {  # with what it depends on before it
  local name=$1 file needed
  file=$(module_file "$name")
  [ -n "$file" ] || return 0
  name=$(basename "$file"); name=${name%%.ko*}
  [ ! -e "root/lib/modules/$name.ko" ] || return 0
  unpacked "$file" > "root/lib/modules/$name.ko"
  for needed in $(tr '\0' '\n' < "root/lib/modules/$name.ko" | sed -n 's/^depends=//p' | tr ',' ' '); do add_module "$needed"; done
  echo "$name.ko" >> root/etc/modules.load
}

add_program() {  # a dynamically linked program, with the libraries that the packages' own loader finds for it
  local program loader paths library
  program=$(find packages -type f -name "$1" -path '*bin/*' | head -n 1)
  loader=$(find packages -name 'ld-linux-x86-64.so.2' -path '*/x86_64-linux-gnu/*' | head -n 1)
  paths=$(find "$PWD/packages" -type d -name x86_64-linux-gnu | paste -sd :)
  [ -n "$program" ] && [ -n "$loader" ] || fail "$1 or its loader is in none of the packages"
  cp "$program" root/bin/
  mkdir -p root/lib64
  cp -L "$loader" root/lib64/
  "$loader" --library-path "$paths" --list "$program" | sed -n 's/.* => \(.*\) (0x[0-9a-f]*)$/\1/p' > libraries
  ! grep -v "^$PWD/" libraries | grep -v ld-linux || fail "libraries of $1 are in none of the packages"
  while read -r library; do case $library in *ld-linux*) ;; *) cp -L "$library" root/lib/ ;; esac; done < libraries
}

make_root() {  # the initramfs' tree
  local busybox applet module
  mkdir -p root/{bin,dev,proc,sys,tmp,run,root,mnt,var,etc/acpi/PWRF,lib/modules}
  cp -r "$here/root/." root/
  mv root/etc/acpi/power-button root/etc/acpi/PWRF/00000080
  chmod 755 root/sbin/* root/etc/acpi/PWRF/00000080
  busybox=$(find packages -type f -path '*bin/busybox')
  cp "$busybox" root/bin/busybox
  for applet in $("$busybox" --list); do [ -e "root/bin/$applet" ] || [ -e "root/sbin/$applet" ] || ln -s busybox "root/bin/$applet"; done
  for applet in getty acpid reboot udhcpc; do ln -s ../bin/busybox "root/sbin/$applet"; done
  ln -s bin/busybox root/init
  ln -s ../run root/var/run
  : > root/etc/modules.load
  while read -r module; do add_module "$module"; done < <(grep -v '^#' "$here/modules")
  add_program dropbear
}

make_disk() {  # $1: the kernel. A FAT file system that fills the disk, as on a USB stick: UEFI firmware boots it without a partition table
  find root -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  (cd root && find . | sort | cpio --quiet --create --format=newc --owner=0:0 --reproducible) | gzip -9n > initrd.gz
  grub-mkimage -O x86_64-efi -c "$here/grub.cfg" -p / -o BOOTX64.EFI part_gpt fat normal linux echo efi_gop all_video
  truncate -s $(( ($(stat -Lc %s "$1") + $(stat -c %s initrd.gz)) / 1024 + 3072 ))K esp.img
  mkfs.fat --invariant -n ANIMA-QA esp.img > /dev/null
  cp -L "$1" vmlinuz
  touch -d "@$SOURCE_DATE_EPOCH" vmlinuz initrd.gz BOOTX64.EFI
  mmd -i esp.img ::/EFI ::/EFI/BOOT
  mcopy -m -i esp.img BOOTX64.EFI ::/EFI/BOOT/
  mcopy -m -i esp.img vmlinuz initrd.gz ::/
}

[ "$(dpkg --print-architecture)" = amd64 ] || fail "this recipe makes an amd64 guest and needs apt of an amd64 system"

progress 0 "finding packages"
kernel=$(kernel_package)
dropbear=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances dropbear-bin |
  grep '^[a-z0-9]' | grep -v -- '-base$\|:' | sort -u) || fail "apt knows no package dropbear-bin"

progress 1 "downloading $kernel, busybox-static, dropbear-bin"
# shellcheck disable=SC2086  # one word for each package
fetch "$kernel" busybox-static $dropbear

progress 2 "packing the initramfs"
make_root

progress 3 "making the disk"
make_disk "$(find packages/boot -name 'vmlinuz-*' | head -n 1)"

progress 4 "compressing"
qemu-img convert -f raw -O qcow2 -c esp.img "$out"
progress 5 "done"
