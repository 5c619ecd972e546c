"""The cloud-init seed says what was asked for, in a disk that cloud-init finds."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pycdlib
import pytest
from ruamel.yaml import YAML

from qa.errors import NoSpace, UsageError
from qa.images.seed import merge, render_user_data, write_seed

VARIABLES = {
    "hostname": "web",
    "ssh_public_key": "ssh-ed25519 AAAA root@host",
    "ssh_host_key": "-----BEGIN KEY-----\nabc\n-----END KEY-----\n",
    "ssh_host_public_key": "ssh-ed25519 BBBB",
    "shell_name": "qa.service",
    "shell_unit": base64.b64encode(b"[Unit]\n").decode(),
}


def user_data(variables: dict[str, str], script_part: dict[str, Any] | None = None) -> dict[str, Any]:
    text = render_user_data(variables, script_part)
    assert text.startswith("#cloud-config\n")
    loaded: dict[str, Any] = YAML(typ="safe").load(text)
    return loaded


def read_back(path: Path, name: str) -> str:
    iso = pycdlib.PyCdlib()
    iso.open(str(path))
    out = io.BytesIO()
    iso.get_file_from_iso_fp(out, joliet_path=f"/{name}")
    iso.close()
    return out.getvalue().decode()


def test_root_is_let_in_with_the_key() -> None:
    data = user_data(VARIABLES)
    assert data["hostname"] == "web"
    assert data["disable_root"] is False
    assert {"name": "root", "ssh_authorized_keys": [VARIABLES["ssh_public_key"]]} in data["users"]
    assert data["ssh_keys"]["ed25519_private"] == VARIABLES["ssh_host_key"]


def test_the_shell_unit_is_started_early() -> None:
    command = user_data(VARIABLES)["bootcmd"][0][-1]
    assert f"printf %s {VARIABLES['shell_unit']} | base64 -d > /run/systemd/system/qa.service" in command


def test_what_is_not_given_is_left_out() -> None:
    assert user_data({"hostname": "web"}) == {"hostname": "web", "preserve_hostname": False, "disable_root": False}


def test_a_hostile_hostname_stays_a_text() -> None:
    assert user_data({"hostname": 'x"\nruncmd: [reboot] # {{ 7 * 7 }}'})["hostname"] == 'x"\nruncmd: [reboot] # {{ 7 * 7 }}'


def test_the_script_adds_to_lists_and_replaces_values() -> None:
    data = user_data(
        VARIABLES, {"hostname": "other", "packages": ["nginx"], "bootcmd": ["echo hi"], "ssh_keys": {"rsa_private": "r"}}
    )
    assert data["hostname"] == "other"
    assert data["packages"] == ["nginx"]
    assert data["bootcmd"][-1] == "echo hi"
    assert len(data["bootcmd"]) == 2
    assert set(data["ssh_keys"]) == {"ed25519_private", "ed25519_public", "rsa_private"}


def test_merging_leaves_its_inputs_alone() -> None:
    base = {"a": {"b": [1]}}
    assert merge(base, {"a": {"b": [2]}}) == {"a": {"b": [1, 2]}}
    assert base == {"a": {"b": [1]}}


def test_what_is_no_plain_data_is_the_scripts_mistake() -> None:
    with pytest.raises(UsageError, match="cloud_init"):
        render_user_data({"hostname": "web"}, {"when": object()})


def test_the_disk_has_the_label_and_the_files_that_cloud_init_looks_for(tmp_path: Path) -> None:
    seed = tmp_path / "seed.iso"
    write_seed(seed, instance_id="i-1", hostname="web", user_data="#cloud-config\n{}\n", network_config="version: 2\n")
    assert seed.read_bytes()[0x8028:0x8048].decode().strip() == "cidata"
    assert json.loads(read_back(seed, "meta-data")) == {"instance-id": "i-1", "local-hostname": "web"}
    assert read_back(seed, "user-data") == "#cloud-config\n{}\n"
    assert read_back(seed, "network-config") == "version: 2\n"


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(NoSpace):
        write_seed(full, instance_id="i", hostname="h", user_data="#cloud-config\n")
