"""Logins of the console and of its web page: by the admin token, or by a key of scope admin."""

import secrets
import threading
import time
from typing import Final
from weakref import WeakKeyDictionary

from cachetools import TTLCache

from app.access.principal import OPERATOR, Scope
from app.context import Context
from app.server.console.refusals import Refusals

TRIES: Final = 5
TRIES_S: Final = 60.0
SESSION_S: Final = 12 * 3600
SESSIONS_MAX: Final = 1024

wrong_login = Refusals("a login of the console or of its web page was wrong")


class TooManyTries(Exception):
    """Too many logins were wrong, so none is looked at for a while."""


class Logins:
    """Tells who has logged in; by connection of the console, and by session of its web page. For any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._names: WeakKeyDictionary[object, str] = WeakKeyDictionary()
        self._sessions: TTLCache[str, str] = TTLCache(SESSIONS_MAX, SESSION_S)
        self._tries: list[float] = []
        self._lock = threading.Lock()

    def log_in(self, connection: object, secret: str) -> str | None:
        """Let a connection act in the name of a key; return that name, None where it is no operator's.

        Raises TooManyTries.
        """
        name = self._name_of(secret)
        if name is not None:
            self._names[connection] = name
        return name

    def log_out(self, connection: object) -> None:
        """Let a connection do nothing any more."""
        self._names.pop(connection, None)

    def name(self, connection: object) -> str | None:
        """Return in whose name a connection acts."""
        return self._names.get(connection)

    def begin_session(self, secret: str) -> str | None:
        """Return the id of a new session of the web page; None where a secret is no operator's.

        Raises TooManyTries.
        """
        name = self._name_of(secret)
        if name is None:
            return None
        session = secrets.token_urlsafe(24)
        with self._lock:
            self._sessions[session] = name
        return session

    def has_session(self, session: str) -> bool:
        """Say whether a session was begun and lasts."""
        with self._lock:
            return session in self._sessions

    def _name_of(self, secret: str) -> str | None:
        """Return whose secret it is. All connections together have :data:`TRIES` wrong ones a minute."""
        with self._lock:
            now = time.monotonic()
            self._tries = [at for at in self._tries if now - at < TRIES_S]
            if len(self._tries) >= TRIES:
                raise TooManyTries
            name = self._operator(secret)
            if name is None:
                self._tries.append(now)
        if name is None:
            wrong_login.add()
        return name

    def _operator(self, secret: str) -> str | None:
        if self._context.admin.is_token(secret):
            return OPERATOR.name
        keyring = self._context.keyring
        key = keyring.find(secret)
        if key is None or not keyring.in_force(key) or Scope.ADMIN not in key.scopes or key.prefixes:
            return None
        return key.name
