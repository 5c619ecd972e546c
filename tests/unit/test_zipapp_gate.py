"""Whatever Python starts the single file, it goes on in one that suits, or says which it needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from qa.zipapp import gate, start

SUITS = "#!/bin/sh\nexit 0\n"
IS_BROKEN = "#!/bin/sh\nexit 127\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def play(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return str(folder / name)


def test_the_python_of_these_tests_suits() -> None:
    assert gate.suits()


@pytest.mark.parametrize("version", [(2, 7), (3, 6), (3, 10), (3, 15)])
def test_other_pythons_do_not(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int]) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    assert not gate.suits()


def test_an_interpreter_for_other_modules_does_not_suit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MACHINE", "riscv64")  # as with another architecture, another C library, or free threads
    assert not gate.suits()


def test_the_newest_that_suits_is_taken(path: Path) -> None:
    play(path, "python3.11", SUITS)
    wanted = play(path, "python3.13", SUITS)
    play(path, "python3.14", IS_BROKEN)
    play(path, "python3.15", SUITS)
    assert gate.another({"PATH": f"/nowhere:{path}"}) == wanted


def test_a_python_in_the_current_folder_is_not_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(path, "python3.13", SUITS)
    monkeypatch.chdir(path)
    assert gate.another({"PATH": ":."}) is None


def test_where_there_is_none_two_lines_say_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit) as ended:
        gate.go_on("/anima-qa.pyz")
    assert ended.value.code == 3
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "error: anima-qa needs CPython 3.11, 3.12, 3.13 or 3.14 on Linux with glibc, for x86_64; "
        "this is cpython 3.9.2 at /usr/bin/python3"
    )
    assert second.startswith("  -> install one of them")


def test_the_other_python_gets_the_same_command_line_and_is_the_last(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = play(path, "python3.12", SUITS)
    called: list[object] = []
    monkeypatch.setattr(gate, "suits", lambda: False)
    monkeypatch.setattr(gate.os, "execv", lambda *arguments: called.extend(arguments))
    monkeypatch.setattr(sys, "argv", ["anima-qa.pyz", "run", "a b.yaml"])
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.delenv(gate.STARTED, raising=False)
    gate.go_on("/anima-qa.pyz")
    assert called == [other, [other, "-IS", "/anima-qa.pyz", "run", "a b.yaml"]]
    with pytest.raises(SystemExit):
        gate.go_on("/anima-qa.pyz")
    assert gate.STARTED not in gate.os.environ


@pytest.fixture
def went_on(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What became of a start: the command line of another process, or ``here``."""
    ended: list[object] = []
    monkeypatch.setattr(gate.os, "execv", lambda *arguments: ended.append(arguments[1]))
    monkeypatch.setattr(start, "main", lambda _: ended.append("here"))
    monkeypatch.setattr(sys, "argv", ["anima-qa.pyz", "mcp"])
    return ended


def test_a_python_that_may_have_imported_what_is_installed_here_starts_again_without(
    monkeypatch: pytest.MonkeyPatch, went_on: list[object]
) -> None:
    monkeypatch.delenv(gate.STARTED, raising=False)
    monkeypatch.setattr(gate, "is_clean", lambda: False)
    gate.go_on("/anima-qa.pyz")
    gate.go_on("/anima-qa.pyz")  # as the one that was started: once is enough, whatever became of its options
    assert went_on == [[sys.executable, "-IS", "/anima-qa.pyz", "mcp"], "here"]
    assert gate.STARTED not in gate.os.environ


def test_a_clean_start_goes_on_at_once(monkeypatch: pytest.MonkeyPatch, went_on: list[object]) -> None:
    monkeypatch.setattr(gate, "is_clean", lambda: True)
    gate.go_on("/anima-qa.pyz")
    assert went_on == ["here"]


def test_ctrl_c_at_the_start_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gate, "is_clean", lambda: True)
    monkeypatch.setattr(start, "main", interrupt)
    with pytest.raises(SystemExit) as ended:
        gate.go_on("/anima-qa.pyz")
    assert ended.value.code == 130


def test_a_python_without_parts_of_its_library_does_not_suit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], went_on: list[object]
) -> None:
    monkeypatch.setattr(gate, "NEEDED", (*gate.NEEDED, "_no_such_module"))
    monkeypatch.setenv("PATH", str(Path(sys.base_prefix, "bin")))  # where one lacks it, so do all
    with pytest.raises(SystemExit) as ended:
        gate.go_on("/anima-qa.pyz")
    assert ended.value.code == 3
    assert "without its modules no_such_module\n  -> install" in capsys.readouterr().err
    assert went_on == []


@pytest.mark.parametrize(("lacking", "status"), [((), 0), (("_no_such_module",), 1)])
def test_another_python_is_asked_for_them_too(lacking: tuple[str, ...], status: int) -> None:
    command = [sys.executable, "-ISc", gate.CHECK, gate.suffix(sys.version_info), *gate.NEEDED, *lacking]
    assert subprocess.run(command, check=False).returncode == status


def test_who_closed_stderr_gets_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "suits", lambda: False)
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit) as ended:
        gate.go_on("/anima-qa.pyz")
    assert ended.value.code == 3


def test_old_pythons_can_read_the_first_code() -> None:
    tree = ast.parse(Path(gate.__file__).read_text(), feature_version=(3, 4))
    newer = [node for node in ast.walk(tree) if isinstance(node, (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr))]
    annotated = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and (node.returns or node.args.kwonlyargs)]
    assert newer + annotated == []


def test_only_the_file_and_pythons_own_library_are_imported_from(monkeypatch: pytest.MonkeyPatch) -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    own = [f"{sys.base_prefix}/lib/python{version.replace('.', '')}.zip", f"{sys.base_prefix}/lib/python{version}"]
    own.append(f"{own[1]}/lib-dynload")
    around = ["", "/evil", "/evil/lib-dynload", f"{own[1]}/site-packages", "/usr/lib/python3/dist-packages"]
    monkeypatch.setattr(sys, "path", ["/anima-qa.pyz", *around, *own])
    start.shut_out("/anima-qa.pyz")
    assert sys.path == ["/anima-qa.pyz", *own]


def test_nothing_can_be_shadowed_before_that() -> None:
    tree = ast.parse(Path(start.__file__).read_text())
    first = {name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names}
    assert first == {"os", "sys"}
    assert not any(isinstance(node, ast.ImportFrom) for node in tree.body)
