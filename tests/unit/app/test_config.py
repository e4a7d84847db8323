import logging
import textwrap
import traceback
from ipaddress import ip_network
from pathlib import Path

import attrs
import pytest

from app.config import Config, settings
from app.setting_kinds import Address
from app.setting_kinds.environment import (
    API_KEY,
    API_KEY_FILE,
    API_KEY_FILE_HELP,
    API_KEY_HELP,
    NOT_BUILT,
    PREFIX,
    ConfigError,
    Setting,
)
from shards.settings import ShardSettings
from tests.paths import ROOT

SETTINGS = list(settings())
HEADER = """\
# Every setting with its default. Copy this file to .env and change what you need:
# `make run` reads .env. Sizes are bytes, or KiB, MiB, GiB.
"""


OWN_VARIABLES = {setting.variable for setting in SETTINGS}


def _documented(setting: Setting) -> str:
    unit = f" [{setting.kind.unit}]" if setting.kind.unit else ""
    own = _commented(setting.help + unit, f"{setting.variable}={setting.default}")
    file = setting.file
    return own if file is None or file.variable in OWN_VARIABLES else f"{own}\n{_documented(file)}"


def _commented(text: str, line: str) -> str:
    return f"{textwrap.fill(text, 100, initial_indent='# ', subsequent_indent='# ')}\n{line}\n"


def test_the_example_lists_each_setting_with_default_unit_and_meaning_and_nothing_else() -> None:
    for_commands = _commented(API_KEY_HELP, f"{API_KEY}="), _commented(API_KEY_FILE_HELP, f"{API_KEY_FILE}=")
    expected = "\n".join([HEADER, *(_documented(setting) for setting in SETTINGS), *for_commands])
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == expected


def test_the_example_as_an_environment_is_the_default() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    environ = dict(line.split("=", 1) for line in lines if line.startswith(PREFIX))
    assert Config.from_env(environ) == Config.from_env({}) == Config()


