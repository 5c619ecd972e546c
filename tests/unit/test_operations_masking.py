"""What is written down has no secrets in it, and is not long."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from qa.operations.masking import LONGEST, MASK, mask_text, masked

SECRET = "s3cr3tValue9"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nAAAA\n-----END OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    "name",
    [
        "password", "Password", "PASSWORD", "root_password", "passwd", "passphrase", "pass", "secret", "client_secret", "token",
        "access_token", "authToken", "api_key", "apikey", "api-key", "apiKey", "private_key", "ssh_key", "secretKey",
        "credentials", "authorization", "Cookie", "userPassword", "pwd", "chpasswd",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [SECRET, 123456, [SECRET], {"a": SECRET}])
def test_what_is_called_a_secret_is_one(name: str, value: Any) -> None:
    assert masked({name: value}) == {name: MASK}
    assert masked({"outer": [{name: value}]}) == {"outer": [{name: MASK}]}


@pytest.mark.parametrize(
    "name", ["passed", "passive", "compass", "tokenize", "keys", "key", "keyboard", "monkey", "secretary", "command"]
)
def test_what_is_not_called_a_secret_is_shown(name: str) -> None:
    assert masked({name: "shown"}) == {name: "shown"}


@pytest.mark.parametrize(
    "text",
    [
        f"mysql --password={SECRET} -u root",
        f"mysql --password '{SECRET}' -u root",
        f'mysql --password "{SECRET} x" -u root',
        f"curl -H 'Authorization: Bearer {SECRET}' x",
        f"curl -H 'authorization: Basic {SECRET}' x",
        f"curl -u admin:{SECRET} https://x",
        f"curl --user 'admin:{SECRET}' https://x",
        f"git clone https://me:{SECRET}@host/repo",
        f"PGPASSWORD={SECRET} psql",
        f"export AWS_SECRET_ACCESS_KEY={SECRET}",
        f"export API_TOKEN='{SECRET}'; run",
        f'{{"password": "{SECRET}", "user": "x"}}',
        f"password: {SECRET}",
        f"echo root:{SECRET} | chpasswd",
        f"echo 'root:{SECRET}' | sudo chpasswd",
        f"printf '%s' '{SECRET}' | passwd --stdin root",
        f"echo {SECRET} | sudo -S id",
        f"sshpass -p {SECRET} ssh host",
        f"sshpass -p'{SECRET}' ssh host",
        f"x --api-key {SECRET}",
        f"x --token={SECRET}",
        f"https://x/?access_token={SECRET}&a=b",
        f"cat > key <<E\n-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----\nE",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\nand no end",
        f"ghp_{SECRET}abcdefgh",
        f"sk-{SECRET}abcdefgh",
        f"glpat-{SECRET}abcdefgh",
    ],
)
def test_secrets_in_texts_are_masked(text: str) -> None:
    assert SECRET not in mask_text(text), mask_text(text)
    assert SECRET not in json.dumps(masked({"command": text}))


@pytest.mark.parametrize("text", ["AKIAIOSFODNN7EXAMPLE", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_def"])
def test_tokens_that_show_what_they_are_are_masked(text: str) -> None:
    assert mask_text(f"use {text} now") == f"use {MASK} now"


def test_a_private_key_is_masked_whole_and_what_follows_stays() -> None:
    assert mask_text(f"a {KEY} b") == f"a -----BEGIN OPENSSH PRIVATE KEY----- {MASK} b"


@pytest.mark.parametrize(
    "text",
    [
        "systemctl status nginx",
        "grep -r password /etc",
        "passwd --help",
        "cat /etc/passwd",
        "the token is missing",
        "ls -la --sort=size",
        "https://deb.example.org/debian?x=y",
        "echo hello | grep h",
        "ssh-keygen -t ed25519",
        "a -----BEGIN PUBLIC KEY----- b",
    ],
)
def test_what_has_no_secret_stays_as_it_is(text: str) -> None:
    assert mask_text(text) == text


def test_what_is_around_a_secret_stays() -> None:
    assert mask_text(f"PGPASSWORD={SECRET} psql -h db") == f"PGPASSWORD={MASK} psql -h db"
    assert mask_text(f"git clone https://me:{SECRET}@host/repo") == f"git clone https://me:{MASK}@host/repo"


# length


def test_long_texts_are_cut_and_told_apart() -> None:
    one, other = "a" * 10_000, "a" * 9_999 + "b"
    assert len(mask_text(one)) < LONGEST
    assert mask_text(one) != mask_text(other)
    assert "10000 letters" in mask_text(one)
    assert mask_text("a" * LONGEST) == "a" * LONGEST


@pytest.mark.parametrize("before", [600, 50_000])
def test_a_secret_is_masked_before_a_text_is_cut_so_that_its_digest_tells_nothing(before: int) -> None:
    one, other = (mask_text("x" * before + f" password={secret}") for secret in ("abc", "def"))
    assert one == other


def test_a_secret_is_masked_where_the_cut_goes_through_it() -> None:
    text = "x" * 290 + f" password={SECRET * 5} " + "y" * 500
    assert SECRET not in json.dumps(masked({"command": text}))


@pytest.mark.parametrize(
    "value", [list(range(10_000)), {str(number): number for number in range(10_000)}, ["x" * 400] * 40, b"x" * 10**6]
)
def test_large_values_become_small(value: Any) -> None:
    assert len(json.dumps(masked({"value": value}))) < 25_000


def test_deep_values_come_to_an_end() -> None:
    value: Any = f"password={SECRET}"
    for _ in range(100):
        value = [value]
    assert SECRET not in json.dumps(masked({"value": value}))
    circle: list[Any] = []
    circle.append(circle)
    json.dumps(masked({"value": circle}))


# kinds of values


class Login(BaseModel):
    user: str
    password: str


def test_all_kinds_of_values_become_data(tmp_path: Path) -> None:
    value = {"path": tmp_path, "login": Login(user="a", password=SECRET), "number": 1.5, "none": None, "yes": True, "odd": object}
    data = masked(value)
    json.dumps(data)
    assert data["login"] == {"user": "a", "password": MASK}
    assert (data["path"], data["number"], data["none"], data["yes"]) == (str(tmp_path), 1.5, None, True)


def test_secrets_in_names_are_masked_too() -> None:
    assert SECRET not in json.dumps(masked({"environment": {f"token={SECRET}": 1}}))


def test_chosen_arguments_show_their_length_alone() -> None:
    data = masked({"text": "hunter2", "number": 5}, tool="vm_input", hide=("vm_*.text", "*.number"))
    assert data == {"text": f"{MASK} (7 letters)", "number": MASK}


def test_texts_made_to_take_for_ever_do_not() -> None:
    for text in (
        "-----BEGIN A PRIVATE KEY-----" * 2000,
        "password" * 5000,
        "echo " * 5000,
        "a:" * 20000,
        "--token " * 5000,
        "x" * 200_000,
    ):
        mask_text(text)


def test_no_pattern_takes_a_lonely_mask_apart() -> None:
    text = f"password={MASK}"
    assert re.sub(r"\*", "", mask_text(mask_text(text))) == "password="
