from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from chat_server.cli import main
from click.testing import CliRunner, Result

Run = Callable[..., Result]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(data: Path) -> Run:
    def run(*words: str, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(main, ["--data", str(data), *words], env=env or {})

    return run


def test_plugins_lists_distributions_ports_and_the_real_pipeline(run: Run) -> None:
    lines = run("plugins").output.splitlines()
    words = [line.split() for line in lines]
    assert ["chat_server.plugin", "interesting-chat-server", "0.1.0"] in words
    assert ["database", "*", "sqlite"] in [line[:3] for line in words]
    assert ["database", "postgresql"] in [line[:2] for line in words]
    pipeline = [line[:3] for line in words if line[:1] == ["command"]]
    assert pipeline == [
        ["command", "0", "authentication"],
        ["command", "100", "validation"],
    ]


def test_config_shows_value_source_and_default(run: Run, data: Path, tmp_path: Path) -> None:
    toml = tmp_path / "chat.toml"
    toml.write_text("[server]\nport = 1234\n")
    output = run("--config", str(toml), "config", env={"CHAT__LIMITS__POINTS": "5"}).output
    assert "port = 1234" in output
    assert f"default 8080, set by {toml}" in output
    assert "points = 5" in output
    assert "set by CHAT__LIMITS__POINTS" in output
    assert f'data = "{data}"' in output


def test_config_hides_secrets(run: Run) -> None:
    output = run("config", env={"CHAT__AUTH__SECRET": "s" * 32 + "ecret"}).output
    assert "secret" in output
    assert "ssss" not in output


def test_config_as_a_page_has_every_setting_and_nothing_of_this_machine(run: Run) -> None:
    page = run("config", "--markdown", env={"CHAT__SERVER__PORT": "1234"}).output
    assert "## `[server]`" in page
    assert "| `port` | `int` | `8080` |" in page
    assert "1234" not in page
    assert "| `url` | `str` | **required** |" in page


@pytest.mark.parametrize(
    ("words", "env", "message"),
    [
        (["config"], {"CHAT__SERVER__PROT": "1"}, "CHAT__SERVER__PROT: unknown setting 'prot': did you mean 'port'?"),
        (["config"], {"CHAT__PORTS__DATABASE": "sqlit"}, None),
        (["check"], {"CHAT__PORTS__DATABASE": "sqlit"}, "no backend 'sqlit' for database: did you mean 'sqlite'?"),
        (["--config", "absent.toml", "config"], {}, "The configuration absent.toml cannot be read"),
        (["--dev", "--host", "0.0.0.0"], {}, "say it twice"),
        (["--host", "192.0.2.1", "--port", "0"], {}, "cannot listen on 192.0.2.1"),
        (["--dev", "plugins"], {}, "belong to running the server"),
        (["--port", "70000"], {}, "70000 is not in the range"),
        (["restore", "absent.db"], {}, "There is no backup at absent.db"),
        (["backup", "copy.db"], {}, "There is no database at"),
        (["epoch", "new"], {}, "There is no database at"),
        (["backup", "x"], {"CHAT__PORTS__DATABASE": "postgresql"}, "This is for the embedded database"),
        (["check"], {"CHAT__PORTS__DATABASE": "postgresql"}, "[database.postgresql] url is required"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(run: Run, words: list[str], env: dict[str, str], message: str | None) -> None:
    result = run(*words, env=env)
    assert "Traceback" not in result.output
    if message is None:
        assert result.exit_code == 0
    else:
        assert result.exit_code in (1, 2)
        assert message in result.output


def test_looking_makes_nothing(run: Run, data: Path) -> None:
    assert run("check").output.endswith("\neverything is in order\n")
    assert "CREATE TABLE chat_message" in run("migrate", "--sql").output
    run("plugins")
    run("config")
    assert not data.exists()


def test_migrate_brings_the_tables_up_once(run: Run, data: Path) -> None:
    first = run("migrate")
    assert first.exit_code == 0
    assert "server: at " in first.output
    assert run("migrate").output == "nothing to do\n"
    assert run("migrate", "--sql").output == "-- nothing to do\n"
    tables = sqlite3.connect(data / "chat.db").execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert ("chat_message",) in tables
    assert run("check").exit_code == 0


def test_options_stand_before_or_after_the_subcommand(data: Path) -> None:
    for words in (["--data", str(data), "config"], ["config", "--data", str(data)]):
        assert f'data = "{data}"' in CliRunner().invoke(main, words).output


def test_without_the_transaction_package_it_refuses_and_names_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    installed = metadata.entry_points(group="chat_common.plugins")
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: [entry for entry in installed if entry.name == "server"]
    )
    result = run("--port", "0")
    assert result.exit_code == 1
    assert "install the package interesting-chat-transaction" in result.output


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"CHAT__OBJECT_STORE__LOCAL__PUBLIC_URL": "chat.example.org"}, "[object_store.local] public_url"),
        (
            {
                "CHAT__PORTS__OBJECT_STORE": "minio",
                "CHAT__OBJECT_STORE__MINIO__ACCESS_KEY": "key",
                "CHAT__OBJECT_STORE__MINIO__SECRET_KEY": "secret",
                "CHAT__OBJECT_STORE__MINIO__PUBLIC_ENDPOINT": "files.example.org",
            },
            "[object_store.minio] public_endpoint",
        ),
    ],
    ids=["local", "minio"],
)
def test_addresses_of_links_that_are_none_are_told(run: Run, env: dict[str, str], named: str) -> None:
    for words in (["check"], []):
        result = run(*words, env={**env, "CHAT__SERVER__PORT": "0"})
        assert result.exit_code == 1
        assert named in result.output