def test_defaults_are_those_of_the_contract() -> None:
    assert {setting.variable.removeprefix(PREFIX): setting.default for setting in SETTINGS} == {
        "HOST": "127.0.0.1",
        "PORT": "8080",
        "DATA_DIR": "./data",
        "SHARDS": "4",
        "CLICKHOUSE_URL": "",
        "FLUSH_INTERVAL_MS": "200",
        "FLUSH_MAX_ROWS": "10000",
        "CHECKPOINT_INTERVAL_MS": "5000",
        "WAL_SYNC": "always",
        "WAL_MAX_BYTES": "8GiB",
        "WAL_MIN_FREE_BYTES": "512MiB",
        "MAX_BODY_BYTES": "10MiB",
        "BODIES_MAX_BYTES": "256MiB",
        "RETENTION_DAYS": "0",
        "EVENT_TYPES": "",
        "API_KEYS": "",
        "API_KEYS_FILE": "",
        "PUBLIC_READ": "true",
        "RATE_LIMIT": "0",
        "ADDRESS_RATE_LIMIT": "0",
        "CORS_ORIGINS": "",
        "FRAME_ORIGINS": "",
        "ROOT_PATH": "",
        "TRUSTED_PROXIES": "",
        "MONITOR": "127.0.0.1:20101",
        "LOG_FORMAT": "",
        "LOG_LEVEL": "INFO",
        "SHUTDOWN_TIMEOUT_S": "8",
        "SHUTDOWN_DELAY_S": "0",
    }


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("PORT", "0", "port", 0),
        ("PORT", " 9000 ", "port", 9000),
        ("HOST", "::1", "host", "::1"),
        ("DATA_DIR", "/var/lib/fanfinity", "data_dir", Path("/var/lib/fanfinity")),
        ("WAL_MAX_BYTES", "1048576", "wal_max_bytes", 1 << 20),
        ("WAL_MAX_BYTES", "3 GiB", "wal_max_bytes", 3 << 30),
        ("MAX_BODY_BYTES", "64KiB", "max_body_bytes", 64 << 10),
        ("WAL_SYNC", "OFF", "wal_sync", "off"),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("EVENT_TYPES", "wave, chant", "event_types", frozenset({"wave", "chant"})),
        ("RATE_LIMIT", "500", "rate_limit", 500),
        ("CORS_ORIGINS", "", "cors_origins", frozenset()),
        (
            *("CORS_ORIGINS", "https://Fans.example, http://localhost:8000,https://[::1]:8443"),
            *("cors_origins", {"https://fans.example", "http://localhost:8000", "https://[::1]:8443"}),
        ),
        (
            *("CORS_ORIGINS", "https://a.example:443,http://b.example:80,http://c.example:443"),
            *("cors_origins", {"https://a.example", "http://b.example", "http://c.example:443"}),
        ),
        (
            *("TRUSTED_PROXIES", "127.0.0.1, 10.1.0.0/16,fd00::/8"),
            *("trusted_proxies", (ip_network("127.0.0.1"), ip_network("10.1.0.0/16"), ip_network("fd00::/8"))),
        ),
        ("MONITOR", "", "monitor", None),
        ("MONITOR", "127.0.0.2:4000", "monitor", Address("127.0.0.2", 4000)),
        ("MONITOR", "localhost:4000", "monitor", Address("127.0.0.1", 4000)),
        ("ROOT_PATH", "/", "root_path", ""),
        ("ROOT_PATH", "/apps/fans", "root_path", "/apps/fans"),
        ("FRAME_ORIGINS", "*", "frame_origins", {"*"}),
        ("FRAME_ORIGINS", "https://Club.example", "frame_origins", {"https://club.example"}),
        ("SHUTDOWN_DELAY_S", "4.5", "shutdown_delay_s", 4.5),
        ("SHUTDOWN_TIMEOUT_S", "0.5", "shutdown_timeout_s", 0.5),
        ("CLICKHOUSE_URL", "clickhouses://u:p%40ss@db.example:9440/fans", "clickhouse_url", None),
        ("CLICKHOUSE_URL", "clickhouse://[::1]:9000", "clickhouse_url", None),
        ("CLICKHOUSE_URL", "clickhouses://host/fans?verify=false", "clickhouse_url", None),
        ("CLICKHOUSE_URL", f"clickhouses://host?ca_certs={__file__}", "clickhouse_url", None),
    ],
)
def test_values_are_read(variable: str, text: str, field: str, value: object) -> None:
    config = Config.from_env({PREFIX + variable: text, "PATH": "/bin"})
    assert getattr(config, field) == (text if field == "clickhouse_url" else value)


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        ("PORT", "http", "a whole number from 0 to 65535"),
        ("PORT", "65536", "a whole number from 0 to 65535"),
        ("PORT", "", "a whole number from 0 to 65535"),
        ("PORT", "٣", "a whole number from 0 to 65535"),
        ("HOST", "two words", "a host name or an address"),
        ("SHARDS", "0", "a whole number from 1 to 256"),
        ("SHARDS", "-1", "a whole number from 1 to 256"),
        ("RETENTION_DAYS", "for ever", "a whole number from 0 to 3650"),
        ("RETENTION_DAYS", "3651", "a whole number from 0 to 3650"),
        ("DATA_DIR", "", "a path"),
        ("DATA_DIR", "~nobody-of-this-name/data", "a path"),
        ("FLUSH_INTERVAL_MS", "1.5", "a whole number from 1 to 60000"),
        ("WAL_SYNC", "sometimes", "one of always, interval, off"),
        ("WAL_MAX_BYTES", "8GB", "a size of at least 1MiB, in bytes or as 512KiB, 64MiB, 8GiB"),
        ("WAL_MAX_BYTES", "10", "a size of at least 1MiB, in bytes or as 512KiB, 64MiB, 8GiB"),
        ("WAL_MAX_BYTES", "9" * 15 + "TiB", "a size of at least 1MiB, in bytes or as 512KiB, 64MiB, 8GiB"),
        ("LOG_FORMAT", "xml", "one of text, json, (empty)"),
        ("EVENT_TYPES", "goal,Bad Name", "names of event types, comma separated"),
        ("EVENT_TYPES", "goal,,save", "names of event types, comma separated"),
        ("RATE_LIMIT", "-1", "a whole number from 0 to 10000000"),
        ("ADDRESS_RATE_LIMIT", "10/s", "a whole number from 0 to 10000000"),
        *(
            ("CORS_ORIGINS", text, "empty, or origins, comma separated, each as https://host")
            for text in (
                *("*", "null", "https://a.example,null", "https://*.example", "a.example", "//a.example"),
                *("https://a.example/", "https://a.example/path", "https://a.example,"),
                *("https://a.example:0", "https://a.example:65536", "https://a.example:", "https:/a.example"),
                *(
                    "https://[::1",
                    "https://[1:2]",
                    "https://b\u00fccher.example",
                    "https://a.example b.example",
                    "https://",
                ),
            )
        ),
        *(
            ("TRUSTED_PROXIES", text, "empty, or addresses and networks, comma separated, as 127.0.0.1")
            for text in (
                "unix",
                "*",
                "proxy.example",
                "10.0.0.1/8",
                "0.0.0.0/0",
                "::/0",
                "10.0.0.1,,::1",
                "10.0.0.1:80",
            )
        ),
        *(
            ("ROOT_PATH", text, "empty, or a path as /fans")
            for text in ("fans", "/fans/", "//fans", "/a/../b", "/a b", "/a?b", "a.example/fans")
        ),
        *(("FRAME_ORIGINS", text, "*, empty, or origins") for text in ("null", "*,https://a.example", "'self'", "a;b")),
        ("SHUTDOWN_DELAY_S", "-1", "a number of seconds from 0 to 600"),
        ("SHUTDOWN_TIMEOUT_S", "nan", "a number of seconds from 0 to 3600"),
        ("SHUTDOWN_TIMEOUT_S", "soon", "a number of seconds from 0 to 3600"),
        ("MONITOR", "0.0.0.0:20101", "empty (off), or a loopback address"),
        ("MONITOR", "[::1]:20101", "empty (off), or a loopback address"),
        ("MONITOR", "20101", "empty (off), or a loopback address"),
        ("MONITOR", "127.0.0.1:65535", "empty (off), or a loopback address"),
        ("CLICKHOUSE_URL", "http://host:8123", "empty, or clickhouse://"),
        ("CLICKHOUSE_URL", "clickhouse://", "empty, or clickhouse://"),
        ("CLICKHOUSE_URL", "clickhouse://host:port/x", "empty, or clickhouse://"),
        ("CLICKHOUSE_URL", "clickhouse://host/a;b", "empty, or clickhouse://"),
        ("CLICKHOUSE_URL", "clickhouse://host/a?verify=false", "empty, or clickhouse://"),
        ("CLICKHOUSE_URL", "clickhouses://host/a?compress=1", "empty, or clickhouse://"),
        ("CLICKHOUSE_URL", "clickhouses://host/a?ca_certs=/not/there.pem", "empty, or clickhouse://"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(variable: str, text: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config.from_env({PREFIX + variable: text})
    message = str(error.value)
    shown = "***" if variable == "CLICKHOUSE_URL" else repr(text)
    assert message.startswith(f"{PREFIX}{variable}={shown} is not allowed: it must be {allowed}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [("SHARD", "SHARDS"), ("CLICKHOUSE", "CLICKHOUSE_URL"), ("PRT", "PORT"), ("WAL_MAX_BYTE", "WAL_MAX_BYTES")],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_one(variable: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=rf"^FANFINITY_{variable} is not a setting; .* FANFINITY_{nearest}$"):
        Config.from_env({PREFIX + variable: "1"})


@pytest.mark.parametrize("text", ["", "ff_me_secret"])
def test_the_key_of_the_commands_is_passed_over_and_kept_nowhere(text: str) -> None:
    config = Config.from_env({API_KEY: text})
    assert config == Config()
    assert "secret" not in f"{config} {config.shown()}"


@pytest.mark.parametrize("name", NOT_BUILT)
def test_a_setting_that_is_not_built_yet_is_refused_unless_empty(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^FANFINITY_{name} is set, but this version does not act on it"):
        Config.from_env({PREFIX + name: "something"})
    assert Config.from_env({PREFIX + name: ""}) == Config()


@pytest.mark.parametrize("url", ["clickhouse://me:S3cret@host/x", "clickhouse://me:S3:c@ret/#@host/x"])
def test_a_password_is_never_shown(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    config = Config(clickhouse_url=url)
    logging.getLogger(__name__).info("%s", config)
    shown = config.shown()[PREFIX + "CLICKHOUSE_URL"]
    assert shown == "clickhouse://me:***@host/x"
    assert "***" in caplog.text
    assert all(part not in text for part in ("S3", "ret/") for text in (shown, repr(config), caplog.text))


@pytest.mark.parametrize(
    "url",
    [
        *(
            "default:S3cret@db:9000/x",
            "mysql://me:S3cret@host/x",
            "clickhouse:me:S3cret@db",
            "clickhouse:/me:S3cret@db/x",
        ),
        *("clickhouse://me:S3cret@db:port/x", "clickhouse://me:S3cret/@db", "clickhouse://me:S3cret?@db", "S3cret"),
        *("clickhouse://me:S3cret#@db", "clickhouse://[me:S3cret@db", "clickhouse://db/x?password=S3cret"),
        *("clickhouse://me:9000/S3cret@db", "clickhouse://me:S3cret\u2100@db", "clickhouses://db?ca_certs=/S3cret"),
    ],
)
def test_nothing_of_a_url_is_shown_in_the_error_about_it(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config.from_env({PREFIX + "CLICKHOUSE_URL": url})
    assert "S3cret" not in "".join(traceback.format_exception(error.value))
    assert str(error.value).startswith(
        "FANFINITY_CLICKHOUSE_URL=*** is not allowed: it must be empty, or clickhouse://"
    )


@pytest.mark.parametrize("variable", [s.variable for s in SETTINGS if s.field not in ("data_dir", "clickhouse_url")])
@pytest.mark.parametrize(
    "text",
    [
        *("default:S3cret@db:9000/x", "clickhouse://me:S3cret@db", "ff_ops_S3cret,", "clickhouse://db/S3cret"),
        *("https://me:S3cret@db", "https://db?password=S3cret"),
    ],
)
def test_a_secret_that_was_given_to_another_setting_is_not_shown(variable: str, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config.from_env({variable: text})
    assert "S3cret" not in "".join(traceback.format_exception(error.value))


def test_a_url_that_is_none_is_not_shown_at_all() -> None:
    config = Config(clickhouse_url="default:S3cret@db:9000/x")
    assert "S3cret" not in f"{config} {config.shown()}"


@pytest.mark.parametrize("path", ["./a?b", "/srv/a?b/data", "/srv/\udcff"])
def test_a_directory_that_the_embedded_engine_cannot_take_is_refused_unless_a_server_stores(path: str) -> None:
    with pytest.raises(ConfigError, match=r"^FANFINITY_DATA_DIR='.*' is not allowed: it must be .* question mark"):
        Config.from_env({f"{PREFIX}DATA_DIR": path})
    config = Config.from_env({f"{PREFIX}DATA_DIR": path, f"{PREFIX}CLICKHOUSE_URL": "clickhouse://db"})
    assert config.data_dir == Path(path)


def test_the_shard_set_gets_every_setting_it_shares() -> None:
    config = Config(data_dir=Path("here"), shards=7, wal_sync="off", flush_max_rows=3, wal_max_bytes=1 << 21)
    given = config.shard_settings()
    shared = {field.name for field in attrs.fields(ShardSettings)} & {field.name for field in attrs.fields(Config)}
    assert given.shard_count == 7
    assert {"data_dir", "wal_sync", "flush_max_rows", "wal_max_bytes", "wal_min_free_bytes"} <= shared
    assert all(getattr(given, name) == getattr(config, name) for name in shared)


def _service_links(name: str) -> dict[str, str]:
    """The variables that Kubernetes makes of a Service of this name with the ports 8080 and, named, 9100."""
    address = "10.96.12.3"
    links = {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": "8080", f"{name}_SERVICE_PORT_HTTP": "8080"}
    links |= {f"{name}_SERVICE_PORT_METRICS": "9100", f"{name}_PORT": f"tcp://{address}:8080"}
    for port in ("8080", "9100"):
        link = f"{name}_PORT_{port}_TCP"
        links |= {
            link: f"tcp://{address}:{port}",
            f"{link}_PROTO": "tcp",
            f"{link}_PORT": port,
            f"{link}_ADDR": address,
        }
    return links


@pytest.mark.parametrize("name", ["FANFINITY", "FANFINITY_HEADLESS", "FANFINITY_EDGE"])
def test_what_kubernetes_makes_of_a_service_is_passed_over(name: str) -> None:
    links = _service_links(name)
    assert Config.from_env(links) == Config()
    given = {"FANFINITY_SHARDS": "7"} | ({} if name == "FANFINITY" else {"FANFINITY_PORT": "9000"})
    config = Config.from_env(links | given)
    assert (config.shards, config.port) == (7, 8080 if name == "FANFINITY" else 9000)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PORT", "http://10.0.0.1:80"),
        ("PORT", "tcp://"),
        ("PORT_HTTP_TCP", "x"),
        ("SERVICE", "x"),
        ("SHARDS", "tcp://a:1"),
    ],
)
def test_what_only_looks_like_a_variable_of_kubernetes_is_refused(variable: str, text: str) -> None:
    with pytest.raises(ConfigError):
        Config.from_env({PREFIX + variable: text})


def test_a_value_that_may_hold_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("clickhouse://me:S3cret@db/fans\n", encoding="utf-8")
    given = {f"{PREFIX}CLICKHOUSE_URL_FILE": str(file), f"{PREFIX}CLICKHOUSE_URL": ""}
    config, sources = Config.with_sources(given | {f"{PREFIX}SHARDS": "3"})
    assert config.clickhouse_url == "clickhouse://me:S3cret@db/fans"
    assert sources[f"{PREFIX}CLICKHOUSE_URL"] == f"file {file}"
    assert (sources[f"{PREFIX}SHARDS"], sources[f"{PREFIX}PORT"]) == ("environment", "default")
    assert sources.keys() == config.shown().keys() == OWN_VARIABLES
    with pytest.raises(ConfigError, match=r"^FANFINITY_CLICKHOUSE_URL and FANFINITY_CLICKHOUSE_URL_FILE are both set"):
        Config.from_env(given | {f"{PREFIX}CLICKHOUSE_URL": "clickhouse://db"})
    assert Config.from_env({f"{PREFIX}CLICKHOUSE_URL_FILE": ""}) == Config()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"clickhouse://me:S3cret/@db", "FANFINITY_CLICKHOUSE_URL=*** is not allowed: "),
        (b"S3cret\xff", "the file in FANFINITY_CLICKHOUSE_URL_FILE is not text in UTF-8"),
        (b"S3cret" * 20_000, "the file in FANFINITY_CLICKHOUSE_URL_FILE is larger than 64 KiB"),
    ],
)
def test_a_file_that_holds_no_value_is_named_and_nothing_of_it_shown(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "url").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        Config.from_env({f"{PREFIX}CLICKHOUSE_URL_FILE": str(tmp_path / "url")})
    assert str(error.value).startswith(told)
    assert "FANFINITY_CLICKHOUSE_URL_FILE" in str(error.value)
    assert "S3cret" not in "".join(traceback.format_exception(error.value))


def test_a_file_that_is_not_there_is_named_and_a_url_in_its_place_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^FANFINITY_CLICKHOUSE_URL_FILE='/not/there' is not allowed: it must be"):
        Config.from_env({f"{PREFIX}CLICKHOUSE_URL_FILE": "/not/there"})
    with pytest.raises(ConfigError, match=r"^FANFINITY_CLICKHOUSE_URL_FILE=\*\*\* is not allowed"):
        Config.from_env({f"{PREFIX}CLICKHOUSE_URL_FILE": "clickhouse://me:S3cret@db"})


@pytest.mark.parametrize(
    ("url", "told"),
    [
        *(
            (f"clickhouse://me:{password}@db:9000/fans", "percent-encode what is special in the user and the password")
            for password in ("p@ss:w/o#r", "S3#cret", "S3/cret", "S3?cret", "12/S3cret")
        ),
        ("clickhouse://db:9000/my-db", "the database needs a name of letters, digits and _"),
        ("clickhouse://me:S3cret@db:9000/1st", "the database needs a name of letters, digits and _"),
    ],
)
def test_a_url_that_is_wrong_is_told_what_to_mend(url: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config.from_env({f"{PREFIX}CLICKHOUSE_URL": url})
    assert f"; {told}" in str(error.value)
    assert all(part not in str(error.value) for part in ("S3", "p@ss"))
