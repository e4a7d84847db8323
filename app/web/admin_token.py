"""The proof that a client is an operator: a token in a file that only operators can read.

The file is ``<data dir>/admin-token``, mode 0600, two lines: the token, and the address of the service that takes it.
Each start of the service makes another token. Whoever runs the service, or is root, can read the file; an address, a
``Host`` or a header of a proxy proves nothing, because anybody behind a proxy and any user of the machine has them.
"""

import hashlib
import hmac
import secrets
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Self

import attrs
import structlog

from app.access.private_file import write_private
from app.setting_kinds import Address

FILE_NAME: Final = "admin-token"

_TOKEN_BYTES: Final = 24
_FILE_BYTES_MAX: Final = 4096

_log = structlog.stdlib.get_logger(__name__)


@attrs.frozen
class AdminToken:
    """The content of the file.

    Attributes:
        secret: the token, of 192 random bits.
        url: root of the service that takes it, without a slash at its end; the token is for no other address.
    """

    secret: str = attrs.field(repr=False)
    url: str

    @classmethod
    def made_for(cls, url: str) -> Self:
        """Make a new token."""
        return cls(secrets.token_urlsafe(_TOKEN_BYTES), url)

    @classmethod
    def read(cls, data_dir: Path) -> Self:
        """Return the content of the file in a data directory.

        Raises OSError where it is missing or may not be read, ValueError where it is not what a service wrote.
        """
        with (data_dir / FILE_NAME).open("rb") as file:
            lines = file.read(_FILE_BYTES_MAX).decode("ascii").splitlines()
        if len(lines) != 2 or not lines[0] or not lines[1].startswith("http://"):
            raise ValueError("it does not hold a token and an address")
        return cls(*lines)

    def write(self, data_dir: Path) -> None:
        """Replace the file by one with this token. At no moment can others read it, or anybody half of it.

        Raises OSError, and then leaves nothing of the token behind.
        """
        write_private(data_dir / FILE_NAME, f"{self.secret}\n{self.url}\n".encode())

    def remove(self, data_dir: Path) -> None:
        """Remove the file, unless it holds another token by now. Raises OSError."""
        try:
            found = AdminToken.read(data_dir)
        except (FileNotFoundError, ValueError):
            return
        if found == self:
            (data_dir / FILE_NAME).unlink(missing_ok=True)


@attrs.define
class AdminAccess:
    """Tells operators from others while the service runs: between :meth:`open` and :meth:`close`.

    Only the process that holds the lock of the data directory may open it.
    """

    _data_dir: Path
    _token: AdminToken | None = attrs.field(default=None, init=False)

    def open(self, host: str, port: int) -> None:
        """Make a token for the service at this address, and write its file. Call it before the first request.

        Where the file cannot be written, nobody is let in and the log says so. The service goes on without it.
        """
        token = AdminToken.made_for(f"http://{Address(reachable(host), port)}")
        try:
            token.write(self._data_dir)
        except OSError as error:
            _log.warning(
                "admin token not written",
                path=str((self._data_dir / FILE_NAME).resolve()),
                error=error.strerror or str(error),
                effect="operators need a key of scope admin until a start that can write it",
            )
            return
        self._token = token

    def close(self) -> None:
        """Let nobody in any more, and remove the file. Idempotent."""
        token, self._token = self._token, None
        if token is None:
            return
        try:
            token.remove(self._data_dir)
        except OSError as error:
            _log.warning(
                "admin token not removed",
                path=str((self._data_dir / FILE_NAME).resolve()),
                error=error.strerror or str(error),
                effect="its token opens nothing any more",
            )

    def proof(self) -> str:
        """Return what this token is told from those of other runs by; "" while there is none."""
        return "" if self._token is None else hashlib.sha256(self._token.secret.encode()).hexdigest()[:32]

    def is_token(self, text: str) -> bool:
        """Say whether a text is the token."""
        if self._token is None:
            return False
        # The time this takes tells nothing of the token, because it does not end at the first byte that differs.
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self._token.secret.encode())


def reachable(host: str) -> str:
    """Return the address at which this machine reaches a service that listens at ``host``."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return host
