#!/usr/bin/env bash
# Install the host packages that anima-qa needs: QEMU, UEFI firmware, the tools its guest images are built with, and Python.
#
#   tools/host-packages.sh [run|test]
#
# "run" (the default) is what running scripts needs; "test" adds what the test suite drives (a browser, an SSH client, ...).
# Does nothing, and needs no root and no network, when everything is there already.
set -euo pipefail

purpose=${1:-run}
packages=(
    qemu-system-x86 qemu-utils ovmf      # the machine and its firmware
    busybox cpio grub-common grub-efi-amd64-bin mtools dosfstools xz-utils  # the built-in guest
    mmdebstrap gdisk e2fsprogs           # the Debian guest
    python3 python3-venv ca-certificates
)
case $purpose in
    run) ;;
    test) packages+=(chromium openssh-client git procps) ;;
    *) echo "host-packages: unknown purpose '$purpose' (run or test)" >&2; exit 2 ;;
esac

if ! command -v apt-get >/dev/null; then
    echo "host-packages: this script knows Debian and its relatives only." >&2
    echo "Elsewhere install QEMU 7.2 or newer, OVMF (edk2), qemu-img and Python 3.11 or newer; 'anima-qa doctor' names what is missing." >&2
    exit 3
fi

missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done

# QEMU 7.2 (Debian 12) miscompiles recent kernels under software emulation: take the one from backports there.
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
old_qemu=
if [ "$codename" = bookworm ]; then
    version=$(dpkg-query -W -f '${Version}' qemu-system-x86 2>/dev/null || true)
    if [ -z "$version" ] || dpkg --compare-versions "$version" lt 1:8; then old_qemu=yes; fi
fi

if [ ${#missing[@]} -eq 0 ] && [ -z "$old_qemu" ]; then exit 0; fi
if [ "$(id -u)" != 0 ]; then
    echo "host-packages: missing: ${missing[*]:-} ${old_qemu:+qemu-system-x86 (8 or newer)}" >&2
    echo "Run this once as root: $0 $purpose" >&2
    exit 3
fi

echo "installing: ${missing[*]:-} ${old_qemu:+(QEMU from backports)}" >&2
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -y -q -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
"${apt[@]}" update >&2

if [ -n "$old_qemu" ]; then
    # The archive and its key are those the machine already uses for Debian itself.
    if ! apt-get indextargets --format '$(CODENAME)' | grep -qx bookworm-backports; then
        uri=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Created-By: Packages' | head -n 1)
        key=$(sed -nE 's/^Signed-By: *(\/.*)/\1/p; s/.*signed-by=(\/[^] ]*).*/\1/p' \
            "$(apt-get indextargets --format '$(SOURCESENTRY)' 'Codename: bookworm' 'Created-By: Packages' | head -n 1 | sed 's/:[0-9]*$//')" | head -n 1)
        if [ -z "$uri" ]; then
            echo "host-packages: apt has no source for Debian bookworm to derive bookworm-backports from" >&2
            exit 3
        fi
        {
            printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\n' "$uri"
            [ -z "$key" ] || printf 'Signed-By: %s\n' "$key"
        } > /etc/apt/sources.list.d/anima-qa-backports.sources
        "${apt[@]}" update >&2
    fi
    "${apt[@]}" install --no-install-recommends -t bookworm-backports qemu-system-x86 qemu-utils >&2
fi
"${apt[@]}" install --no-install-recommends "${packages[@]}" >&2
