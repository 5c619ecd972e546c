#!/usr/bin/env bash
# Run dist/anima-qa.pyz on bare hosts: chroots of Debian releases that have python3, QEMU and OVMF, and nothing else.
#
#   tools/bare-hosts.sh [SUITE...]     by default: bookworm trixie testing
#
# As root, and as an ordinary user: --version, doctor, check, --licenses, all modules imported, run examples/hello.yaml cold and warm,
# a conversation over MCP; then without QEMU. There is no network in there. Needs root, mmdebstrap, and a Debian archive in this machine's apt sources; takes some minutes for each suite.
# Everything happens in mount, process and network namespaces of its own, so nothing stays mounted when it is killed.
# BARE_HOSTS names a folder to keep the chroots in; else they are removed.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
suites=("$@")
[ $# -gt 0 ] || suites=(bookworm trixie testing)
file=$root/dist/anima-qa.pyz
[ -f "$file" ] || { echo "bare-hosts: there is no $file: run ./build_zipapp.sh" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "bare-hosts: chroots need root" >&2; exit 3; }

if [ -n "${BARE_HOSTS:-}" ]; then
    place=$(realpath -m -- "$BARE_HOSTS")
    mkdir -p "$place"
else
    place=$(mktemp -d)
    trap 'rm -rf --one-file-system "$place"' EXIT
fi

make_host() {  # $1: suite, $2: folder
    local codename uri key
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    uri=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $codename" 'Created-By: Packages' | sed -n 1p)
    [ -n "$uri" ] || { echo "bare-hosts: apt has no source for Debian $codename to take $1 from" >&2; exit 3; }
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    rm -rf --one-file-system "$2.new"  # of a run that was interrupted
    # an archive that is a copy of another day is good enough here
    mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' --include=python3,qemu-system-x86,qemu-utils,ovmf \
        "$1" "$2.new" "deb [signed-by=$key] $uri $1 main"
    chroot "$2.new" useradd --create-home --shell /bin/bash user
    mv "$2.new" "$2"
}

inside() {  # $1: folder, $2: user, $3: command; sees the folder "given" beside it as /given
    unshare --mount --net --pid --fork --kill-child bash -euc '
        host=$1 user=$2 command=$3 given=$4
        mount --make-rprivate /
        mkdir -p "$host/given"
        mount --bind "$given" "$host/given"
        mount --rbind /dev "$host/dev"
        mount --rbind /sys "$host/sys"
        mount -t proc proc "$host/proc"
        path=/usr/local/bin:/usr/bin:/bin
        if [ -n "${WITHOUT_QEMU:-}" ]; then  # a PATH of all programs but these
            path=/mnt
            mount -t tmpfs tmpfs "$host/mnt"
            for program in "$host"/usr/bin/*; do ln -s "/usr/bin/${program##*/}" "$host/mnt/"; done
            rm "$host"/mnt/qemu-*
        fi
        ip link set lo up
        home=/home/user; [ "$user" = user ] || home=/root
        exec chroot --userspec="$user" "$host" env -i PATH="$path" HOME="$home" LANG=C.UTF-8 \
            bash -euo pipefail -c "cd; $command"
    ' inside "$1" "$2" "$3" "$place/given"
}

mkdir -p "$place/given"
install -m 755 "$file" "$place/given/anima-qa.pyz"
install -m 644 "$root/examples/hello.yaml" "$root/tools/mcp_conversation.py" "$root/tools/zipapp/import_all.py" "$place/given/"
command -v ip > /dev/null || { echo "bare-hosts: ip is not installed: apt-get install iproute2" >&2; exit 3; }

for suite in "${suites[@]}"; do
    host=$place/$suite
    [ -d "$host" ] || make_host "$suite" "$host"
    echo "--- $suite: $(. "$host/etc/os-release" && echo "$PRETTY_NAME"), $(chroot "$host" python3 -V)," \
        "$(chroot "$host" qemu-system-x86_64 --version | sed -n 1p)"
    for user in root user; do
        echo "--- $suite, as $user"
        inside "$host" "$user" '
            p=/given/anima-qa.pyz
            said() { grep -F "$1" || { echo "bare-hosts: this is missing: $1" >&2; false; }; }
            $p --version
            $p doctor | tee doctor.log
            said "Scripts can run on this host" < doctor.log
            $p check /given/hello.yaml | said "ok, 8 steps"
            $p --licenses > licenses.log
            said "busybox-static" < licenses.log
            python3 -IS /given/import_all.py "$(ls -td .cache/anima-qa/zipapp/*/site-packages | head -n 1)"
            $p run /given/hello.yaml
            $p run /given/hello.yaml > warm.log || { cat warm.log; false; }
            tail -n 1 warm.log
            python3 /given/mcp_conversation.py $p mcp'
    done
    echo "--- $suite, without QEMU"
    WITHOUT_QEMU=yes inside "$host" user '
        refused() {
            status=0; /given/anima-qa.pyz "$@" > refused.log 2>&1 || status=$?
            cat refused.log
            [ "$status" = 3 ] && grep -q "QEMU" refused.log && grep -q "apt-get install.* qemu-system-x86" refused.log &&
                ! grep -q Traceback refused.log
        }
        refused run /given/hello.yaml
        refused doctor'
done
echo "all bare hosts passed: ${suites[*]}"
