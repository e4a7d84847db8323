import json

import pytest
from click.testing import CliRunner

from app.__main__ import COMMANDS, main
from app.config import settings

KUBERNETES = {"FANFINITY_SERVICE_HOST": "10.96.12.3", "FANFINITY_PORT": "tcp://10.96.12.3:8080"}


def _run(*arguments: str, **environ: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, arguments, env=environ, prog_name="fanfinity")
    return done.exit_code, done.output


def test_it_shows_each_setting_with_its_source_and_no_secret() -> None:
    given = {"FANFINITY_SHARDS": "7", "FANFINITY_CLICKHOUSE_URL": "clickhouse://me:S3cret@db"}
    code, out = _run("config", **given, **KUBERNETES)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert [line[0].partition("=")[0] for line in lines[:-2]] == [setting.variable for setting in settings()]
    assert ["FANFINITY_SHARDS=7", "environment"] in lines
    assert ["FANFINITY_PORT=8080", "default"] in lines
    assert ["FANFINITY_CLICKHOUSE_URL=clickhouse://me:***@db", "environment"] in lines
    assert [line[:3] for line in lines[-2:]] == [[name, "passed", "over:"] for name in sorted(KUBERNETES)]
    assert "S3cret" not in out


def test_programs_get_the_same_as_json() -> None:
    code, out = _run("config", "--json", FANFINITY_SHARDS="7", **KUBERNETES)
    found = json.loads(out)
    rows = {row["variable"]: row for row in found["settings"]}
    assert code == 0
    assert rows["FANFINITY_SHARDS"] | {"help": ""} == {
        "variable": "FANFINITY_SHARDS",
        "value": "7",
        "unit": "",
        "source": "environment",
        "default": "4",
        "help": "",
    }
    assert rows["FANFINITY_SHUTDOWN_DELAY_S"]["unit"] == "s"
    assert found["passedOver"] == sorted(KUBERNETES)


def test_a_wrong_setting_is_named_and_exits_with_2() -> None:
    code, out = _run("config", FANFINITY_SHARDS="none")
    assert (code, out) == (
        2,
        "Error: FANFINITY_SHARDS='none' is not allowed: it must be a whole number from 1 to 256\n",
    )


@pytest.mark.parametrize(
    ("option", "text", "allowed"),
    [("--port", "http", "a whole number from 0 to 65535"), ("--host", "two words", "a host name or an address")],
)
def test_options_of_serve_are_held_to_what_their_settings_allow(option: str, text: str, allowed: str) -> None:
    code, out = _run("serve", option, text)
    assert code == 2
    assert f"Invalid value for '{option}': it must be {allowed}" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_what_it_does_in_its_help(command: str) -> None:
    code, out = _run(command, "--help")
    assert code == 0
    assert out.startswith(f"Usage: fanfinity {command}")
    assert len(out) > 150
