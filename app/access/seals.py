"""Seals: what the service has said and can tell from what others made up, by keyed BLAKE2b (RFC 7693).

The key is ``<data dir>/signing-key``, 32 random bytes, so what was sealed holds over a restart.

It is not HMAC, because CPython lets go of the interpreter for that, however short the text is. The event loop would
then wait behind the thread that writes the log, with each request of a key.
"""

import hashlib
import hmac
import re
import secrets
from pathlib import Path
from typing import Final

import structlog

from app.access.principal import Principal
from app.access.private_file import write_private

FILE_NAME: Final = "signing-key"
KEY_BYTES: Final = 32

_SEALED = re.compile(r"(?P<receipt>.*)\.k(?P<seal>[0-9a-f]{24})", re.ASCII)

_log = structlog.stdlib.get_logger(__name__)


class Seals:
    """Seals and checks. Until :meth:`open` its key is one that nobody else has seen."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)

    def open(self, data_dir: Path) -> None:
        """Use the key of a data directory, which is made where there is none; it must be locked.

        Where that fails, the log says so, and what is sealed holds until the next start.
        """
        path = data_dir / FILE_NAME
        try:
            found = path.read_bytes() if path.exists() else b""
            if len(found) != KEY_BYTES:
                found = secrets.token_bytes(KEY_BYTES)
                write_private(path, found)
        except OSError as error:
            effect = "logins and receipts of keys end with the next start"
            _log.warning("signing key not kept", path=str(path), error=error.strerror or str(error), effect=effect)
            return
        self._key = found

    def made(self, purpose: str, text: str) -> bytes:
        """Return the seal of a text, 32 bytes; one for another purpose, of at most 16 characters, differs."""
        return hashlib.blake2b(text.encode(), digest_size=32, key=self._key, person=purpose.encode()).digest()

    def sealed(self, receipt: str, principal: Principal) -> str:
        """Return a receipt that tells that a key has sent what it is for; of anybody else as it is."""
        return f"{receipt}.k{self._seal(receipt, principal)}" if principal.is_key else receipt

    def opened(self, text: str, principal: Principal) -> tuple[str, bool]:
        """Return the receipt in a text, and whether it is of what this key sent."""
        found = _SEALED.fullmatch(text)
        if found is None:
            return text, False
        return found["receipt"], hmac.compare_digest(self._seal(found["receipt"], principal), found["seal"])

    def _seal(self, receipt: str, principal: Principal) -> str:
        return self.made("receipt", f"{principal.name} {receipt}").hex()[:24]
