"""Copies between host and guest, over this host's own shell; and archives from a guest that means harm."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from qa.deadline import Deadline
from qa.errors import CheckFailed, DeadlineExceeded, NoSpace, UsageError
from qa.guest.channel import CommandResult, OutputListener
from qa.guest.copying import copy_from, copy_to, landing


class LocalShell:
    """A channel into this host."""

    name = "local"

    def __init__(self) -> None:
        self.limits: list[float] = []

    async def run(
        self,
        command: str,
        *,
        limit: float,
        stdin: BinaryIO | None = None,
        on_output: OutputListener | None = None,
        sink: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        self.limits.append(limit)
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", command,
            stdin=stdin or asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        if sink:
            sink(out)
        return CommandResult(command, process.returncode, b"" if sink else out, err, 0.1)

    async def close(self) -> None:
        pass


class Sends(LocalShell):
    """A guest that answers each command with the same."""

    def __init__(self, data: bytes, code: int | None = 0, *, timed_out: bool = False) -> None:
        super().__init__()
        self._answer = (data, code, timed_out)

    async def run(self, command: str, *, sink: Callable[[bytes], None] | None = None, **_: object) -> CommandResult:  # type: ignore[override]
        data, code, timed_out = self._answer
        if sink:
            sink(data)
        return CommandResult(command, code, b"", b"partial words", 0.1, timed_out=timed_out)


def soon() -> Deadline:
    return Deadline.after(20)


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """The guest's root."""
    folder = tmp_path / "guest"
    folder.mkdir()
    return folder


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The host's folder."""
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    (folder / "file").chmod(0o750)
    (folder / "tree" / "sub").mkdir(parents=True)
    (folder / "tree" / "sub").chmod(0o700)
    (folder / "tree" / "sub" / "leaf").write_bytes(b"leaf")
    (folder / "tree" / "link").symlink_to("sub/leaf")
    return folder


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o7777)


@pytest.mark.parametrize(
    ("target", "arrives"),
    [
        ("new", "new"),
        ("folder/", "folder/file"),
        ("deep/er/name", "deep/er/name"),
        ("there", "there/file"),
        ("with 'quote", "with 'quote"),
    ],
)
async def test_where_a_file_arrives(host: Path, guest: Path, target: str, arrives: str) -> None:
    (guest / "there").mkdir()
    await copy_to(LocalShell(), host / "file", f"{guest}/{target}", soon())
    assert (guest / arrives).read_bytes() == b"content"
    assert mode(guest / arrives) == "0o750"


@pytest.mark.parametrize(("target", "arrives"), [("new", "new"), ("folder/", "folder/tree"), ("there", "there")])
async def test_where_a_folder_arrives(host: Path, guest: Path, target: str, arrives: str) -> None:
    (guest / "there").mkdir()
    (guest / "there" / "stays").write_bytes(b"")
    await copy_to(LocalShell(), host / "tree", f"{guest}/{target}", soon())
    assert (guest / arrives / "sub" / "leaf").read_bytes() == b"leaf"
    assert (guest / arrives / "link").readlink() == Path("sub/leaf")
    assert mode(guest / arrives / "sub") == "0o700"
    assert (guest / "there" / "stays").exists()


@pytest.mark.parametrize("what", ["file", "tree"])
async def test_a_source_that_is_a_link_means_what_it_leads_to(host: Path, guest: Path, what: str) -> None:
    (host / "way").symlink_to(what)
    await copy_to(LocalShell(), host / "way", f"{guest}/copy", soon())
    assert not (guest / "copy").is_symlink()
    assert (guest / "copy" / "sub" / "leaf" if what == "tree" else guest / "copy").read_bytes() in {b"content", b"leaf"}


async def test_a_file_of_the_host_that_cannot_be_read_is_named(host: Path, guest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(host / "file"))

    monkeypatch.setattr("qa.guest.copying.tarfile.TarFile.add", refuse)
    with pytest.raises(UsageError, match="file cannot be read: Permission denied"):
        await copy_to(LocalShell(), host / "file", f"{guest}/x", soon())


async def test_what_the_guest_refuses_is_told_in_its_words(host: Path) -> None:
    with pytest.raises(CheckFailed, match="could not be copied to /proc/nowhere/x in the guest") as caught:
        await copy_to(LocalShell(), host / "file", "/proc/nowhere/x", soon())
    assert "/proc/nowhere" in caught.value.evidence["the guest said"]


