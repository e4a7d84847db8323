"""Requests of the commands to a running service: where it is, the token they send, what they say when it goes wrong.

::

    ClientError
    ├── NoService  none was found, or nobody answers there as the service does
    ├── Refused    an answer that sending again cannot change, about the request as a whole
    └── GaveUp     of app.sending.client: no final answer in time
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final, TypeVar

import aiohttp
import attrs
import msgspec
from aiohttp import hdrs

from app.sending.target import NoTarget, Target

T = TypeVar("T")

_PAUSE_MIN_S: Final = 1.0


class ClientError(Exception):
    """Base of what can go wrong between a command and the service; the message is for the person who runs it."""


class NoService(ClientError):
    """There is nothing to ask, or what answers is not the service."""


class Refused(ClientError):
    """The service refused the request as a whole, and would again."""

    def __init__(self, url: str, *, status: int, reason: str) -> None:
        super().__init__(f"{url} answered {status}: {reason}")
        self.status = status
        self.reason = reason


@attrs.frozen
class Reply:
    """One answer, read whole; ``retry_after_s`` is 0 where it names none."""

    status: int
    content: bytes
    retry_after_s: float

    @cached_property
    def json(self) -> Any:
        """The body, decoded; None where it is not JSON."""
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


def open_session(
    *, timeout_s: float, connections: int = 0, headers: Mapping[str, str] | None = None
) -> aiohttp.ClientSession:
    """Return a session for one service; ``timeout_s`` is for each request, ``connections`` at once (0: no limit)."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        headers=headers,
    )


async def exchange(session: aiohttp.ClientSession, method: str, url: str, **options: Any) -> Reply:
    """Send one request and return its answer; raise what aiohttp raises, or OSError, or TimeoutError."""
    async with session.request(method, url, **options) as reply:
        content = await reply.read()
        after = reply.headers.get(hdrs.RETRY_AFTER, "")
        return Reply(reply.status, content, float(after) if after.isdecimal() else 0.0)


def failure_text(error: Exception) -> str:
    """Say why there is no answer."""
    if isinstance(error, aiohttp.InvalidURL):
        return "not a URL"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        return f"cannot connect ({os.strerror(cause.errno) if cause.errno else cause})"
    return f"{type(error).__name__}: {error}".rstrip(": ")


def detail_of(body: Any, status: int) -> str:
    """Return what a problem says in one line; for any other body, the status."""
    problem = body if isinstance(body, dict) else {}
    return str(problem.get("detail") or problem.get("title") or f"status {status}")


def faults_of(errors: Sequence[Any]) -> tuple[str, ...]:
    """Return a line for each fault of a problem."""
    return tuple(f"{e.get('field', '$')}: {e.get('message', '')}" for e in errors if isinstance(e, dict))


def ask(
    url: str, work: "Callable[[ServiceApi], Awaitable[T]]", *, timeout_s: float, tries: int = 1, otherwise: str = ""
) -> T:
    """Run ``work`` with the service, and return what it returns.

    Args:
        url: root of the service; empty for the one of the data directory.
        work: what to ask. A ValueError, KeyError or DecodeError in it means that the answer is not the service's.
        timeout_s: time for one request.
        tries: most times that a request is sent that finds no room (503).
        otherwise: root of the service where ``url`` is empty and the data directory names none.

    Raises:
        NoService, Refused.
    """
    return asyncio.run(_asked(lambda: Target.find(url, os.environ, otherwise=otherwise), work, timeout_s, tries))


async def _asked(
    find: Callable[[], Target], work: "Callable[[ServiceApi], Awaitable[T]]", timeout_s: float, tries: int
) -> T:
    try:
        target = find()
    except NoTarget as error:
        raise NoService(str(error)) from error
    async with open_session(timeout_s=timeout_s) as session:
        service = ServiceApi(session, find, tries, target)
        try:
            return await work(service)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoService(f"{service.url} does not answer: {failure_text(error)}") from error
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            raise NoService(f"{service.url} does not answer as the service does: {error}") from error


@attrs.define
class ServiceApi:
    """The HTTP interface of one running service. Made by :func:`ask`."""

    _session: aiohttp.ClientSession
    _find: Callable[[], Target]
    _tries: int
    _target: Target

    @property
    def url(self) -> str:
        """Root of the service."""
        return self._target.url

    async def ask(self, method: str, path: str, *, accepting: Collection[int] = (), **options: Any) -> bytes:
        """Return the body of an answer with 2xx, or with a status in ``accepting``.

        A request that finds no room (503) is sent again, a few times, after the time that the service asks for. After a
        401 the service is looked for once more, because a restart makes another token. Raises Refused.
        """
        tries, looked_again = 1, False
        while True:
            reply = await self._once(method, path, options)
            if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES or reply.status in accepting:
                return reply.content
            if reply.status == HTTPStatus.UNAUTHORIZED and not looked_again:
                looked_again = True
                if self._find_again():
                    continue
            if reply.status != HTTPStatus.SERVICE_UNAVAILABLE or tries >= self._tries:
                raise self._refused(path, reply)
            tries += 1
            await asyncio.sleep(max(reply.retry_after_s, _PAUSE_MIN_S))

    async def json(self, path: str, *, holding: Collection[str], accepting: Collection[int] = ()) -> dict[str, Any]:
        """Return the object at a path; raise ValueError where it does not hold these members, else as :meth:`ask`."""
        found = msgspec.json.decode(await self.ask("GET", path, accepting=accepting))
        if not isinstance(found, dict) or not found.keys() >= set(holding):
            raise ValueError("these are not the answers of a Fanfinity service")
        return found

    async def _once(self, method: str, path: str, options: Mapping[str, Any]) -> Reply:
        headers = dict(options.get("headers", {}))
        if self._target.bearer:
            headers[hdrs.AUTHORIZATION] = f"Bearer {self._target.bearer}"
        # The token is for this address, and not for one that its answer redirects to.
        return await exchange(
            self._session,
            method,
            f"{self.url}{path}",
            **{**options, "headers": headers},
            allow_redirects=not self._target.bearer,
        )

    def _find_again(self) -> bool:
        """Look for the service again, and say whether its address or token differs from the one refused."""
        try:
            found = self._find()
        except NoTarget:
            return False
        before, self._target = self._target, found
        return found != before

    def _refused(self, path: str, reply: Reply) -> Refused:
        lines = [detail_of(reply.json, reply.status)]
        if isinstance(reply.json, dict):
            lines += faults_of(reply.json.get("errors") or ())
        if reply.status == HTTPStatus.UNAUTHORIZED and self._target.unproven:
            lines.append(self._target.unproven)
        return Refused(f"{self.url}{path}", status=reply.status, reason="\n  ".join(lines))
