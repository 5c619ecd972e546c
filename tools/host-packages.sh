#!/usr/bin/env bash
# Install the host packages that anima-qa needs: QEMU, UEFI firmware, the tools its guest images are built with, and Python.
#
#   tools/host-packages.sh [run|test]
#
# "run" (the default) is what running scripts needs; "test" adds what the test suite drives (a browser, an SSH client, ...).
# Does nothing, and needs no root and no network, when everything is there already. Shows what apt said only when it fails.
set -euo pipefail

purpose=${1:-run}
debian_guest=(mmdebstrap gdisk e2fsprogs)
packages=(
    qemu-system-x86 qemu-utils ovmf      # the machine and its firmware
    cpio grub-common grub-efi-amd64-bin mtools dosfstools xz-utils  # the built-in guest
    "${debian_guest[@]}"
    python3 python3-venv ca-certificates
)
case $purpose in
    run) ;;
    test)
        packages+=(chromium firefox-esr openssh-client git procps busybox strace tesseract-ocr ffmpeg)
        command -v npm >/dev/null || packages+=(nodejs npm)  # there are other ways to have it than Debian's package
        ;;
    *) echo "host-packages: unknown purpose '$purpose' (run or test)" >&2; exit 2 ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    lacking=()
    command -v qemu-system-x86_64 >/dev/null || [ -x /usr/libexec/qemu-kvm ] || lacking+=("QEMU 7.2 or newer for x86_64")
    command -v qemu-img >/dev/null || lacking+=("qemu-img")
    command -v python3 >/dev/null || lacking+=("Python 3.11 or newer")
    if [ ${#lacking[@]} -eq 0 ]; then exit 0; fi
    (IFS=,; echo "host-packages: please install: ${lacking[*]}, and OVMF (edk2); this script knows Debian and its relatives only" >&2)
    exit 3
fi

installed=$(dpkg-query -W -f '${Package} ${db:Status-Status} ${Version}\n' "${packages[@]}" 2>/dev/null || true)
missing=()
for package in "${packages[@]}"; do
    grep -q "^$package installed " <<< "$installed" || missing+=("$package")
done

# QEMU 7.2 (Debian 12) miscompiles recent kernels under software emulation: take the one from backports there.
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
old_qemu=
if [ "$codename" = bookworm ]; then
    version=$(sed -n 's/^qemu-system-x86 installed //p' <<< "$installed")
    if [ -z "$version" ] || dpkg --compare-versions "$version" lt 1:8; then old_qemu=yes; fi
fi

if [ ${#missing[@]} -eq 0 ] && [ -z "$old_qemu" ]; then exit 0; fi
if [ "$(id -u)" != 0 ]; then
    needed=()
    for package in "${missing[@]}"; do
        [[ " ${debian_guest[*]} " == *" $package "* ]] || needed+=("$package")
    done
    if [ "$purpose" = run ] && [ ${#needed[@]} -eq 0 ] && [ -z "$old_qemu" ]; then
        echo "host-packages: without ${missing[*]} the Debian guest cannot be built; everything else works" >&2
        exit 0
    fi
    echo "host-packages: missing: ${missing[*]:-}${old_qemu:+ (and QEMU 8 or newer, from backports)}" >&2
    echo "Run this once as root: $(realpath "$0") $purpose" >&2
    exit 3
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
apt() {
    # Another apt may be at work on a fresh machine: wait for its lock.
    if ! apt-get -y -q -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@" >> "$log" 2>&1 </dev/null; then
        echo "host-packages: this failed: apt-get $*" >&2
        tail -n 30 "$log" >&2
        exit 1
    fi
}

echo "installing host packages: ${missing[*]:-qemu-system-x86}${old_qemu:+ (QEMU from backports)}" >&2
apt update

if [ -n "$old_qemu" ]; then
    # The archive and its key are those the machine already uses for Debian itself.
    if ! apt-get indextargets --format '$(CODENAME)' | grep -x bookworm-backports >/dev/null; then
        uri=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Created-By: Packages' | sed -n 1p)
        entry=$(apt-get indextargets --format '$(SOURCESENTRY)' 'Codename: bookworm' 'Created-By: Packages' | sed -n '1s/:[0-9]*$//p')
        if [ -z "$uri" ]; then
            echo "host-packages: apt has no source for Debian bookworm to derive bookworm-backports from" >&2
            exit 3
        fi
        key=$(sed -nE 's/^Signed-By: *(\/.*)/\1/p; s/.*signed-by=(\/[^] ]*).*/\1/p' "$entry" | sed -n 1p)
        {
            printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\n' "$uri"
            [ -z "$key" ] || printf 'Signed-By: %s\n' "$key"
        } > /etc/apt/sources.list.d/anima-qa-backports.sources
        apt update
    fi
    apt install --no-install-recommends -t bookworm-backports qemu-system-x86 qemu-utils
fi
apt install --no-install-recommends "${packages[@]}"