async def test_a_copy_that_takes_too_long(host: Path, tmp_path: Path) -> None:
    slow = Sends(b"", None, timed_out=True)
    with pytest.raises(DeadlineExceeded, match=r"within 20\.0 s"):
        await copy_from(slow, "/x", tmp_path / "x", soon())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("new", "new"),
        ("there/", "there/a file"),
        ("there", "there/a file"),
        ("deep/er", "deep/er"),
        ("deep/er/", "deep/er/a file"),
        ("deep/..", "a file"),
        ("deep/../", "a file"),
        ("deep/../there", "there/a file"),
        ("deep/../file", "file"),
        ("way", "there/a file"),
        ("way/../new", "new"),
    ],
)
async def test_where_a_file_from_the_guest_arrives(guest: Path, host: Path, target: str, wanted: str) -> None:
    (guest / "a file").write_bytes(b"data")
    (guest / "a file").chmod(0o755)
    (host / "there").mkdir()
    (host / "way").symlink_to("there")
    before = {path for path in host.rglob("*") if path != host / wanted}
    final = landing(host, target, f"{guest}/a file")
    assert final == host / wanted
    assert landing(Path("/elsewhere"), f"{host}/{target}", f"{guest}/a file") == final
    assert await copy_from(LocalShell(), f"{guest}/a file", final, soon()) == []
    assert (final.read_bytes(), mode(final)) == (b"data", "0o755")
    assert before <= set(host.rglob("*")), "nothing else is gone"


def test_a_copy_replaces_no_folder_that_this_program_works_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("project/src", "run/results"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project" / "src")
    for target, source in ((tmp_path, "/x/project"), (tmp_path / "project", "/x/src"), ("../..", "/x/run"), ("..", "/x/results")):
        with pytest.raises(UsageError, match="cannot be replaced by a copy: this program works in it"):
            landing(tmp_path / "run" / "results", target, source)
    assert landing(tmp_path / "run" / "results", tmp_path, "/x/projects") == tmp_path / "projects"


def test_what_lies_in_the_results_is_named_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "real" / "there").mkdir(parents=True)
    (tmp_path / "results").symlink_to("real")
    assert landing(tmp_path / "results", "there", "/x") == tmp_path / "results" / "there" / "x"
    assert landing(tmp_path / "results", "../real/y", "/x") == tmp_path / "results" / "y"
    (tmp_path / "way").symlink_to("real/z")
    assert landing(tmp_path / "results", tmp_path / "way", "/x") == tmp_path / "results" / "z"


async def test_a_link_that_leads_nowhere_is_copied_as_one_and_its_copy_replaced(guest: Path, host: Path) -> None:
    (guest / "way").symlink_to("nowhere")
    for _ in range(2):
        final = landing(host, "files/", f"{guest}/way")
        await copy_from(LocalShell(), f"{guest}/way", final, soon())
        assert final == host / "files" / "way"
        assert [path.name for path in final.parent.iterdir()] == ["way"]
        assert final.readlink() == Path("nowhere")


@pytest.mark.parametrize("target", ["~nobody-of-that-name/x", "a\0b", "a" * 300, "circle", "circle/x"])
def test_a_target_that_there_cannot_be(host: Path, target: str) -> None:
    (host / "circle").symlink_to("circle")
    with pytest.raises(UsageError, match=r"is no path of this host|cannot be told what"):
        landing(host, target, "/x")


async def test_a_folder_from_the_guest_keeps_its_modes_and_links(guest: Path, host: Path) -> None:
    (guest / "tree" / "private").mkdir(parents=True)
    (guest / "tree" / "private").chmod(0o700)
    (guest / "tree" / "shared").mkdir()
    (guest / "tree" / "shared").chmod(0o775)
    (guest / "tree" / "secret").write_bytes(b"s")
    (guest / "tree" / "secret").chmod(0o600)
    (guest / "tree" / "link").symlink_to("private")
    assert await copy_from(LocalShell(), f"{guest}/tree", host / "copy", soon()) == []
    copy = host / "copy"
    assert (mode(copy / "private"), mode(copy / "shared"), mode(copy / "secret")) == ("0o700", "0o775", "0o600")
    assert (copy / "link").readlink() == Path("private")


async def test_a_link_in_the_guest_means_what_it_leads_to(guest: Path, host: Path) -> None:
    (guest / "real").write_bytes(b"data")
    (guest / "way").symlink_to("real")
    await copy_from(LocalShell(), f"{guest}/way", host / "copy", soon())
    assert not (host / "copy").is_symlink()
    assert (host / "copy").read_bytes() == b"data"


