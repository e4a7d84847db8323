"""The environment of the service: which variables are settings, where each value comes from, what is passed over.

A variable that is no setting stops the start, because a name that was misspelt would else have no effect. Passed over
are those that only commands read, and those that Kubernetes makes in every pod of the Services in its namespace
(``enableServiceLinks``), where the name of one is ``fanfinity`` or begins so.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from app.access.keys import KeyLineError
from app.setting_kinds import Explained, Kind
from app.setting_kinds.access import File

PREFIX: Final = "FANFINITY_"
FROM_FILE: Final = "_FILE"
"""End of the name of a variable that names a file with the value, for settings that may hold a secret."""
FILE_BYTES_MAX: Final = 64 << 10

NOT_BUILT: Final = ("CLICKHOUSE_CLUSTER",)
"""Settings to come that are refused, because this version does not act on them and nobody may rely on them."""

API_KEY: Final = f"{PREFIX}API_KEY"
API_KEY_HELP: Final = (
    "Key that commands send to a --url other than that of the service on this data directory."
    " To that service they send the token in its file admin-token. The service does not read this variable."
)
API_KEY_FILE: Final = f"{API_KEY}{FROM_FILE}"
API_KEY_FILE_HELP: Final = f"File with the value of {API_KEY}, in its place; for commands, too."
OF_COMMANDS: Final = (API_KEY, API_KEY_FILE)

BY_DEFAULT: Final = "default"
BY_ENVIRONMENT: Final = "environment"

_SERVICE_LINK = re.compile(
    rf"{PREFIX}(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]{1,5}_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_URL = re.compile(rf"{PREFIX}(?:[A-Z0-9_]+_)?PORT=(?:tcp|udp|sctp)://[\w.:\[\]-]+")


class ConfigError(Exception):
    """The environment cannot be used; the message is one line for the person who starts the service."""


@attrs.frozen
class Setting:
    """One row of the table: how a variable is written, and what it means."""

    field: str
    default: str
    kind: Kind[Any]
    help: str

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return PREFIX + self.field.upper()

    @property
    def file(self) -> "Setting | None":
        """The setting that names a file with the value of this one; None for one that never holds a secret."""
        if not self.kind.may_hold_secret:
            return None
        help_ = f"File with the value of {self.variable}, in its place; read at the start."
        return Setting(field=f"{self.field}{FROM_FILE.lower()}", default="", kind=File(), help=help_)

    def parse(self, text: str) -> object:
        """Return the value of ``text``; raise ConfigError where it is not allowed."""
        try:
            return self.kind.parse(text.strip())
        except (KeyLineError, Explained) as error:
            raise self.refusal(text, allowed=f"{self.kind.allowed}; {error}") from None
        except ValueError:
            raise self.refusal(text) from None

    def refusal(self, text: str, *, allowed: str = "") -> ConfigError:
        """Return the error of a value that is not allowed, which shows it only where it cannot hold a secret."""
        shown = "***" if self.kind.hides(text) else repr(text)
        return ConfigError(f"{self.variable}={shown} is not allowed: it must be {allowed or self.kind.allowed}")


@attrs.frozen
class Given:
    """The value of a setting, and where it comes from, in words."""

    value: Any
    source: str


def read(environ: Mapping[str, str], table: Iterable[Setting]) -> dict[str, Given]:
    """Return what an environment gives, by the field of the setting; raise ConfigError at the first wrong variable."""
    known = {setting.variable: setting for setting in table}
    files = dict(_files(known.values()))
    found: dict[str, Given] = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or is_passed_over(name, text):
            continue
        if name in known:
            found[known[name].field] = Given(known[name].parse(text), BY_ENVIRONMENT)
        elif name in files:
            found |= _from_file(files[name], text, environ)
        elif text or name.removeprefix(PREFIX) not in NOT_BUILT:
            raise ConfigError(_unknown(name, [*known, *files]))
    return found


def is_passed_over(name: str, text: str) -> bool:
    """Say whether a variable is none of ours: one of commands, or one that Kubernetes makes of a Service."""
    made = _SERVICE_LINK.fullmatch(name) or _SERVICE_URL.fullmatch(f"{name}={text}")
    return made is not None or name in OF_COMMANDS


def key_of_commands(environ: Mapping[str, str]) -> str:
    """Return the key that commands send; empty where none is set. Raises ConfigError."""
    key, path = (environ.get(name, "").strip() for name in OF_COMMANDS)
    if key and path:
        raise _both(*OF_COMMANDS)
    return _content(OF_COMMANDS[1], Path(path).expanduser()) if path else key


def _files(table: Iterable[Setting]) -> Iterator[tuple[str, Setting]]:
    """Yield the variables that name a file with a value, each with its setting; but for those that the table has."""
    rows = list(table)
    own = {setting.variable for setting in rows}
    for setting in rows:
        if (file := setting.file) and file.variable not in own:
            yield file.variable, setting


def _from_file(setting: Setting, text: str, environ: Mapping[str, str]) -> dict[str, Given]:
    """Return the value that stands in the file, by its field; nothing where no file is named."""
    file = setting.file
    path = file.parse(text) if file else None
    if file is None or not isinstance(path, Path):
        return {}
    if environ.get(setting.variable):
        raise _both(setting.variable, file.variable)
    try:
        return {setting.field: Given(setting.parse(_content(file.variable, path)), f"file {path}")}
    except ConfigError as error:
        raise ConfigError(f"{error} (read from the file in {file.variable})") from None


def _content(variable: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise ConfigError(f"the file in {variable} is larger than {FILE_BYTES_MAX >> 10} KiB")
        return content.decode().strip()
    except OSError as error:
        raise ConfigError(f"the file in {variable} cannot be read: {error.strerror or 'it is no file'}") from None
    except ValueError:
        raise ConfigError(f"the file in {variable} is not text in UTF-8") from None


def _both(variable: str, file: str) -> ConfigError:
    return ConfigError(f"{variable} and {file} are both set: unset one of them")


def _unknown(name: str, known: Iterable[str]) -> str:
    if name.removeprefix(PREFIX) in NOT_BUILT:
        return f"{name} is set, but this version does not act on it yet: unset it, and do not rely on it"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"{name} is not a setting; the nearest is {near[0]}"
