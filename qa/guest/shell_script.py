"""The guest's half of the shell channel, in the guest's own language: nothing else has to be there.

A *slot* is a shell on two virtio serial ports: requests come in and stdout goes out on the first, stderr goes out on the
second. So a command costs no process besides itself and the subshell around it: no encoding, no pipes, and output streams by
itself. The *control* shell on the virtio console hvc0 starts slots, and kills what runs in them.
"""

from __future__ import annotations

import base64
import re

from qa.guest.thaw_program import octal, thaw_program

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
    shells have job control with a terminal only, and get an unused virtual one. ``q_kill ID PROCESS`` kills what that slot
    runs: the oldest of its children, for the youngest is the next subshell. ``q_arm ID`` takes the program of
    ``thaw_program`` along, in a file without a name; ``q_thaw ID INPUT`` runs it. SIGTERM ends the shell: on a terminal it would
    ignore it, and systemd waits 90 s for such processes before it reboots or switches off.
    """
    return (
        ENVIRONMENT
        + "trap exit TERM\n"
        + r"""q_slot() {
  q_start='exec <>'$(echo /dev/vport*p$2)' >&0 2>'$(echo /dev/vport*p$(($2+1)))'; printf "\036'$3'\n"; '
  if [ -n "$BASH_VERSION" ]; then bash --norc --noprofile -c "$q_start exec bash --norc --noprofile" &
  else setsid sh -c "[ ! -c /dev/tty$((20+$2)) ] || exec 9<>/dev/tty$((20+$2)); $q_start exec sh" &
  fi
  printf '\036%s %s\n' "$1" $!
}
q_kill() {
  for q in $(cat /proc/$2/task/$2/children); do kill -KILL -$q 2>/dev/null || kill -KILL $q 2>/dev/null; break; done
  printf '\036%s\n' "$1"
}
q_arm() {
  q_c=1
  for q in /dev/shm /run /tmp /root; do
    q_f=$q/.anima-qa-$$; [ -w $q ] && printf "$q_program" >$q_f && chmod 700 $q_f && exec 8<$q_f; rm -f $q_f
    /proc/self/fd/8 </dev/null 2>/dev/null; [ $? != 1 ] || { q_c=0; break; }
  done
  printf '\036%s %s\n' "$1" $q_c
}
q_thaw() { printf "$2" | /proc/self/fd/8 2>/dev/null; printf '\036%s %s\n' "$1" $?; }
"""
        + f"q_program='{octal(thaw_program())}'\n"
        + f"printf '\\036{HELLO} ready\\n'\n"
    )


def slot_prelude(token: str) -> str:
    """What turns a fresh shell into a slot.

    It obeys lines that begin with ``token`` and ignores all others, so leftovers of an interrupted transfer are never taken
    for commands. ``TOKEN BYTES COMMAND`` runs a command with so many bytes of the port as its stdin (0: ``/dev/null``), and
    reads them to the end even when the command does not. The answer is ``TOKEN-NUMBER exit-code survivors`` on stdout and
    ``TOKEN-NUMBER`` on stderr, where the number counts the answers, and survivors tells whether background children are
    left that may still write.

    Each command runs in a subshell of its own. Forking is what costs most in it, so the next subshell is forked while the
    command before it runs, and waits for its turn at a pipe. There are two pipes, lest one takes the other's turn. A port
    that stays closed for seconds ends the slot.
    """
    return (
        r"""set -m; exec 3<&0 8<&- 9<&-
q_d=$(mktemp -d -p /run 2>/dev/null || mktemp -d) && mkfifo $q_d/4 $q_d/5 && exec 4<>$q_d/4 5<>$q_d/5 && rm -r $q_d
n='
'
q_serve() {
  IFS= read -r q_l <&$1; exec 4<&- 5<&-
  q_m=0
  while :; do
    if IFS= read -r q_l <&3; then case $q_l in "$q_t "*) break;; esac
    else q_m=$((q_m+1)); [ $q_m -lt 50 ] || { kill $$; exit; }; sleep 0.1
    fi
  done
  q_l=${q_l#* }; q_n=${q_l%% *}; eval "q_c=${q_l#* }"
  if [ $q_n = 0 ]; then exec 3<&- </dev/null; eval "$q_c"
  else head -c $q_n <&3 | (exec 3<&-; (eval "$q_c"); q_s=$?; cat >/dev/null; exit $q_s)
  fi
}
"""
        + f"trap 'kill -KILL -$q_next; exit' TERM; q_t={token}; q_k=0; q_f=4; "
        + f"(q_serve 4) & q_next=$!; printf '\\036{token} ready\\n'\n"
        + r"""while :; do
  q_now=$q_next; echo >&$q_f; q_f=$((9-q_f)); (q_serve $q_f) & q_next=$!
  wait $q_now 2>/dev/null; q_c=$?; q_s=0; kill -0 -$q_now 2>/dev/null && q_s=1
  q_k=$((q_k+1)); printf '\036%s-%s %s %s\n' $q_t $q_k $q_c $q_s; printf '\036%s-%s\n' $q_t $q_k >&2
done
"""
    )


def quote_line(command: str) -> str:
    """``command`` as one shell word on one line: line feeds come from the slot's variable ``n``.

    A lone program with plain words as its arguments gets an ``exec``: the subshell becomes it, which saves a process.
    """
    first, plain = command.split(" ", 1)[0], _PLAIN_WORDS.fullmatch(command)
    if plain and "=" not in first and first not in _SHELL_WORDS:
        return f"'exec {command}'"
    return "'" + command.replace("'", "'\\''").replace("\n", "'\"$n\"'") + "'"


_PLAIN_WORDS = re.compile(r"[A-Za-z0-9_./:@%+,=-]+(?: [A-Za-z0-9_./:@%+,=-]+)*")
_SHELL_WORDS = frozenset(
    [
        ".", ":", "alias", "autoload", "bg", "bind", "break", "builtin", "caller", "case", "cd", "chdir", "command",
        "compgen", "complete", "compopt", "continue", "coproc", "declare", "dirs", "disown", "do", "done", "echo",
        "elif", "else", "enable", "esac", "eval", "exec", "exit", "export", "false", "fc", "fg", "fi", "for",
        "function", "getopts", "hash", "help", "history", "if", "in", "jobs", "kill", "let", "local", "logout",
        "mapfile", "popd", "printf", "pushd", "pwd", "read", "readarray", "readonly", "return", "select", "set",
        "shift", "shopt", "source", "suspend", "test", "then", "time", "times", "trap", "true", "type", "typeset",
        "ulimit", "umask", "unalias", "unset", "until", "wait", "while",
    ]
)  # fmt: skip
"""What a shell does itself, in any of bash, dash and BusyBox."""

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
