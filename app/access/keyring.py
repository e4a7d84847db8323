"""The keys in force: those of a setting, or those of a file that is looked at again while the service runs."""

import asyncio
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from app.access.keys import ApiKey, KeyLineError, Keys, parse_keys
from app.access.principal import Principal
from shards import Watch, Watched

LOOK_EVERY_S: Final = 10.0
FILE_MAX_BYTES: Final = 1 << 20

_log = structlog.stdlib.get_logger(__name__)


class KeysFileError(Exception):
    """The file of keys cannot be used; the message is one line that says why."""


class Keyring:
    """Tells whether a key is known.

    With a file, keys are needed even while it holds none, because a file that was emptied must not open the service.

    Attributes:
        required: whether keys are needed, because there are some or there is a file.
        trouble: why the file as it is now could not be read, so that keys of before are in force; else "".
    """

    def __init__(self, keys: Iterable[ApiKey] = (), path: Path | None = None) -> None:
        """Take the keys of a setting, or of a file. Raises KeysFileError."""
        self._path = path
        self._text = b"" if path is None else _read(path)
        self._keys = Keys(keys if path is None else _parsed(self._text))
        self._looking = asyncio.Event()
        self._watched: Watched | None = None
        self.required = path is not None or len(self._keys) > 0
        self.trouble = ""

    def find(self, text: str) -> ApiKey | None:
        """Return the key that a text is, whether or not its time is over."""
        return self._keys.find(text)

    def named(self, name: str) -> ApiKey | None:
        """Return the key of a name."""
        return self._keys.named(name)

    def in_force(self, key: ApiKey) -> bool:
        """Say whether a key may be used now."""
        return key.until is None or not key.has_ended(datetime.now(UTC))

    def holds(self, principal: Principal) -> bool:
        """Say whether a principal that was proved before is still one: its key is the same, and in force."""
        if not principal.is_key:
            return True
        key = self.named(principal.name)
        return key is not None and key.principal == principal and self.in_force(key)

    def look(self) -> bool:
        """Have the file looked at at once; return False where there is none."""
        self._looking.set()
        return self._path is not None

    def start(self, watch: Watch) -> None:
        """Have the file looked at from now on."""
        self._watched = watch.keep_running("keys", self._run)

    async def close(self) -> None:
        """Look at it no more."""
        if self._watched is not None:
            await self._watched.close()

    async def _run(self) -> None:
        """Look at the file every :data:`LOOK_EVERY_S`, and whenever :meth:`look` is called."""
        path = self._path
        while path is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._looking.wait(), LOOK_EVERY_S)
            self._looking.clear()
            try:
                self._take(await asyncio.to_thread(_read, path))
            except KeysFileError as error:
                self._note(str(error))

    def _take(self, text: bytes) -> None:
        if text != self._text:
            keys = _parsed(text)
            self._keys = Keys(keys)
            self._text = text
            if keys:
                _log.info("keys read", keys=len(keys))
            else:
                _log.warning(
                    "keys read", keys=0, effect="no key is known any more, so only what needs none is answered"
                )
        self._note("")

    def _note(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            _log.warning("keys not read", error=trouble, effect="the keys of before stay in force")
        elif self.trouble and not trouble:
            _log.info("keys can be read again")
        self.trouble = trouble


def _read(path: Path) -> bytes:
    """Return what the file holds.

    A pipe of that name is refused, and not waited for: a wait for its other end would be the last look at the file.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise KeysFileError(f"{path}: it is no regular file, which could be read again")
            text = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise KeysFileError(f"{path}: {error.strerror or error}") from None
    if len(text) > FILE_MAX_BYTES:
        raise KeysFileError(f"{path}: it is longer than {FILE_MAX_BYTES} bytes")
    return text


def _parsed(text: bytes) -> tuple[ApiKey, ...]:
    try:
        return parse_keys(text.decode("utf-8-sig").splitlines())
    except KeyLineError as error:
        raise KeysFileError(f"the file of keys cannot be read: {error}") from None
    except UnicodeDecodeError:
        raise KeysFileError("the file of keys is not UTF-8") from None
