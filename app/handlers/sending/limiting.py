"""What a request may send by the rate limit of its key or address, and what is said where that is too much.

A request to `/api/events` is refused with 429 before anything of it is appended, because its client can send it again.
One to `/bulk` waits instead, because a stream has no pace, and its client is held back by its connection. Lines that
wait are not durable within a second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import wraps
from typing import TypeVar

import attrs
import structlog
from aiohttp import hdrs, web

from app.access.addresses import limited_as
from app.access.limits import RateLimit
from app.access.principal import PRINCIPAL
from app.context import CONTEXT
from app.web.problems import Problem
from shards import NotAccepting

POLICY_HEADER = "RateLimit-Policy"
STANDING_HEADER = "RateLimit"
"""Headers of draft-ietf-httpapi-ratelimit-headers-11, in structured fields (RFC 9651)."""

STOPPING_CHECK_S = 0.25

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.Response]]

_log = structlog.stdlib.get_logger(__name__)


@attrs.define
class Allowance:
    """The bucket of whoever sends a request, and what the request has cost so far.

    Attributes:
        limit: the limit that applies.
        name: the key, or the address, in it.
        is_settled: whether the request has paid, or was refused by the limit.
        retry_after_s: seconds after which it may be sent again, where it was refused.
    """

    limit: RateLimit
    name: str
    is_settled: bool = False
    retry_after_s: int = 0


ALLOWANCE: web.RequestKey[Allowance] = web.RequestKey("allowance", Allowance)
"""Set while a handler of a sending route runs, and afterwards, where a limit applies to the request."""


def limited(handler: Handler) -> Handler:
    """Have a handler's requests cost at least one event, those too that it refuses for a fault of theirs.

    A request that the service cannot take now (503), and one that is beyond the limit, costs nothing more.
    """

    @wraps(handler)
    async def measured(request: web.Request) -> web.Response:
        allowance = _allowance(request)
        if allowance is None:
            return await handler(request)
        request[ALLOWANCE] = allowance
        try:
            return await handler(request)
        except Problem as problem:
            if not allowance.is_settled and problem.status < 500:
                allowance.limit.charge(allowance.name)
            raise

    return measured


def check_rate(request: web.Request) -> None:
    """Raise Problem 429 where not even one event may be sent, before the body is read."""
    if (allowance := request.get(ALLOWANCE)) and (wait_s := allowance.limit.wait_s(allowance.name)):
        raise _beyond(request, allowance, wait_s, 1)


def spend(request: web.Request, events: int) -> None:
    """Take the tokens for all events of a request, valid or not; raise Problem 429 where they are not there.

    Call it once, before anything is appended.
    """
    if (allowance := request.get(ALLOWANCE)) is None:
        return
    if wait_s := allowance.limit.take(allowance.name, max(1, events)):
        raise _beyond(request, allowance, wait_s, events)
    allowance.is_settled = True


def portions(request: web.Request, some: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield what comes in a stream in portions of at most a second's rate; all at once where there is no limit."""
    allowance = request.get(ALLOWANCE)
    size = len(some) if allowance is None else allowance.limit.rate
    for start in range(0, len(some), size or 1):
        yield some[start : start + size]


async def turn(request: web.Request, events: int) -> None:
    """Take the tokens for a portion of a stream, and wait until they are there, behind those who came before.

    Raises NotAccepting when the service shuts down meanwhile.
    """
    if (allowance := request.get(ALLOWANCE)) is None:
        return
    allowance.is_settled = True
    left_s = allowance.limit.reserve(allowance.name, events)
    while left_s > 0:
        if request.app[CONTEXT].shutdown.begun:
            raise NotAccepting("the service is shutting down")
        await asyncio.sleep(min(left_s, STOPPING_CHECK_S))
        left_s -= STOPPING_CHECK_S


def send_standing(request: web.Request, response: web.StreamResponse) -> None:
    """Put the state of the limit that applies to a request on its reply."""
    if (allowance := request.get(ALLOWANCE)) is None:
        return
    limit, standing = allowance.limit, allowance.limit.standing(allowance.name)
    response.headers[POLICY_HEADER] = f'"{limit.policy}";q={limit.burst};qu="events";w={limit.burst // limit.rate}'
    reset_s = allowance.retry_after_s or standing.full_in_s  # the draft has it say the same as Retry-After
    response.headers[STANDING_HEADER] = f'"{limit.policy}";r={standing.left};t={reset_s}'


def _allowance(request: web.Request) -> Allowance | None:
    """Return what applies to a request, None where nothing does; raise Problem 403 where its address is not known."""
    context = request.app[CONTEXT]
    limits = context.limits
    if limits.keys is None and limits.addresses is None:
        return None
    principal = request[PRINCIPAL]
    if principal.is_key:
        return None if limits.keys is None else Allowance(limits.keys, principal.name)
    if limits.addresses is None:
        return None
    if context.proxies.is_passed_on_by_stranger(request):
        raise _unknown_proxy(request)
    return Allowance(limits.addresses, limited_as(context.proxies.client_of(request)))


def _beyond(request: web.Request, allowance: Allowance, wait_s: int, events: int) -> Problem:
    allowance.is_settled = True
    allowance.retry_after_s = wait_s
    request.app[CONTEXT].telemetry.events.rejected("rate_limited", max(1, events))
    limit = allowance.limit
    return Problem(
        429,
        "Rate limit reached",
        f"Each {limit.policy} may send {limit.rate} events a second here, at most {limit.burst} at once, and this one"
        " is at its limit. Nothing of this request was taken: send it again after Retry-After.",
        headers={hdrs.RETRY_AFTER: str(wait_s)},
    )


def _unknown_proxy(request: web.Request) -> Problem:
    _tell_operator(request)
    return Problem(
        403,
        "Unknown proxy",
        "The request says that it was forwarded, and comes from no proxy that this service trusts, so nobody knows"
        " whose rate limit it falls under. Whoever runs the service has to list its proxies in"
        " FANFINITY_TRUSTED_PROXIES; a client that is behind none must send neither X-Forwarded-For nor Forwarded.",
        kind="unknown-proxy",
    )


def _tell_operator(request: web.Request) -> None:
    remote, remedy = request.remote, "if it is a proxy of yours, add it to FANFINITY_TRUSTED_PROXIES"
    request.app[CONTEXT].limits.strangers.note(
        "forwarded",
        lambda again: _log.warning("forwarded requests refused", remote=remote, repeated=again, remedy=remedy),
    )
