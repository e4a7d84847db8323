"""Logins of the console and of its web page: by the admin token, or by a key of scope admin."""

import threading
import time
from typing import Final
from weakref import WeakKeyDictionary

from app.access.keys import ApiKey
from app.access.principal import OPERATOR, Principal, is_operator
from app.context import Context
from app.server.console.refusals import Refusals

TRIES: Final = 5
TRIES_S: Final = 60.0
WRONG_LOGIN: Final = "this is neither the admin token nor a key of scope admin for all matches, or its time is over"

wrong_login = Refusals("a login of the console or of its web page was wrong")


class TooManyTries(Exception):
    """Too many logins were wrong, so none is looked at for a while."""


class Logins:
    """Tells who has logged in; by connection of the console, and by session of its web page. For any thread.

    A login ends with its connection or session, and with its key: when that is over, or not configured any more.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._connections: WeakKeyDictionary[object, Principal | ApiKey] = WeakKeyDictionary()
        self._tries: list[float] = []
        self._lock = threading.Lock()

    def log_in(self, connection: object, secret: str) -> str | None:
        """Let a connection act in the name of a key; return that name, None where it is no operator's.

        Raises TooManyTries.
        """
        proof = self._proof_of(secret)
        if proof is None:
            return None
        self._connections[connection] = proof
        return proof.name

    def log_out(self, connection: object) -> None:
        """Let a connection do nothing any more."""
        self._connections.pop(connection, None)

    def name(self, connection: object) -> str | None:
        """Return in whose name a connection acts."""
        proof = self._connections.get(connection)
        return proof.name if proof is not None and self._holds(proof) else None

    def begin_session(self, secret: str) -> str | None:
        """Return the text of a new session of the web page; None where a secret is no operator's.

        Raises TooManyTries.
        """
        proof = self._proof_of(secret)
        if proof is None:
            return None
        principal = proof if isinstance(proof, Principal) else proof.principal
        return self._context.sessions.begin(principal)

    def has_session(self, session: str) -> bool:
        """Say whether a session was begun and lasts."""
        visitor = self._context.sessions.visitor(session)
        return visitor is not None and is_operator(visitor.principal)

    def _proof_of(self, secret: str) -> Principal | ApiKey | None:
        """Return what a secret proves, None for no operator's.

        All connections together have :data:`TRIES` wrong ones a minute.
        """
        with self._lock:
            now = time.monotonic()
            self._tries = [at for at in self._tries if now - at < TRIES_S]
            if len(self._tries) >= TRIES:
                raise TooManyTries
            proof = self._operator(secret)
            if proof is None:
                self._tries.append(now)
        if proof is None:
            wrong_login.add()
        return proof

    def _operator(self, secret: str) -> Principal | ApiKey | None:
        if self._context.admin.is_token(secret):
            return OPERATOR
        key = self._context.keyring.find(secret)
        return key if key is not None and self._holds(key) else None

    def _holds(self, proof: Principal | ApiKey) -> bool:
        """Say whether it is an operator's now. The token is good as long as the process, and so as this."""
        if isinstance(proof, Principal):
            return True
        keyring = self._context.keyring
        return keyring.named(proof.name) == proof and keyring.in_force(proof) and is_operator(proof.principal)
