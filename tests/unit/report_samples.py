"""Results folders as a runner would leave them, for the tests of the reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

from qa.report.folder import ResultsFolder
from qa.scenario.results import (
    AreaResult,
    CandidateResult,
    CommandOutcome,
    FilmFrameResult,
    FilmResult,
    HostResult,
    MachineResult,
    RunResult,
    ScreenResult,
    StepResult,
)
from qa.screen.cutting import cut_film
from qa.screen.film import Shot

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


def desktop(button: str = "Log in", user: str = "anna", *, moved: int = 0, theme: str = "#2f4f6f") -> Image.Image:
    """A desktop with a login window, as a guest could show it."""
    picture = Image.new("RGB", (1280, 800), theme)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 1279, 27), fill="#20262e")
    draw.text((12, 5), "Applications   Places", fill="#e8e8e8", font_size=15)
    draw.text((1180, 5), "Thu 10:41", fill="#e8e8e8", font_size=15)
    left, top = 440 + moved, 250
    draw.rectangle((left, top, left + 400, top + 270), fill="#f4f4f2", outline="#11151a")
    draw.rectangle((left, top, left + 400, top + 34), fill="#3b4450")
    draw.text((left + 14, top + 8), "Welcome", fill="#ffffff", font_size=17)
    for number, (label, value) in enumerate((("User", user), ("Password", "******"))):
        draw.text((left + 30, top + 72 + 56 * number), label, fill="#333333", font_size=16)
        draw.rectangle(
            (left + 130, top + 64 + 56 * number, left + 370, top + 98 + 56 * number), fill="#ffffff", outline="#8a919b"
        )
        draw.text((left + 140, top + 71 + 56 * number), value, fill="#111111", font_size=16)
    draw.rectangle((left + 250, top + 200, left + 370, top + 240), fill="#3a7bd5" if button == "Log in" else "#b9403a")
    draw.text((left + 275, top + 209), button, fill="#ffffff", font_size=18)
    return picture


def area(x: int, y: int, width: int, height: int, similarity: float | None, **more: object) -> AreaResult:
    fields: dict[str, object] = {"kind": "match", "x": x, "y": y, "width": width, "height": height, "from_x": x, "from_y": y}
    fields |= {"similarity": similarity, "wanted": 0.96, "matched": similarity is None or similarity >= 0.96, "metric": "openqa"}
    return AreaResult.model_validate(fields | more)


def needle(folder: ResultsFolder, name: str, picture: Image.Image, areas: list[AreaResult], **more: object) -> CandidateResult:
    """A candidate whose picture lies in the folder."""
    file = folder.path / "needles" / f"{name}.png"
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        picture.save(file, compress_level=1)
    lacks = [(1 - one.similarity) ** 2 for one in areas if one.similarity is not None]
    error = sum(lacks) / max(len(lacks), 1)
    fields: dict[str, object] = {
        "needle": name,
        "source": f"needles/{name}.png",
        "picture": f"needles/{name}.png",
        "error": error,
    }
    return CandidateResult.model_validate(fields | {"matched": all(one.matched for one in areas), "areas": areas} | more)


def looked(folder: ResultsFolder, name: str, seen: Image.Image, **more: object) -> ScreenResult:
    """What was seen, with its frame in the folder."""
    file = folder.shots / f"{name}-seen.png"
    if not file.exists():
        seen.save(file, compress_level=1)
    fields: dict[str, object] = {"wanted": "needle login-window", "frame": f"shots/{name}-seen.png"}
    return ScreenResult.model_validate(fields | {"width": seen.width, "height": seen.height} | more)


def filmed(folder: ResultsFolder, pictures: list[tuple[float, Image.Image]], machine: str = "machine", **more: str) -> FilmResult:
    """A film of ``pictures`` with their times, cut as after a run."""
    shots = []
    for number, (at, picture) in enumerate(pictures):
        file = folder.path / f".{machine}-{number}.png"
        picture.save(file)
        shots.append(Shot(at, file, picture.width, picture.height, file.stat().st_size))
    cuts = cut_film(shots, folder.path / "film" / machine)
    for shot in shots:
        shot.file.unlink()
    frames = [
        FilmFrameResult(
            at=cut.shot.at, file=folder.relative(cut.file), x=cut.x, y=cut.y, width=cut.shot.width, height=cut.shot.height
        )
        for cut in cuts
    ]
    return FilmResult(
        machine=machine, file=more.get("file", ""), seen=len(pictures), frames=frames, branch=more.get("branch", "")
    )


def boot_film(folder: ResultsFolder, *endings: Image.Image) -> FilmResult:
    """The screen from power-on: another size, a console on which lines appear, and then ``endings``, a second apart."""
    firmware = Image.new("RGB", (640, 480), "black")
    ImageDraw.Draw(firmware).text((250, 220), "UEFI", fill="white", font_size=40)
    pictures = [(0.4, firmware)]
    console = Image.new("RGB", (1280, 800), "black")
    for number in range(24):
        ImageDraw.Draw(console).text(
            (12, 8 + 22 * number), f"[    {number / 10:.3f}] started service {number}", fill="#c8c8c8", font_size=18
        )
        pictures.append((1.0 + number / 4, console.copy()))
    return filmed(folder, [*pictures, *((8.0 + number, picture) for number, picture in enumerate(endings))])


def needle_differs(out: Path) -> ResultsFolder:
    """A button on the screen is another one than in the best of three needles, and the window has moved a little."""
    made = folder(out, run("login", "timeout", 1, []))
    seen = desktop("Cancel", moved=3)
    best = [
        area(443, 250, 400, 34, 1.0, from_x=440),
        area(693, 450, 120, 40, 0.7312, from_x=690),
        area(573, 314, 240, 34, 0.9987, from_x=570),
        area(1170, 0, 100, 27, None, kind="exclude"),
    ]
    old = [
        area(440, 250, 400, 34, 0.81),
        area(690, 450, 120, 40, 0.412),
        area(573, 314, 240, 34, 0.91, kind="text", text="annna"),
    ]
    candidates = [
        needle(made, "login-window", desktop(), best),
        needle(made, "login-window-2024", desktop(theme="#6f5f2f", user="root"), old),
        needle(made, "login-text", desktop("OK"), [area(12, 5, 160, 20, 0.2)], workaround="bug 4711"),
    ]
    detail = "machine: needle login-window did not happen within 30 s: login-window is the nearest, its area 2 is 73.1 % alike"
    steps = [
        step("1", "boot", 0.0, 7.0, detail="ready after 7.0 s over the root shell"),
        step("2", "wait_for_still_screen: 1s", 7.0, 1.5, detail="still for 1.0 s", screen=looked(made, "step-2", desktop())),
        step(
            "3",
            "the desktop is locked",
            8.5,
            30.0,
            verb="wait_for_screen",
            outcome="timeout",
            detail=detail,
            hint="look at the candidates; run --accept takes what was seen as the new reference",
            place="examples/login.yaml:9:5",
            screen=looked(made, "step-3", seen, candidates=candidates),
            evidence=["shots/step-3-failed.png", "evidence/3-console.txt"],
        ),
        step("4", "click: {text: Log in}", 38.5, 0.0, outcome="skipped", detail="an earlier step did not pass"),
    ]
    (made.shots / "step-3-failed.png").write_bytes((made.shots / "step-3-seen.png").read_bytes())
    made.evidence_path("3", "console").write_text("\n".join(BOOT_LOG.splitlines()[-8:]) + "\ndebian login: ")
    film = boot_film(made, desktop(), desktop("Cancel"), seen)
    (made.path / "film-machine.mp4").write_bytes(b"a video")
    film.file = "film-machine.mp4"
    printed = machine(console_moments=[(1.5, BOOT_LOG.index("unit-5.")), (8.0, len(BOOT_LOG))])
    result = run("login", "timeout", 1, steps, reason=f"step 3: {detail}", films=[film], machines=[printed], duration_s=39.0)
    made.write_result(result)
    return made


def forty_needles(out: Path) -> ResultsFolder:
    """Forty screens that differ, after a theme was changed, and one that passed with a workaround."""
    made = folder(out, run("themes", "failed", 1, []))
    reference = desktop()
    soft = needle(made, "panel-blurred", reference, [area(0, 0, 300, 27, 0.99)], workaround="boo#123: the panel is drawn twice")
    steps = [
        step(
            "1",
            "assert_screen: panel",
            0.0,
            0.2,
            screen=looked(made, "step-1", reference, candidates=[soft]),
            detail="needle panel-blurred, a workaround for boo#123: the panel is drawn twice",
        )
    ]
    for number in range(2, 82):
        fails = number % 2 == 0
        seen = desktop("Log in", f"user{number}", theme="#5f2f4f") if fails else reference
        candidate = needle(
            made, "login-window", reference, [area(440, 250, 400, 34, 1.0), area(100, 100, 200, 120, 0.31 if fails else 1.0)]
        )
        more = (
            {"outcome": "failed", "detail": "needle login-window is not on the screen: area 2 is 31.0 % alike"} if fails else {}
        )
        screen_result = looked(made, f"step-{number}" if fails else "passing", seen, candidates=[candidate])
        steps.append(step(str(number), f"assert_screen: page {number}", number * 0.5, 0.2, screen=screen_result, **more))
    made.write_result(run("themes", "failed", 1, steps, reason="40 of 81 steps failed"))
    return made


def restless(out: Path) -> ResultsFolder:
    """The screen does not become still, and a display that was off before; two machines, each with a film."""
    two = [
        machine("web", console="console-web.log", qemu_log="qemu-web.log"),
        machine("db", console="console-db.log", qemu_log="qemu-db.log"),
    ]
    made = folder(out, run("restless", "timeout", 1, [], machines=two))
    dark = Image.new("RGB", (640, 480), "black")
    detail = "web: a screen that is still for 2.0 s did not happen within 1 min 00 s: 112x32 at 1168,0 changed 31 times"
    marks = [{"label": "changed 31 times", "x": 1168, "y": 0, "width": 112, "height": 32}]
    note = 'the display is off: QEMU shows "Display output is not active."'
    steps = [
        step(
            "1",
            "assert_screen: black",
            0.5,
            0.1,
            machine="db",
            screen=looked(made, "step-1", dark, note=note, wanted="needle black"),
        ),
        step(
            "2",
            "wait_for_still_screen",
            1.0,
            60.0,
            machine="web",
            outcome="timeout",
            detail=detail,
            screen=looked(made, "step-2", desktop(), marks=marks, wanted="a screen that is still for 2.0 s"),
        ),
    ]
    films = [
        filmed(made, [(0.5, dark), (2.0, desktop()), (3.0, desktop("Stop"))], "db"),
        filmed(made, [(float(number), desktop(user="x" * number)) for number in range(1, 12)], "web"),
    ]
    made.write_result(run("restless", "timeout", 1, steps, reason=detail, machines=two, films=films))
    return made


Sample = Callable[[Path], ResultsFolder]
SCREENS: tuple[Sample, ...] = (needle_differs, forty_needles, restless)
ALL: tuple[Sample, ...] = (
    *(passed, failed_command, panic, timed_out, interrupted, forty_failures, nested, no_machine, hostile),
    *SCREENS,
)
