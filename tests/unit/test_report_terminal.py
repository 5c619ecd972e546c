"""Progress and failures on a terminal, and in logs."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import report_samples as samples
from rich.console import Console

from qa.events import (
    Bus,
    CommandOutput,
    ConsoleLine,
    Event,
    MachineEnded,
    MachineStage,
    Progress,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
)
from qa.report import ResultsFolder, TerminalReport, print_failures, print_summary
from qa.report.terminal import HEARTBEAT_S, can_draw


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def failures(folder: ResultsFolder, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_failures(folder.read_result(), console, folder)
    return text_of(console)


def text_of(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def started(run: str = "hello", index: str = "1", name: str = "succeed: uname -r") -> StepStarted:
    return StepStarted(run=run, index=index, name=name, verb="succeed", machine="machine")


def finished(run: str = "hello", **more: object) -> StepFinished:
    fields = {"index": "1", "name": "succeed: uname -r", "verb": "succeed", "machine": "machine", "outcome": "passed"}
    return StepFinished(**({"run": run, "duration_s": 1.2} | fields | more))  # type: ignore[arg-type]


def told(*events: Event, jobs: int = 1, verbose: bool = False) -> list[str]:
    bus, console = Bus(), Console(file=io.StringIO(), width=80)
    TerminalReport(bus, console, jobs, verbose, live=False)
    for event in events:
        bus.emit(event)
    return text_of(console).splitlines()


def run_started(run: str = "hello", folder: str = "results/hello") -> RunStarted:
    return RunStarted(run=run, script="hello.yaml", steps=5, folder=folder)


def test_a_finished_step_is_one_line() -> None:
    assert told(finished()) == ["ok         1.2 s  succeed: uname -r"]


def test_a_failed_step_says_why_on_its_line() -> None:
    assert told(finished(outcome="failed", detail="exit code 1, expected 0")) == [
        "FAILED     1.2 s  succeed: uname -r: exit code 1, expected 0"
    ]


def test_nested_steps_are_indented() -> None:
    assert told(finished(index="3.1.2")) == ["ok         1.2 s      succeed: uname -r"]


def test_stages_and_the_end_of_a_machine_are_lines() -> None:
    assert told(
        MachineStage(machine="machine", stage="kernel", elapsed_s=3.6, detail="Linux 6.12"),
        MachineEnded(machine="machine", reason="guest shut down"),
    ) == ["-          3.6 s  machine: kernel (Linux 6.12)", "-                 machine is off: guest shut down"]


def test_lines_of_parallel_runs_begin_with_their_names() -> None:
    bus, own, console = Bus(), Bus(), Console(file=io.StringIO(), width=80)
    report = TerminalReport(bus, console, jobs=2, live=False)
    report.follow(own, "debian")
    bus.emit(run_started("hello"))
    own.emit(run_started("debian"))
    own.emit(MachineStage(machine="machine", stage="kernel", elapsed_s=3.6))
    bus.emit(finished("hello"))
    assert text_of(console).splitlines()[2:] == [
        "debian | -          3.6 s  machine: kernel",
        "hello | ok         1.2 s  succeed: uname -r",
    ]


def test_output_of_commands_is_shown_only_when_asked_for() -> None:
    event = CommandOutput(machine="machine", stream="stdout", text="one\n\x1b[31mtwo\n")
    assert told(event) == []
    assert told(event, verbose=True) == ["        | one", "        | two"]


def test_a_long_task_is_told_at_its_beginning_and_its_end() -> None:
    steps = [Progress(task="pulling debian-13", done=done * 1e6, total=300e6, unit="bytes") for done in range(0, 301, 10)]
    assert told(*steps) == [
        "...               pulling debian-13: 0 of 300 MB (0 %)",
        "ok                pulling debian-13: 300 of 300 MB (100 %)",
    ]


def test_silence_ends_with_a_line_that_says_what_is_awaited() -> None:
    bus, clock, console = Bus(), Clock(), Console(file=io.StringIO(), width=120)
    report = TerminalReport(bus, console, live=False, clock=clock)
    bus.emit(run_started())
    bus.emit(started(name="wait_for_unit: nginx"))
    bus.emit(MachineStage(machine="machine", stage="kernel", elapsed_s=3.6))
    before = len(text_of(console).splitlines())
    clock.now = HEARTBEAT_S - 1
    report.heartbeat()
    assert len(text_of(console).splitlines()) == before
    clock.now = HEARTBEAT_S + 2
    report.heartbeat()
    report.heartbeat()
    assert text_of(console).splitlines()[before:] == [
        "...       32.0 s  still waiting for wait_for_unit: nginx (machine: kernel)"
    ]


def test_a_wait_for_a_machine_quotes_its_console() -> None:
    bus, clock, console = Bus(), Clock(), Console(file=io.StringIO(), width=200)
    report = TerminalReport(bus, console, live=False, clock=clock)
    bus.emit(run_started())
    bus.emit(MachineStage(machine="machine", stage="init", elapsed_s=9.0))
    bus.emit(ConsoleLine(machine="machine", text="[  OK  ] Started \x1b[1mssh.service\x1b[0m"))
    assert "ssh" not in text_of(console)
    clock.now = HEARTBEAT_S + 2
    report.heartbeat()
    waited_for = "its machines (machine: init, console: [ OK ] Started ssh.service)"
    assert text_of(console).splitlines()[-1].endswith(waited_for)


async def test_a_live_display_shows_the_step_that_runs_and_leaves_only_lines() -> None:
    bus, screen, clock = Bus(), Screen(), Clock()
    console = Console(file=screen, force_terminal=True, width=60, _environ={"TERM": "xterm"})
    report = TerminalReport(bus, console, live=True, clock=clock)
    bus.emit(run_started())
    bus.emit(started(name="wait_for_unit: nginx " + "x" * 200))
    clock.now = 7.4
    picture = report._picture()
    assert picture.plain.startswith("       7 s  wait_for_unit: nginx xxx")
    assert all(len(line) < 60 for line in picture.plain.splitlines())
    async with report:
        bus.emit(finished())
    assert report._picture().plain.strip().endswith("its machines")
    assert "\x1b[?25h" in screen.getvalue()


@pytest.mark.parametrize(
    ("environment", "terminal", "expected"),
    [({"TERM": "xterm"}, True, True), ({"TERM": "dumb"}, True, False), ({"TERM": "xterm", "FORCE_COLOR": "1"}, False, False)],
)
def test_only_a_real_terminal_is_drawn_on(environment: dict[str, str], terminal: bool, expected: bool) -> None:
    file = Screen() if terminal else io.StringIO()
    assert can_draw(Console(file=file, _environ=environment)) is expected


async def test_the_summary_comes_last_and_where_it_is_wanted(tmp_path: Path) -> None:
    bus, console, summary = Bus(), Console(file=io.StringIO(), width=60), Console(file=io.StringIO(), width=60)
    folder = samples.failed_command(tmp_path)
    async with TerminalReport(bus, console, summary=summary, live=False):
        bus.emit(run_started())
        bus.emit(RunFinished(run="hello", outcome="failed", reason="x", duration_s=11.6, folder=str(folder.path)))
        assert "returned error: 404" in text_of(console)
    assert text_of(summary) == f"FAILED hello: 5 steps, 1 failed, 2 not run in 11.6 s -> {folder.path}\n"
    assert str(folder.path) not in text_of(console).replace(str(folder.path) + "/", "")


async def test_a_run_without_a_readable_result_is_told_all_the_same(tmp_path: Path) -> None:
    bus, console = Bus(), Console(file=io.StringIO(), width=60)
    async with TerminalReport(bus, console, live=False):
        bus.emit(RunFinished(run="hello", outcome="error", reason="no space left", duration_s=1, folder=str(tmp_path)))
    assert "ERROR hello: no space left" in text_of(console)


async def test_nothing_listens_after_the_end() -> None:
    bus, console = Bus(), Console(file=io.StringIO(), width=60)
    async with TerminalReport(bus, console, live=False):
        pass
    bus.emit(finished())
    assert text_of(console) == ""


def test_the_cause_of_a_failed_command_is_plain_from_the_terminal_alone(tmp_path: Path) -> None:
    folder = samples.failed_command(tmp_path)
    text = failures(folder)
    for part in (
        "step 3  the page is there  examples/debian.yaml:9:5",
        "why         exit code 22, expected 0",
        "command     curl -fsS localhost/hello | grep hello",
        "exit code   22",
        "| curl: (22) The requested URL returned error: 404",
        "| nginx: 404 /hello",
        "hint        nginx is active",
        f"last frame  {folder.shots / '3-last-frame.png'}",
        f"report      {folder.report_html}",
    ):
        assert part in text


def test_what_an_error_saw_last_is_told(tmp_path: Path) -> None:
    step = samples.step(
        "1", "wait_for_file: /x", 0, 1, outcome="timeout", detail="it is not there", evidence=["evidence/1-seen-last.txt"]
    )
    folder = samples.folder(tmp_path, samples.run("x", "timeout", 1, [step]))
    folder.evidence_path("1", "seen last").write_text("only /y is there\n")
    assert "seen last   | only /y is there" in failures(folder)


def test_a_panic_shows_the_consoles_end(tmp_path: Path) -> None:
    text = failures(samples.panic(tmp_path))
    assert "ERROR  crash: the guest's kernel panicked" in text
    assert "---[ end Kernel panic - not syncing: sysrq triggered crash ]---" in text
    assert "\x1b" not in text


def test_a_deadline_outside_a_step_tells_how_far_the_machine_came(tmp_path: Path) -> None:
    text = failures(samples.timed_out(tmp_path))
    assert "debian-13; reached: firmware 420 ms, boot loader 2.9 s" in text
    assert "| grub rescue>" in text


def test_of_forty_failures_the_first_are_told_and_the_others_listed(tmp_path: Path) -> None:
    text = failures(samples.forty_failures(tmp_path))
    assert text.count("  why  ") == 3
    assert "37 more failed:" in text
    assert len(re.findall(r"^  step \d+  check \d+: exit code 1", text, re.MULTILINE)) == 37


def test_a_run_that_passed_has_no_failures_to_tell(tmp_path: Path) -> None:
    folder = samples.passed(tmp_path)
    assert failures(folder) == ""
    console = Console(file=io.StringIO(), width=40)
    print_summary(folder.read_result(), console, folder)
    assert text_of(console) == f"PASSED hello: 5 steps in 12.8 s -> {folder.path}\n"


def test_a_failure_without_any_machine_has_its_hint(tmp_path: Path) -> None:
    text = failures(samples.no_machine(tmp_path))
    assert "no UEFI firmware for x86_64 is installed" in text
    assert "hint        install it with: apt-get install ovmf" in text


def printable_only(text: str) -> Iterator[str]:
    return (char for char in text if char != "\n" and not char.isprintable())


def test_a_guest_cannot_drive_the_terminal(tmp_path: Path) -> None:
    text = failures(samples.hostile(tmp_path))
    assert list(printable_only(text)) == []
    assert max(len(line) for line in text.splitlines()) < 500


def test_text_that_a_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii", errors="strict", write_through=True), width=80)
    step = samples.step("1", "größer → 日本", 0, 1, outcome="failed", detail="ä")
    folder = samples.folder(tmp_path, samples.run("x", "failed", 1, [step]))
    print_failures(folder.read_result(), console, folder)
    assert b"gr\\xf6\\xdfer \\u2192 \\u65e5\\u672c" in raw.getvalue()


def test_lines_are_not_wrapped_on_narrow_terminals() -> None:
    bus, console = Bus(), Console(file=io.StringIO(), width=20)
    TerminalReport(bus, console, live=False)
    bus.emit(finished(name="[bold]a name that is much longer than the terminal is wide :smile:"))
    assert text_of(console) == "ok         1.2 s  [bold]a name that is much longer than the terminal is wide :smile:\n"


@pytest.mark.parametrize(("environment", "coloured"), [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)])
def test_colours_are_only_where_they_are_wanted(environment: dict[str, str], coloured: bool) -> None:
    bus, console = Bus(), Console(file=Screen(), width=80, _environ=environment)
    TerminalReport(bus, console, live=False)
    bus.emit(finished(outcome="failed"))
    assert ("\x1b[1;31m" in text_of(console)) is coloured


def test_steps_of_branches_say_in_which_they_are() -> None:
    started = RunStarted(run="hello", script="x", steps=1, folder="f")
    lines = told(started, finished(index="2.1.1", branch="upgrade"), finished(index="3.1.2.1.1", branch="upgrade > fork 2"))
    assert "    [upgrade] succeed: uname -r" in lines[1]
    assert "        [upgrade > fork 2] succeed: uname -r" in lines[2]


def of_three_runs() -> tuple[dict[str, Bus], Console]:
    console = Console(file=io.StringIO(), width=200)
    report = TerminalReport(Bus(), console, jobs=2, runs=3, live=False)
    buses = {name: Bus() for name in ("a", "b", "c")}
    for name, bus in buses.items():
        report.follow(bus, name)
    return buses, console


def test_what_several_runs_are_told_alike_is_shown_once_and_warnings_always() -> None:
    buses, console = of_three_runs()
    for name in "aab":
        buses[name].notice("software emulation")
    for name in "ab":
        buses[name].notice("the template does not fit", "warning")
    assert text_of(console).splitlines() == [
        "a | note: software emulation",
        "a | note: software emulation",
        "a | warning: the template does not fit",
        "b | warning: the template does not fit",
    ]


def test_the_end_of_each_of_several_runs_says_how_many_are_done(tmp_path: Path) -> None:
    buses, console = of_three_runs()
    folder = str(samples.passed(tmp_path).path)
    for name in "ab":
        buses[name].emit(run_started(name))
        buses[name].emit(RunFinished(run=name, outcome="passed", reason="", duration_s=1.0, folder=folder))
    assert [line for line in text_of(console).splitlines() if "ended" in line] == [
        "a | ok         1.0 s  the run has ended, 1 of 3",
        "b | ok         1.0 s  the run has ended, 2 of 3",
    ]


def test_the_names_of_runs_keep_their_ends() -> None:
    console = Console(file=io.StringIO(), width=200)
    bus = Bus()
    TerminalReport(bus, console, jobs=2, live=False)
    name = "a script whose name is about everything there is to say (image=debian-13, cpus=2)"
    bus.emit(run_started(name))
    bus.emit(finished(name))
    assert text_of(console).splitlines()[-1].startswith("a script whose name is …image=debian-13, cpus=2) | ok")


def test_a_screen_that_differs_is_told_with_the_best_needle_and_its_areas(tmp_path: Path) -> None:
    text = failures(samples.needle_differs(tmp_path))
    assert "  screen      | login-window, the best of 3: 1 of 3 areas differs, the worst is 73.1 % alike\n" in text
    assert "| 2 120x40 at 693,450: 73.1 % alike, differs, 96 % wanted\n" in text
    assert "| 4 100x27 at 1170,0: left out\n" in text
    assert "last frame  " in text
    assert "shots/step-3-seen.png" in text


async def test_workarounds_are_counted_in_the_summary(tmp_path: Path) -> None:
    folder = samples.forty_needles(tmp_path)
    console = Console(file=io.StringIO(), width=200)
    print_summary(folder.read_result(), console, folder)
    assert "81 steps, 40 failed, 1 with a workaround in" in text_of(console)
