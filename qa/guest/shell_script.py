"""The guest's half of the shell channel, in the guest's own language: nothing else has to be there.

A *slot* is a shell on two virtio serial ports: requests come in and stdout goes out on the first, stderr goes out on the
second. So a command costs no process besides itself and the subshell around it: no encoding, no pipes, and output streams by
itself. The *control* shell on the virtio console hvc0 starts slots, and kills what runs in them.
"""

from __future__ import annotations

import base64

HELLO = "anima-qa-shell"
"""What the control shell says when it starts, behind a record separator and before a line feed."""

MARK = b"\x1e"
"""ASCII's record separator begins each answer. An answer carries its request's random id, so output cannot fake one."""

ENVIRONMENT = (
    "export HOME=/root USER=root LOGNAME=root TERM=dumb LANG=${LANG:-C.UTF-8} "
    "PATH=${PATH:-/usr/bin:/bin}; "
    "for q in /usr/local/sbin /usr/sbin /sbin; do case :$PATH: in *:$q:*) ;; *) [ -d $q ] && PATH=$PATH:$q;; esac; done; "
    "unset q; umask 022; cd /root 2>/dev/null || cd /\n"
)


def control_prelude() -> str:
    """Functions for the control shell.

    ``q_slot ID N TOKEN`` starts the slot on ports N and N+1, which says TOKEN, and answers with its process. bash gets no
    controlling terminal, so that a program that insists on one (``sudo``, ``ssh``) fails at once instead of asking; other
    shells have job control with a terminal only, and get an unused virtual one. ``q_kill ID PROCESS`` kills what that slot runs.
    """
    return (
        ENVIRONMENT
        + r"""q_slot() {
  q_start='exec <>'$(echo /dev/vport*p$2)' >&0 2>'$(echo /dev/vport*p$(($2+1)))'; printf "\036'$3'\n"; '
  if [ -n "$BASH_VERSION" ]; then bash --norc --noprofile -c "$q_start exec bash --norc --noprofile" &
  else setsid sh -c "{ true <>/dev/tty$((20+$2)); } 2>/dev/null; $q_start exec sh" &
  fi
  printf '\036%s %s\n' "$1" $!
}
q_kill() {
  for q in $(cat /proc/$2/task/$2/children); do kill -KILL -$q 2>/dev/null || kill -KILL $q 2>/dev/null; done
  printf '\036%s\n' "$1"
}
"""
        + f"printf '\\036{HELLO} ready\\n'\n"
    )


def slot_prelude(token: str) -> str:
    """What turns a fresh shell into a slot. It obeys lines that begin with ``token`` and ignores all others: leftovers of an
    interrupted transfer are never taken for commands.

    ``r ID COMMAND`` runs a command; ``i ID BYTES COMMAND`` does with so many bytes of the port as its stdin, and reads them
    to the end even when the command does not. Each answers ``ID exit-code survivors`` on stdout and ``ID`` on stderr, where
    survivors tells whether background children are left that may still write.
    """
    return (
        r"""set -m; exec 3<&0
n='
'
e() { s=0; kill -0 -$! 2>/dev/null && s=1; printf '\036%s %s %s\n' "$1" "$2" $s; printf '\036%s\n' "$1" >&2; }
r() { (exec 3<&-; eval "$2") </dev/null & wait $! 2>/dev/null; e "$1" $?; }
i() { head -c "$2" <&3 | (exec 3<&-; (eval "$3"); c=$?; cat >/dev/null; exit $c) & wait $! 2>/dev/null; e "$1" $?; }
"""
        + f"printf '\\036{token} ready\\n'; "
        + f'while IFS= read -r l; do case $l in "{token} "*) eval "${{l#{token} }}";; esac; done\n'
    )


def quote_line(command: str) -> str:
    """``command`` as one shell word on one line: line feeds come from the slot's variable ``n``."""
    return "'" + command.replace("'", "'\\''").replace("\n", "'\"$n\"'") + "'"


UNIT_NAME = "anima-qa-shell.service"

UNIT = f"""[Unit]
Description=Root shell for anima-qa on the first virtio console
DefaultDependencies=no
After=sysinit.target
StartLimitIntervalSec=0

[Service]
# In a subshell, because the leader of a session would make the console its controlling terminal.
ExecStart=/bin/sh -c '(exec <>/dev/hvc0 >&0 2>&1; stty raw -echo; printf "\\\\036{HELLO}\\\\n"; \
if [ -x /bin/bash ]; then exec /bin/bash --norc --noprofile; fi; exec /bin/sh) & wait'
Restart=always
RestartSec=200ms
WorkingDirectory=-/root
IgnoreSIGPIPE=no
TasksMax=infinity
LimitCORE=infinity
"""
"""The unit that gives a systemd guest the control shell. After sysinit.target, as early as commands make sense."""

_MASK = "[Unit]\nConditionPathExists=/nonexistent\n"


def _credential(name: str, text: str) -> str:
    return f"io.systemd.credential.binary:{name}={base64.b64encode(text.encode()).decode()}"


def smbios_strings(ssh_key: str | None = None) -> tuple[str, ...]:
    """SMBIOS type 11 strings that give a guest with systemd 256 or newer the shell, and root's SSH key.

    systemd starts a login prompt on hvc0 by itself: that is switched off the same way.
    """
    strings = [
        _credential(f"systemd.extra-unit.{UNIT_NAME}", UNIT),
        _credential("systemd.unit-dropin.sysinit.target~anima-qa", f"[Unit]\nWants={UNIT_NAME}\n"),
        _credential("systemd.unit-dropin.serial-getty@hvc0.service~anima-qa", _MASK),
    ]
    if ssh_key:
        strings.append(_credential("ssh.authorized_keys.root", ssh_key + "\n"))
    return tuple(strings)
