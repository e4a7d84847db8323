"""Seals: what the service has said and can tell from what others made up, by HMAC-SHA256 with a key of its own.

The key is ``<data dir>/signing-key``, 32 random bytes, so what was sealed holds over a restart.
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

    def made(self, purpose: str, *texts: str) -> bytes:
        """Return the seal of some texts, 32 bytes; one for another purpose differs."""
        message = b"".join(len(data).to_bytes(4) + data for data in (text.encode() for text in (purpose, *texts)))
        return hmac.digest(self._key, message, hashlib.sha256)

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
        # Names have no blank; and no other message begins so, because those begin with a length.
        message = f"receipt {principal.name} {receipt}".encode()
        return hmac.digest(self._key, message, "sha256").hex()[:24]
