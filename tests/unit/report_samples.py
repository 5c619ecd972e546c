"""Results folders as a runner would leave them, for the tests of the reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

from qa.report.folder import ResultsFolder
from qa.scenario.results import CommandOutcome, HostResult, MachineResult, RunResult, StepResult

HOST = HostResult(
    qemu="10.0.2 (Debian 1:10.0.2+ds-1~bpo12+1)",
    accel="tcg",
    accel_reason="/dev/kvm opens but runs nothing: a test boot stopped at once with KVM_EXIT_INTERNAL_ERROR",
    firmware="OVMF_CODE_4M.fd",
    system="Debian GNU/Linux 12, Linux 6.1, x86_64",
    anima_qa="0.1.0",
)
STAGES = {"firmware": 0.42, "boot loader": 2.9, "kernel": 3.6, "init": 6.8, "shell": 9.1}
BOOT_LOG = "".join(f"[    {n / 10:5.3f}] systemd[1]: Started unit-{n}.service - Some Service {n}.\r\n" for n in range(120))


def screen(path: Path, lines: list[str], size: tuple[int, int] = (1280, 800), colour: str = "#c8c8c8") -> None:
    """A picture of a text console."""
    picture = Image.new("RGB", size, "black")
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((12, 12 + number * 22), line, fill=colour, font_size=18)
    picture.save(path)


def step(index: str, name: str, started: float, duration: float, **more: object) -> StepResult:
    verb = name.split(":", maxsplit=1)[0]
    fields: dict[str, object] = {"verb": verb, "machine": "machine", "outcome": "passed", "place": f"hello.yaml:{index}:5"}
    return StepResult.model_validate({"index": index, "name": name, "started_s": started, "duration_s": duration} | fields | more)


def command(text: str, code: int | None, stdout: str = "", stderr: str = "", duration: float = 0.3) -> CommandOutcome:
    return CommandOutcome(command=text, exit_code=code, stdout=stdout, stderr=stderr, duration_s=duration)


def machine(name: str = "machine", **more: object) -> MachineResult:
    fields: dict[str, object] = {
        "name": name,
        "image": "debian-13",
        "ready_s": 9.1,
        "stages": STAGES,
        "memory": 1 << 30,
        "cpus": 2,
        "channel": "shell",
        "ended": "guest shut down",
        "console": "console.log",
        "qemu_log": "qemu.log",
    }
    return MachineResult.model_validate(fields | more)


def run(name: str, outcome: str, exit_status: int, steps: list[StepResult], **more: object) -> RunResult:
    fields: dict[str, object] = {
        "name": name,
        "script": f"examples/{name}.yaml",
        "outcome": outcome,
        "exit_status": exit_status,
        "started": "2025-11-20T10:41:07+00:00",
        "duration_s": max([step.started_s + step.duration_s for step in steps], default=0.2) + 0.4,
        "host": HOST,
        "machines": [machine()],
        "steps": steps,
    }
    return RunResult.model_validate(fields | more)


def folder(out: Path, result: RunResult, console: bytes = BOOT_LOG.encode()) -> ResultsFolder:
    """The folder of ``result``, with the console's log, QEMU's and the result itself."""
    made = ResultsFolder.create(out, result.name)
    for one in result.machines:
        (made.path / one.console).write_bytes(console)
        (made.path / one.qemu_log).write_text("qemu-system-x86_64: info: nothing to complain about\n")
    made.events.write_text('{"event": "RunStarted"}\n' * 57)
    made.write_result(result)
    return made


def passed(out: Path) -> ResultsFolder:
    steps = [
        step("1", "boot", 0.0, 9.1, detail="ready after 9.1 s over the root shell"),
        step("2", "succeed: uname -r", 9.1, 0.2, command=command("uname -r", 0, "6.12.38+deb13-amd64\n")),
        step("3", "screenshot: login", 9.3, 0.1, evidence=["shots/3-login.png"]),
        step("4", "wait_for_unit: nginx", 9.4, 1.7, attempts=4),
        step("5", "shutdown", 11.1, 1.3, detail="the guest shut down"),
    ]
    made = folder(out, run("hello", "passed", 0, steps))
    screen(made.shots / "3-login.png", ["Debian GNU/Linux 13 debian tty1", "", "debian login: _"])
    return made


def failed_command(out: Path) -> ResultsFolder:
    stderr = "  % Total    % Received\ncurl: (22) The requested URL returned error: 404\n"
    steps = [
        step("1", "boot", 0.0, 9.1, detail="ready after 9.1 s over the root shell", evidence=["shots/1-boot.png"]),
        step("2", "wait_for_unit: nginx", 9.1, 1.7, detail="active"),
        step(
            "3",
            "the page is there",
            10.8,
            0.34,
            verb="succeed",
            outcome="failed",
            place="examples/debian.yaml:9:5",
            detail="exit code 22, expected 0",
            hint="nginx is active; look at its configuration: the answer was 404",
            command=command("curl -fsS localhost/hello | grep hello", 22, "", stderr),
            evidence=["shots/3-last-frame.png", "evidence/3-console.txt"],
        ),
        step("4", "succeed: systemctl is-system-running", 11.2, 0.0, outcome="skipped", detail="not run: step 3 failed"),
        step("5", "shutdown", 11.2, 0.0, outcome="skipped", detail="not run: step 3 failed"),
    ]
    reason = "step 3, the page is there: exit code 22, expected 0"
    made = folder(out, run("debian-serves-a-page", "failed", 1, steps, reason=reason))
    screen(made.shots / "1-boot.png", ["Debian GNU/Linux 13 debian tty1", "", "debian login: _"])
    screen(made.shots / "3-last-frame.png", ["Debian GNU/Linux 13 debian tty1", "", "debian login: root", "root@debian:~# _"])
    made.evidence_path("3", "console").write_text("\n".join(BOOT_LOG.splitlines()[-20:]) + "\nnginx: 404 /hello\n")
    return made


def panic(out: Path) -> ResultsFolder:
    detail = "the guest's kernel panicked: Kernel panic - not syncing: sysrq triggered crash"
    lines = [
        "sysrq: Trigger a crash",
        "Kernel panic - not syncing: sysrq triggered crash",
        "CPU: 0 UID: 0 PID: 412 Comm: sh Not tainted 6.12.38+deb13-amd64 #1",
        "Call Trace:",
        " <TASK>",
        " panic+0x1a6/0x360",
        " sysrq_handle_crash+0x16/0x20",
        "---[ end Kernel panic - not syncing: sysrq triggered crash ]---",
    ]
    console = BOOT_LOG + "".join(f"\x1b[31m[   14.{n:06}] {line}\x1b[0m\r\n" for n, line in enumerate(lines))
    steps = [
        step("1", "boot", 0.0, 9.1),
        step(
            "2",
            "succeed: echo c > /proc/sysrq-trigger",
            9.1,
            0.8,
            outcome="error",
            detail=detail,
            command=command("echo c > /proc/sysrq-trigger", None, duration=0.8),
            evidence=["shots/2-last-frame.png", "evidence/2-console.txt"],
        ),
    ]
    made = folder(
        out,
        run("crash", "error", 4, steps, reason=detail, machines=[machine(ended="guest panicked")]),
        console.encode(),
    )
    screen(made.shots / "2-last-frame.png", lines, size=(1024, 768))
    made.evidence_path("2", "console").write_text(console[-2000:])
    return made


def timed_out(out: Path) -> ResultsFolder:
    """The deadline passed while booting, before there was a step."""
    reason = "ready did not happen within 5 min 00 s (1 min 00 s x 5 under software emulation)"
    stuck = machine(ready_s=None, stages={"firmware": 0.42, "boot loader": 2.9}, ended="stopped by us")
    made = folder(
        out,
        run(
            "slow",
            "timeout",
            5,
            [],
            reason=reason,
            hint="give it longer with timeout, or look at the last frame",
            duration_s=301.2,
            machines=[stuck],
            evidence=["shots/last-frame.png", "evidence/0-console.txt"],
        ),
        b"Welcome to GRUB!\r\n\r\nerror: no such device: 1234-abcd.\r\ngrub rescue> ",
    )
    screen(
        made.shots / "last-frame.png", ["Welcome to GRUB!", "", "error: no such device: 1234-abcd.", "grub rescue> _"], (800, 600)
    )
    made.evidence_path("0", "console").write_text("error: no such device: 1234-abcd.\ngrub rescue> ")
    return made


def interrupted(out: Path) -> ResultsFolder:
    steps = [
        step("1", "boot", 0.0, 9.1),
        step("2", "wait_until_succeeds: test -e /done", 9.1, 4.4, outcome="interrupted", detail="stopped by Ctrl-C", attempts=9),
    ]
    return folder(out, run("long", "interrupted", 130, steps, reason="stopped by Ctrl-C"))


def forty_failures(out: Path) -> ResultsFolder:
    steps = [step("1", "boot", 0.0, 9.1, evidence=["shots/1.png"])]
    shots = []
    for number in range(2, 82):
        fails = number % 2 == 0
        shot = f"shots/{number}.png"
        shots.append((number, shot))
        output = command(
            f"/usr/lib/checks/check-{number} --strict", 1 if fails else 0, f"checking {number}\n", "mismatch\n" * fails
        )
        steps.append(
            step(
                str(number),
                f"check {number}",
                9.0 + number * 0.4,
                0.1 + (number % 7) * 0.05,
                verb="succeed",
                outcome="failed" if fails else "passed",
                detail="exit code 1, expected 0" if fails else "",
                command=output,
                evidence=[shot],
            )
        )
    made = folder(
        out, run("checks", "failed", 1, steps, reason="40 of 81 steps failed, the first is step 2: exit code 1, expected 0")
    )
    screen(made.shots / "1.png", ["login:"])
    for number, shot in shots:
        screen(made.path / shot, [f"check {number}", "root@debian:~# _"], (640, 400), "#d0c090" if number % 2 else "#e08080")
    return made


def nested(out: Path) -> ResultsFolder:
    """Subtests inside subtests on two machines, one failure that was allowed."""
    inner = [
        step(
            "2.1", "succeed: ping -c1 server", 12.0, 0.4, machine="client", command=command("ping -c1 server", 0, "1 received\n")
        ),
        step(
            "2.2",
            "fast path",
            12.4,
            2.0,
            verb="subtest",
            machine=None,
            outcome="failed",
            steps=[
                step("2.2.1", "succeed: curl server", 12.4, 0.4, machine="client", command=command("curl server", 0, "ok\n")),
                step(
                    "2.2.2",
                    "succeed: curl server",
                    12.8,
                    1.6,
                    machine="client",
                    outcome="failed",
                    detail="exit code 7, expected 0",
                ),
            ],
        ),
    ]
    steps = [
        step(
            "1",
            "wait_for_unit: nginx",
            10.0,
            2.0,
            machine="server",
            outcome="failed",
            allowed_failure=True,
            detail="it is inactive",
        ),
        step("2", "the network", 12.0, 2.4, verb="subtest", machine=None, outcome="failed", steps=inner),
    ]
    two = [
        machine("server", console="console-server.log", qemu_log="qemu-server.log"),
        machine("client", console="console-client.log", qemu_log="qemu-client.log", start="fork", ready_s=0.1, stages={}),
    ]
    return folder(out, run("network", "failed", 1, steps, reason="step 2.2.2: exit code 7, expected 0", machines=two))


def no_machine(out: Path) -> ResultsFolder:
    """The host could not even start one."""
    reason = "no UEFI firmware for x86_64 is installed"
    hint = "install it with: apt-get install ovmf"
    return folder(
        out, run("nofirmware", "error", 3, [], reason=reason, hint=hint, machines=[], host=HostResult(system="Debian 12"))
    )


HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">]]>"
    "\x00\x1b]0;title\x07\u202egnp.exe \ufffe"
)


def hostile(out: Path) -> ResultsFolder:
    """A guest that prints whatever could break a page, an XML file or a terminal, and a line of 5 MB."""
    output = command(HOSTILE, 1, HOSTILE + "\n" + "A" * 5_000_000, HOSTILE)
    steps = [
        step(
            "1",
            HOSTILE,
            0.0,
            0.4,
            outcome="failed",
            detail=HOSTILE,
            hint=HOSTILE,
            command=output,
            evidence=["evidence/1-console.txt"],
        ),
        step(
            "2",
            "reads a file of the host",
            0.4,
            0.1,
            evidence=["../../../../../../etc/passwd", "/etc/passwd", "shots/missing.png"],
        ),
    ]
    result = run("hostile", "failed", 1, steps, reason=HOSTILE, variables={"x": HOSTILE})
    console = HOSTILE.encode() + b"\r\n\xff\xfe\x80 invalid\r\n" + b"B" * 5_000_000 + b"\r\nthe end\r\n"
    made = folder(out, result, console)
    made.evidence_path("1", "console").write_bytes(console)
    return made


Sample = Callable[[Path], ResultsFolder]
ALL: tuple[Sample, ...] = (passed, failed_command, panic, timed_out, interrupted, forty_failures, nested, no_machine, hostile)
