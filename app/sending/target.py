"""The service that a command talks to: its address, and the token that proves that the command may ask.

The token of ``<data dir>/admin-token`` goes to the address that stands in that file, and to no other, because whoever
listens elsewhere could use it against the service.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import attrs

from app.config import Config
from app.setting_kinds.environment import API_KEY, PREFIX, ConfigError, key_of_commands
from app.web.admin_token import FILE_NAME, AdminToken

_DATA_DIR: Final = f"{PREFIX}DATA_DIR"
_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class NoTarget(Exception):
    """No service is found; the message says where it was looked for, and what to do."""


@attrs.frozen
class Target:
    """One service.

    Attributes:
        url: its root, without a slash at its end.
        bearer: the bearer token to send; empty: none.
        unproven: why no token is sent; empty where one is.
    """

    url: str
    bearer: str = attrs.field(default="", repr=False)
    unproven: str = ""

    @classmethod
    def find(cls, url: str, environ: Mapping[str, str], *, otherwise: str = "") -> Self:
        """Return the service at ``url``; where that is empty, the one of the data directory, else ``otherwise``.

        Raises NoTarget where there is none of these, or FANFINITY_DATA_DIR cannot be one.
        """
        data_dir = Path(os.path.realpath(_data_dir(environ)))
        try:
            token = AdminToken.read(data_dir)
        except (OSError, ValueError) as error:
            reason = _not_found(data_dir, error)
            if not (url or otherwise):
                raise NoTarget(reason) from error
        else:
            if not url or _is_same(url, token.url):
                return cls(token.url, token.secret)
            reason = f"the service found in {data_dir} is at {token.url}, and its token is for no other address"
        if not url:
            return cls(otherwise, unproven=f"no token was sent: {reason}")
        if key := _own_key(environ):
            return cls(url.rstrip("/"), key)
        return cls(url.rstrip("/"), unproven=f"no token was sent: {API_KEY} is not set, and {reason}")


def bearer_for(url: str, environ: Mapping[str, str]) -> str:
    """Return the key to send to a service; empty where there is none.

    It is the token of this data directory if that is for this address, else the key that the environment names.
    Raises NoTarget where the file of that key cannot be read.
    """
    try:
        return Target.find(url, environ).bearer
    except NoTarget:
        return _own_key(environ)


def _own_key(environ: Mapping[str, str]) -> str:
    try:
        return key_of_commands(environ)
    except ConfigError as error:
        raise NoTarget(str(error)) from error


def _data_dir(environ: Mapping[str, str]) -> Path:
    try:
        return Config.from_env({name: text for name, text in environ.items() if name == _DATA_DIR}).data_dir
    except ConfigError as error:
        raise NoTarget(str(error)) from error


def _not_found(data_dir: Path, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        reason = f"there is no file {FILE_NAME}"
    else:
        reason = f"{FILE_NAME} cannot be read ({getattr(error, 'strerror', None) or error})"
    return (
        f"no running service found in {data_dir}: {reason}; set {_DATA_DIR} to its data directory,"
        " or run this as the user who runs the service"
    )


def _is_same(url: str, address: str) -> bool:
    """Say whether a URL means the address in the file. That one is asked, because a name may lead elsewhere, too."""
    try:
        wanted, known = urlsplit(url), urlsplit(address)
        ports = [part.port or _PORTS.get(part.scheme) for part in (wanted, known)]
    except ValueError:
        return False
    hosts = {wanted.hostname, known.hostname}
    return (
        wanted.scheme == known.scheme
        and ports[0] == ports[1]
        and wanted.path.rstrip("/") == known.path
        and (len(hosts) == 1 or ("localhost" in hosts and hosts <= _LOOPBACK))
    )