async def test_a_copy_replaces_the_one_before(guest: Path, host: Path) -> None:
    (guest / "tree").mkdir()
    (guest / "tree" / "one").write_bytes(b"1")
    await copy_from(LocalShell(), f"{guest}/tree", host / "copies", soon())
    (guest / "tree" / "one").rename(guest / "tree" / "two")
    await copy_from(LocalShell(), f"{guest}/tree", host / "copies", soon())
    assert [path.name for path in (host / "copies").iterdir()] == ["two"]


@pytest.mark.parametrize("source", ["/", "..", "/tmp/..", "."])
async def test_a_source_without_a_name(source: str, host: Path) -> None:
    with pytest.raises(UsageError, match="names no file or folder"):
        await copy_from(LocalShell(), source, host / "x", soon())
    with pytest.raises(UsageError, match="names no file or folder"):
        landing(host, "x/", source)


async def test_a_failed_copy_leaves_nothing_and_keeps_what_was_there(guest: Path, host: Path) -> None:
    before = sorted(host.rglob("*"))
    with pytest.raises(CheckFailed, match="could not be copied from the guest"):
        await copy_from(LocalShell(), f"{guest}/missing", host / "file", soon())
    assert sorted(host.rglob("*")) == before
    assert (host / "file").read_bytes() == b"content"


@pytest.mark.parametrize("junk", [b"", b"not an archive" * 100, b"\0" * 10240], ids=["nothing", "text", "zeros"])
async def test_what_is_no_archive(junk: bytes, host: Path) -> None:
    with pytest.raises(CheckFailed, match="what the guest sent"):
        await copy_from(Sends(junk), "/x", host / "x", soon())


async def test_an_archive_that_ends_early(host: Path) -> None:
    whole = archive((member("x"), os.urandom(50_000)))
    with pytest.raises(CheckFailed, match="is no archive"):
        await copy_from(Sends(whole[:20_000]), "/x", host / "x", soon())
    assert not (host / "x").exists()


HOSTILE = [
    member("x/../../../escaped"),
    member("x/link", tarfile.SYMTYPE, "/etc/passwd"),
    member("x/link", tarfile.SYMTYPE, "../../../../etc/passwd"),
    member("x/hard", tarfile.LNKTYPE, "../../../../etc/passwd"),
    member("x/fifo", tarfile.FIFOTYPE),
    member("x/device", tarfile.BLKTYPE),
    member("x/null", tarfile.CHRTYPE),
]


@pytest.mark.parametrize("evil", HOSTILE, ids=lambda evil: f"{evil.name} {evil.linkname}")
async def test_what_leads_out_of_the_copy_is_left_out_and_told(evil: tarfile.TarInfo, host: Path, tmp_path: Path) -> None:
    data = archive((member("x", tarfile.DIRTYPE, mode=0o755), b""), (member("x/good"), b"good"), (evil, b""))
    assert await copy_from(Sends(data), "/x", host / "x", soon()) == [evil.name]
    assert [path.name for path in (host / "x").iterdir()] == ["good"]
    assert not list(tmp_path.rglob("escaped"))


async def test_an_absolute_name_stays_inside(host: Path, tmp_path: Path) -> None:
    await copy_from(Sends(archive((member(f"{tmp_path}/escaped"), b"x"))), "/x", host / "x", soon())
    assert not (tmp_path / "escaped").exists()


async def test_a_link_and_then_a_file_through_it(host: Path, tmp_path: Path) -> None:
    data = archive(
        (member("x", tarfile.DIRTYPE, mode=0o755), b""),
        (member("x/way", tarfile.SYMTYPE, str(tmp_path)), b""),
        (member("x/way/escaped"), b"evil"),
    )
    assert "x/way" in await copy_from(Sends(data), "/x", host / "x", soon())
    assert not (tmp_path / "escaped").exists()


async def test_two_files_at_the_top_are_not_what_was_asked_for(host: Path) -> None:
    with pytest.raises(CheckFailed, match="has 2 files at its top"):
        await copy_from(Sends(archive((member("x"), b""), (member("y"), b""))), "/x", host / "x", soon())


async def test_set_id_bits_do_not_come_along(host: Path) -> None:
    await copy_from(Sends(archive((member("x", mode=0o6755), b"x"))), "/x", host / "x", soon())
    assert mode(host / "x") == "0o755"


async def test_a_full_disk_of_the_host_is_told_as_such(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(NoSpace, match="no space is left"):
        await copy_from(Sends(archive((member("x"), b"x"))), "/x", host / "x", soon())
    assert sorted(path.name for path in host.iterdir()) == ["file", "tree"]
