from __future__ import annotations

import json
import socket
import tomllib

import pytest

from qa.errors import UsageError
from qa.mcp.address import Address
from qa.mcp.clients import CLIENTS, Start, lasting_environment, setting_for, this_program

STDIO = Start("/opt/a b/anima-qa", ("mcp", "--read-only"), {"ANIMA_QA_HOME": '/tmp/q"a\\'})
HTTP = Start("/opt/anima-qa", (), {}, Address("10.0.0.5", 8090), has_token=True)


@pytest.mark.parametrize(
    ("client", "key"),
    [("claude-code", "mcpServers"), ("claude-desktop", "mcpServers"), ("cursor", "mcpServers"), ("vscode", "servers")],
)
def test_clients_that_read_json_get_json(client: str, key: str) -> None:
    entry = json.loads(setting_for(client, STDIO).text)[key]["anima-qa"]
    assert (entry["command"], entry["args"], entry["env"]) == (STDIO.command, ["mcp", "--read-only"], dict(STDIO.environment))


def test_codex_gets_toml() -> None:
    setting = setting_for("codex", STDIO)
    entry = tomllib.loads(setting.text)["mcp_servers"]["anima-qa"]
    assert (entry["command"], entry["args"], entry["env"]) == (STDIO.command, ["mcp", "--read-only"], dict(STDIO.environment))
    assert setting.command.endswith("-- '/opt/a b/anima-qa' mcp --read-only")


def test_without_settings_there_is_no_environment() -> None:
    for client in CLIENTS:
        assert "env" not in setting_for(client, Start("anima-qa", ("mcp",), {})).text


@pytest.mark.parametrize("client", [client for client in CLIENTS if client != "claude-desktop"])
def test_a_server_over_http_is_named_by_its_address_and_its_token_never(client: str) -> None:
    text = setting_for(client, HTTP).text
    assert "http://10.0.0.5:8090/mcp" in text
    assert "ANIMA_QA_MCP_TOKEN" in text or "${input:token}" in text
    assert "Authorization" not in setting_for(client, Start("", (), {}, Address("127.0.0.1", 8090))).text


def test_all_addresses_of_this_host_are_its_name_for_clients() -> None:
    text = setting_for("cursor", Start("", (), {}, Address("0.0.0.0", 8090), has_token=True)).text
    assert f"http://{socket.gethostname()}:8090/mcp" in text


def test_a_client_without_http_says_so() -> None:
    with pytest.raises(UsageError, match="no servers over HTTP"):
        setting_for("claude-desktop", HTTP)


def test_secrets_are_not_handed_on() -> None:
    environment = {
        "ANIMA_QA_MCP_TOKEN": "secret",
        "ANIMA_QA_ACCEL": "tcg",
        "XDG_CACHE_HOME": "/c",
        "PATH": "/bin",
        "ANIMA_QA_OUT": "",
        "HTTP_PROXY": "http://user:secret@proxy:3128",
    }
    assert lasting_environment(environment) == {"ANIMA_QA_ACCEL": "tcg", "XDG_CACHE_HOME": "/c"}


def test_what_downloads_need_is_handed_on() -> None:
    needed = {"https_proxy": "http://proxy:3128", "NO_PROXY": "localhost", "SSL_CERT_FILE": "/etc/ours.pem"}
    assert lasting_environment({**needed, "HOME": "/root"}) == needed


def test_this_program_is_named_so_that_it_starts_from_anywhere() -> None:
    assert this_program("/opt/bin/anima-qa") == ["/opt/bin/anima-qa"]
    assert this_program("/opt/anima-qa.pyz")[1:] == ["-IS", "/opt/anima-qa.pyz"]
    assert this_program("/x/qa/__main__.py")[1:] == ["-m", "qa"]
