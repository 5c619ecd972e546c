from __future__ import annotations

from pathlib import Path

import pytest

from qa.errors import UsageError
from qa.mcp.address import Address, check_safe, read_address, read_token


@pytest.mark.parametrize(
    ("text", "variable", "host", "port"),
    [
        ("", "", "127.0.0.1", 8090),
        ("", "9000", "127.0.0.1", 9000),
        ("8091", "9000", "127.0.0.1", 8091),
        ("0.0.0.0:80", "", "0.0.0.0", 80),
        ("0.0.0.0", "9000", "0.0.0.0", 9000),
        ("[::1]:8091", "", "::1", 8091),
        ("[::1]", "", "::1", 8090),
        ("[::1]", "9000", "::1", 9000),
        ("::1", "", "::1", 8090),
        ("::", "9000", "::", 9000),
        ("fe80::1:8090", "", "fe80::1:8090", 8090),
        ("host.example:0", "", "host.example", 0),
        (":8092", "", "127.0.0.1", 8092),
    ],
)
def test_addresses(text: str, variable: str, host: str, port: int) -> None:
    assert read_address(text, {"QA_MCP_PORT": variable}) == Address(host, port)


@pytest.mark.parametrize(
    ("text", "variable"),
    [("99999", ""), ("9" * 5000, ""), ("a:b", ""), ("", "http"), ("", "-1"), ("1.2.3.4:-5", ""), ("[::1]:http", "")],
)
def test_what_is_no_port_is_refused(text: str, variable: str) -> None:
    with pytest.raises(UsageError, match="is not a port"):
        read_address(text, {"QA_MCP_PORT": variable})


@pytest.mark.parametrize(
    "text", ["[::1", "::1]", "[::1]9000", "[::1]]:9000", "[]:9000", "[host]:9000", ":::9000", "1:2:3", "a[b"]
)
def test_what_is_no_address_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(UsageError, match="is no address") as caught:
        read_address(text, {})
    assert "[::1]:8090" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("my.host", False),
    ],
)
def test_only_loopback_is_local(host: str, local: bool) -> None:
    assert Address(host, 1).is_local is local
    if local:
        check_safe(Address(host, 1), None)
    else:
        check_safe(Address(host, 1), "0123456789abcdef")
        with pytest.raises(UsageError, match="a token is needed"):
            check_safe(Address(host, 1), None)


def test_a_token_comes_from_the_file_before_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-the-file-0123\n")
    file.chmod(0o600)
    assert read_token(file, {"ANIMA_QA_MCP_TOKEN": "from-the-environment"}) == "from-the-file-0123"
    assert read_token(None, {"ANIMA_QA_MCP_TOKEN": "from-the-environment"}) == "from-the-environment"
    assert read_token(None, {}) is None


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-the-file-0123\n")
    file.chmod(0o640)
    with pytest.raises(UsageError, match="others than you can read"):
        read_token(file, {})


@pytest.mark.parametrize("text", ["", "short", "with a blank in the middle", "with\x00null-0123456789", "ümlaut-0123456789"])
def test_a_token_that_is_no_good_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(UsageError, match="no good"):
        read_token(file, {})


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the token in"):
        read_token(tmp_path / "none", {})
