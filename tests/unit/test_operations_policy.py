"""The policy: each rule lets through what it should, and refuses the rest by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qa.config import load_config
from qa.errors import PolicyRefused, UsageError
from qa.operations.calls import Caller, Facts, boot_facts, effect_of, facts_of
from qa.operations.catalogue import CATALOGUE
from qa.operations.gate import Gate
from qa.operations.options import DiskOptions, MachineOptions
from qa.operations.policy import Judge
from qa.paths import Paths
from qa.rules import Policy

AGENT, USER = Caller("mcp", "one"), Caller("run")
FILE = Path("/etc/config.toml")


def judge(tmp_path: Path, **rules: Any) -> Judge:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    images, sessions = home / ".cache/anima-qa/images", home / ".local/sessions"
    policy = Policy.model_validate(rules)
    return Judge(
        policy,
        FILE,
        own=(images,),
        kept=(home / "conf",),
        sealed=(images, home / "work"),
        sessions=sessions,
        theirs=lambda caller: (sessions / caller.client,),
        bases=(home / "project",),
        home=home,
    )


def refusal(one: Judge, facts: Facts, caller: Caller = AGENT, name: str = "vm_exec") -> str:
    """The rule that refuses; empty where none does."""
    try:
        one.check(caller, name, facts)
    except PolicyRefused as error:
        return error.rule if error.hint and error.exit_code == 2 else "an error without a next step"
    return ""


def test_where_nothing_is_said_all_is_allowed(tmp_path: Path) -> None:
    facts = Facts("change", commands=("rm -rf /",), typed=("x",), other_ways=("cloud_init",), reads=(tmp_path / "file",))
    assert not refusal(judge(tmp_path), facts)
    assert judge(tmp_path).grants(AGENT, "vm_destroy", "destroy", "machines")


@pytest.mark.parametrize(("effect", "allowed"), [("read", True), ("change", False), ("destroy", False)])
def test_read_only_refuses_all_that_changes_something(tmp_path: Path, effect: Any, allowed: bool) -> None:
    one = judge(tmp_path, read_only=True)
    assert (refusal(one, Facts(effect)) == "") is allowed
    assert one.grants(AGENT, "x", effect, "machines") is allowed


@pytest.mark.parametrize(
    ("right", "granted"),
    [("none", set()), ("read", {"read"}), ("change", {"read", "change"}), ("all", {"read", "change", "destroy"})],
)
def test_rights_on_a_toolset_are_for_that_toolset_alone(tmp_path: Path, right: str, granted: set[str]) -> None:
    one = judge(tmp_path, toolsets={"images": right})
    effects: tuple[Any, ...] = ("read", "change", "destroy")
    assert {effect for effect in effects if one.grants(AGENT, "x", effect, "images")} == granted
    assert {effect for effect in effects if not refusal(one, Facts(effect, "images"))} == granted
    assert all(one.grants(AGENT, "x", effect, "machines") for effect in effects)


def test_operations_are_refused_by_name(tmp_path: Path) -> None:
    one = judge(tmp_path, deny_operations=["vm_input", "image_*"])
    assert refusal(one, Facts("read"), name="vm_input") == "policy.deny_operations"
    assert refusal(one, Facts("read"), name="image_list") == "policy.deny_operations"
    assert not refusal(one, Facts("read"), name="vm_inputs")


@pytest.mark.parametrize("verb", ["succeed", "fail", "wait_until_succeeds", "wait_until_fails", "execute"])
def test_what_runs_commands_is_refused_where_execute_is(tmp_path: Path, verb: str) -> None:
    facts = facts_of(CATALOGUE[verb], {"command": "true"})
    assert refusal(judge(tmp_path, deny_operations=["execute"]), facts, name=verb) == "policy.deny_operations"
    assert not refusal(judge(tmp_path, deny_operations=["execut"]), facts, name=verb)


def test_an_operation_is_refused_for_what_it_is_made_of(tmp_path: Path) -> None:
    one = judge(tmp_path, deny_operations=["screenshot"])
    assert refusal(one, Facts("read", verbs=("click", "screenshot")), name="vm_input") == "policy.deny_operations"
    assert not refusal(one, Facts("read", verbs=("click",)), name="vm_input")


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("ls", True),
        ("ls /tmp", True),
        ("ls /tmp; rm -rf /", False),
        ("ls /tmp\nrm -rf /", False),
        ("ls\n", False),
        ("sudo ls", False),
        ("", False),
        ("systemctl status nginx", True),
        ("systemctl stop nginx", False),
    ],
)
def test_with_a_list_of_commands_only_those_run_and_as_a_whole(tmp_path: Path, command: str, allowed: bool) -> None:
    one = judge(tmp_path, allow_commands=[r"ls( [\w/.-]+)*", "systemctl status .*"])
    assert refusal(one, Facts(commands=(command,))) == ("" if allowed else "policy.allow_commands")


def test_a_dot_does_not_let_further_lines_in(tmp_path: Path) -> None:
    one = judge(tmp_path, allow_commands=["echo .*"])
    assert not refusal(one, Facts(commands=("echo a b",)))
    assert refusal(one, Facts(commands=("echo a\nrm -rf /",)))


def test_an_empty_list_of_commands_allows_none(tmp_path: Path) -> None:
    assert refusal(judge(tmp_path, allow_commands=[]), Facts(commands=("true",))) == "policy.allow_commands"


def test_each_command_of_a_call_is_looked_at(tmp_path: Path) -> None:
    assert refusal(judge(tmp_path, allow_commands=["true"]), Facts(commands=("true", "false")))


@pytest.mark.parametrize("command", ["rm -rf /", "true; rm -rf /", "true\nrm -rf /", "echo $(rm -rf /)"])
def test_what_is_denied_is_found_anywhere(tmp_path: Path, command: str) -> None:
    one = judge(tmp_path, deny_commands=[r"\brm\b"])
    assert refusal(one, Facts(commands=(command,))) == "policy.deny_commands"
    assert refusal(one, Facts(typed=(command,))) == "policy.deny_commands"
    assert not refusal(one, Facts(commands=("term",), typed=("format",)))


def test_a_beginning_is_that_of_each_line(tmp_path: Path) -> None:
    assert refusal(judge(tmp_path, deny_commands=["^reboot"]), Facts(commands=("sync\nreboot",)))


def test_what_is_denied_wins_over_what_is_allowed(tmp_path: Path) -> None:
    one = judge(tmp_path, allow_commands=["ls.*"], deny_commands=["secret"])
    assert refusal(one, Facts(commands=("ls /secret",))) == "policy.deny_commands"


@pytest.mark.parametrize("facts", [Facts(typed=("ls",)), Facts(other_ways=("cloud_init",)), Facts(other_ways=("typing keys",))])
def test_with_a_list_of_commands_there_is_no_way_round(tmp_path: Path, facts: Facts) -> None:
    assert refusal(judge(tmp_path, allow_commands=["ls"]), facts) == "policy.allow_commands"
    assert not refusal(judge(tmp_path, deny_commands=["rm"]), facts)


# paths


def reads(path: Path) -> Facts:
    return Facts("read", reads=(path,))


def writes(path: Path) -> Facts:
    return Facts("change", writes=(path,))


def test_only_allowed_folders_are_touched(tmp_path: Path) -> None:
    (tmp_path / "ok").mkdir()
    one = judge(tmp_path, allow_paths=[tmp_path / "ok"])
    for facts in (reads, writes):
        assert not refusal(one, facts(tmp_path / "ok" / "new" / "file"))
        assert not refusal(one, facts(tmp_path / "ok"))
        assert refusal(one, facts(tmp_path / "okay")) == "policy.allow_paths"
        assert refusal(one, facts(tmp_path / "ok" / ".." / "secret")) == "policy.allow_paths"
        assert refusal(one, facts(Path("/"))) == "policy.allow_paths"


def test_an_empty_list_of_folders_allows_none_but_our_own(tmp_path: Path) -> None:
    one = judge(tmp_path, allow_paths=[])
    assert refusal(one, reads(tmp_path / "file")) == "policy.allow_paths"
    assert not refusal(one, reads(one.home / ".cache/anima-qa/images/x"))
    assert not refusal(one, writes(one.home / ".local/sessions/one/x"))


def test_links_are_followed_before_a_path_is_judged(tmp_path: Path) -> None:
    (tmp_path / "ok").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "ok" / "way").symlink_to("../secret")
    (tmp_path / "ok" / "dangling").symlink_to(tmp_path / "secret" / "not-there")
    (tmp_path / "ok" / "loop").symlink_to(tmp_path / "ok" / "loop")
    (tmp_path / "in").symlink_to(tmp_path / "ok")
    one = judge(tmp_path, allow_paths=[tmp_path / "ok"])
    for name in ("way", "way/file", "dangling"):
        assert refusal(one, writes(tmp_path / "ok" / name)) == "policy.allow_paths", name
        assert refusal(one, reads(tmp_path / "ok" / name)) == "policy.allow_paths", name
    assert refusal(one, reads(tmp_path / "ok" / "loop" / "x")).startswith("policy")
    assert not refusal(one, reads(tmp_path / "in" / "file"))
    assert not refusal(judge(tmp_path, allow_paths=[tmp_path / "in"]), reads(tmp_path / "ok" / "file"))


def test_denied_folders_are_denied_inside_of_allowed_ones(tmp_path: Path) -> None:
    one = judge(tmp_path, allow_paths=[tmp_path], deny_paths=[tmp_path / "secret"])
    assert not refusal(one, reads(tmp_path / "open"))
    assert refusal(one, reads(tmp_path / "secret" / "file")) == "policy.deny_paths"
    assert refusal(one, reads(tmp_path / "open" / ".." / "secret")) == "policy.deny_paths"
    for facts in (reads, writes):
        assert refusal(one, facts(tmp_path)) == "policy.deny_paths", "a folder is copied, or replaced, with what is in it"


@pytest.mark.parametrize("name", [".ssh/id_ed25519", ".bashrc", ".config/x/y", ".", "..", ".cache/other", ".cache"])
def test_agents_keep_off_what_is_hidden_in_the_home_folder(tmp_path: Path, name: str) -> None:
    one = judge(tmp_path)
    for facts in (reads, writes):
        assert refusal(one, facts(one.home / name)) == "policy.protect_home"
        assert not refusal(one, facts(one.home / name), USER)
        assert refusal(judge(tmp_path, protect_home="none"), facts(one.home / name)) != "policy.protect_home"
        assert refusal(judge(tmp_path, protect_home="all"), facts(one.home / name), USER)
    assert refusal(judge(tmp_path, allow_paths=[tmp_path]), reads(one.home / name)), (
        "allowing what is around allows no hidden part"
    )


def test_what_is_hidden_in_a_project_may_be_read_and_not_written(tmp_path: Path) -> None:
    one = judge(tmp_path)
    hook = one.home / "project/.git/hooks/pre-commit"
    assert not refusal(one, reads(hook))
    assert refusal(one, writes(hook)) == "policy.protect_home"


def test_what_is_not_hidden_or_is_ours_is_free_to_agents(tmp_path: Path) -> None:
    one = judge(tmp_path)
    for path in (one.home / "project/file.txt", one.home / ".local/sessions/one/shot.png", tmp_path / ".hidden/elsewhere"):
        assert not refusal(one, reads(path)), path
        assert not refusal(one, writes(path)), path


def test_images_of_the_cache_may_be_read_and_not_written(tmp_path: Path) -> None:
    one = judge(tmp_path, protect_home="none")
    disk = one.home / ".cache/anima-qa/images/x/disk.qcow2"
    for rules in ({}, {"protect_home": "none"}, {"allow_paths": [tmp_path], "protect_home": "none"}):
        assert not refusal(judge(tmp_path, **rules), reads(disk))
        assert refusal(judge(tmp_path, **rules), writes(disk)), rules
        assert refusal(judge(tmp_path, **rules), writes(one.home / "work" / "disk0.qcow2")), rules
    assert not refusal(one, writes(disk), USER)


def test_hidden_folders_that_are_allowed_by_name_are_free(tmp_path: Path) -> None:
    one = judge(tmp_path, allow_paths=[tmp_path / "home/.config/app"])
    assert not refusal(one, reads(one.home / ".config/app/file"))
    assert refusal(one, reads(one.home / ".config/app/.secret")) == "policy.protect_home"


@pytest.mark.parametrize("path", ["/proc/self/environ", "/sys/kernel", "/dev/sda", "/proc"])
def test_agents_keep_off_the_systems_own_files(tmp_path: Path, path: str) -> None:
    assert refusal(judge(tmp_path), reads(Path(path))) == "policy.protect_home"
    assert not refusal(judge(tmp_path, allow_paths=[Path(path)]), reads(Path(path).resolve()))


def test_no_agent_touches_the_rules_or_the_log(tmp_path: Path) -> None:
    one = judge(tmp_path, allow_paths=[tmp_path], protect_home="none")
    for path in ("conf/config.toml", "conf", "."):
        assert refusal(one, writes(one.home / path)) == "policy"
        assert refusal(one, reads(one.home / path)) == "policy"
    assert not refusal(one, writes(one.home / "conf" / "config.toml"), USER)


def test_an_agent_has_its_own_folder_of_the_sessions_and_no_other(tmp_path: Path) -> None:
    sessions = judge(tmp_path).home / ".local/sessions"
    for rules in ({}, {"protect_home": "none"}, {"allow_paths": [tmp_path], "protect_home": "none"}):
        one = judge(tmp_path, **rules)
        for facts in (reads, writes):
            assert not refusal(one, facts(sessions / "one" / "vm1" / "shot.png")), rules
            assert refusal(one, facts(sessions / "two" / "vm1" / "shot.png")), rules
            assert refusal(one, facts(sessions)), "that of others is in it"
    assert not refusal(judge(tmp_path, protect_home="none"), reads(sessions / "two" / "shot.png"), USER)


def unusual(one: Judge, *paths: Path, caller: Caller = AGENT) -> list[Path]:
    return one.unusual(caller, paths)


def test_new_files_are_made_unasked_in_the_folder_of_the_server_its_own_and_temporary_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    one = judge(tmp_path)
    project, sessions = one.home / "project", one.home / ".local/sessions"
    project.mkdir()
    (project / "way-out").symlink_to(tmp_path / "etc")
    inside = (project / "a" / "b", project, sessions / "one" / "vm1" / ".bashrc", tmp_path / "temporary" / "x")
    assert unusual(one, *inside) == []
    outside = (tmp_path / "etc" / "cron.d" / "x", one.home / "other", project / ".git" / "hooks" / "pre-commit", Path("/etc/x"))
    assert unusual(one, *inside, *outside) == list(outside)
    assert unusual(one, project / "way-out" / "x", project / ".." / "x") == [tmp_path / "etc" / "x", one.home / "x"]
    assert unusual(one, *outside, caller=USER) == []
    assert unusual(judge(tmp_path, allow_paths=[tmp_path / "etc"]), *outside) == list(outside[1:])


def test_a_server_that_was_started_in_the_root_has_no_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    one = replace(judge(tmp_path), bases=(Path("/"),))
    assert unusual(one, Path("/etc/x")) == [Path("/etc/x")]


@pytest.mark.parametrize("path", ["a\0b", "~nobody-of-that-name/x"])
def test_a_path_that_is_none_is_refused(tmp_path: Path, path: str) -> None:
    assert refusal(judge(tmp_path), reads(Path(path))).startswith("policy")


def test_the_real_path_is_told_where_links_lead_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "link").symlink_to("secret")
    with pytest.raises(PolicyRefused, match=r"link, which is .*/secret, may not be written to") as caught:
        judge(tmp_path, deny_paths=[tmp_path / "secret"]).check(AGENT, "vm_copy", writes(tmp_path / "link"))
    assert str(FILE) in (caught.value.hint or "")


# what verbs do


def test_every_verb_has_an_effect_that_fits_it() -> None:
    reading = {name for name, one in CATALOGUE.items() if effect_of(one) == "read"}
    destroying = {name for name, one in CATALOGUE.items() if effect_of(one) == "destroy"}
    assert not destroying, "to go back is what a restore point is made for, and cutting the power leaves the disks"
    assert {"screenshot", "read_console", "wait_for_unit", "wait_for_ready"} <= reading
    assert reading.isdisjoint({"execute", "wait_until_succeeds", "send_key", "copy_to", "copy_from", "boot", "snapshot"})


@pytest.mark.parametrize("name", [name for name, one in CATALOGUE.items() if "command" in one.arguments.model_fields])
def test_commands_of_verbs_are_known_to_the_policy(name: str) -> None:
    assert facts_of(CATALOGUE[name], {"command": "rm"}).commands == ("rm",)


def test_typing_and_files_are_known_to_the_policy(tmp_path: Path) -> None:
    assert facts_of(CATALOGUE["send_chars"], {"text": "ls\n"}).typed == ("ls\n",)
    assert facts_of(CATALOGUE["send_console"], {"text": "ls\n"}).typed == ("ls\n",)
    for name in ("send_key", "click", "drag", "scroll", "move_mouse"):
        assert facts_of(CATALOGUE[name], {}).other_ways == ("using keys and mouse",)
    assert facts_of(CATALOGUE["copy_to"], {"source": Path("/a"), "target": "/b"}).other_ways == ("copying files into guests",)
    assert facts_of(CATALOGUE["copy_to"], {"source": Path("/a"), "target": "/b"}).reads == (Path("/a"),)
    out = facts_of(CATALOGUE["copy_from"], {"source": "/a", "target": Path("b")}, results=tmp_path)
    assert (out.reads, out.writes) == ((), (tmp_path / "b",))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    inside = facts_of(CATALOGUE["copy_from"], {"source": "/root/.bashrc", "target": Path("folder")}, results=tmp_path)
    assert (inside.writes, inside.effect) == ((tmp_path / "folder" / ".bashrc",), "change")
    own = facts_of(CATALOGUE["copy_from"], {"source": "/root/old", "target": Path("folder")}, results=tmp_path)
    assert (own.writes, own.effect) == ((tmp_path / "folder" / "old",), "change"), "of the run's own results nobody is asked"
    outside = {"source": "/root/old", "target": tmp_path / "folder"}
    replacing = facts_of(CATALOGUE["copy_from"], outside, results=tmp_path / "results")
    assert (replacing.effect, str(tmp_path / "folder" / "old") in replacing.question) == ("destroy", True)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "way").symlink_to(tmp_path / "folder")
    through = facts_of(CATALOGUE["copy_from"], {"source": "/old", "target": Path("way")}, results=tmp_path / "results")
    assert through.effect == "destroy", "a link leads out of the results"
    absolute = facts_of(CATALOGUE["copy_from"], {"source": "/a", "target": Path("/etc/x")}, results=tmp_path)
    assert absolute.writes == (Path("/etc/x"),)


def test_images_by_path_are_known_to_the_policy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = MachineOptions(disks=(DiskOptions(path=Path("more.qcow2")), DiskOptions(size=1 << 30)))
    assert boot_facts("a/disk.qcow2", options, {}, tmp_path).reads == (tmp_path / "a/disk.qcow2", tmp_path / "more.qcow2")
    assert boot_facts("debian-13", MachineOptions(), {}, tmp_path).reads == ()
    assert boot_facts("file", MachineOptions(), {}, tmp_path).reads == (tmp_path / "file",)
    assert boot_facts("https://x/y.qcow2", MachineOptions(), {}, tmp_path).reads == ()
    assert boot_facts("debian-13", MachineOptions(), {"runcmd": ["true"]}, tmp_path).other_ways == ("cloud_init",)


# the file


def write(home: Paths, text: str) -> None:
    home.config.mkdir(parents=True, exist_ok=True)
    (home.config / "config.toml").write_text(text)


def test_the_policy_is_read_from_the_file(home: Paths) -> None:
    write(home, "[policy]\nread_only = true\ntoolsets = {images = 'read'}\n[limits]\nmemory = '2G'\nlease = '30m'\n")
    config = load_config(home, {})
    assert (config.policy.read_only, config.limits.memory, config.limits.lease) == (True, 2 << 30, 1800.0)
    assert not Gate.of(home, config).grants(AGENT, "vm_boot", "change")


def test_the_environment_has_no_say_in_the_policy(home: Paths) -> None:
    write(home, "[policy]\nread_only = true\n")
    assert load_config(home, {"ANIMA_QA_POLICY": "{}", "ANIMA_QA_AUDIT": "x"}).policy.read_only


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[policy]\nread_onyl = true", "no setting 'policy.read_onyl'"),
        ("[policy]\nallow_commands = ['(']", "policy.allow_commands.*not a regular expression"),
        ("[policy]\nallow_commands = ['a{99999999999999}']", "policy.allow_commands.*not a regular expression"),
        ("[policy]\nallow_paths = ['here']", "policy.allow_paths.*absolute path"),
        ("[policy]\ntoolsets = {image = 'read'}", "policy.toolsets"),
        ("[policy]\ntoolsets = {images = 'write'}", "policy.toolsets"),
        ("policy = 'none'", "policy"),
        ("[limits]\nmachines = 0", "limits.machines"),
        ("[limits]\nlease = 'soon'", "limits.lease.*not a duration"),
        ("[limits]\nmemory = 'much'", "limits.memory.*not a size"),
        ("[audit]\nof = 'some'", "audit.of"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_place(home: Paths, text: str, message: str) -> None:
    write(home, text)
    with pytest.raises(UsageError, match=message) as caught:
        load_config(home, {})
    assert "config.toml" in caught.value.message


def test_a_mistyped_rule_has_a_suggestion(home: Paths) -> None:
    write(home, "[policy]\nread_onyl = true")
    with pytest.raises(UsageError) as caught:
        load_config(home, {})
    assert caught.value.hint == "did you mean 'read_only'?"
