"""The client against a server that behaves badly on purpose, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from app.sending.asking import Refused
from app.sending.client import GaveUp, Outgoing, ServiceClient
from app.sending.dispatch import Dispatch, SendingTally

Reply = Callable[[web.Request, object], web.StreamResponse]


def events(count: int) -> list[Outgoing]:
    return [
        Outgoing(event_id=f"e{n}", event_type="cheer", body=b'{"eventId":"e%d"}' % n, source="s") for n in range(count)
    ]


class Service:
    """Plays a script, one reply a request, the last for good; remembers what it was sent."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.bodies: list[object] = []
        self.more: list[web.RouteDef] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return reply(request, body)

    @contextlib.asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/api/events", self.handle)
        app.add_routes(self.more)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def accept(request: web.Request, body: object) -> web.Response:
    return web.json_response({"accepted": len(body) if isinstance(body, list) else 1, "errors": []}, status=202)


def answer(status: int, body: dict | None = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _request, _body: web.json_response(body or {}, status=status, headers=named)


def cut(request: web.Request, body: object) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_one_event_goes_as_an_object_and_many_as_an_array():
    service = Service(accept)
    async with service.running() as url, ServiceClient(url) as client:
        await client.send(events(1))
        delivery = await client.send(events(3))

    assert service.bodies == [{"eventId": "e0"}, [{"eventId": "e0"}, {"eventId": "e1"}, {"eventId": "e2"}]]
    assert [event.event_id for event in delivery.accepted] == ["e0", "e1", "e2"]


@pytest.mark.parametrize(
    ("sent", "told", "known"),
    [(3, ["e0", "e2"], 2), (3, [], 0), (1, True, 1), (1, ["e0"], 1), (3, None, 0)],
)
async def test_what_was_known_already_is_counted_where_stored_events_are_asked_for(sent, told, known):
    queries = []

    def stored(request: web.Request, body: object) -> web.Response:
        queries.append(dict(request.query))
        return web.json_response({"errors": []} | ({} if told is None else {"alreadyKnown": told}))

    async with Service(stored).running() as url, ServiceClient(url) as client:
        client.ack_stored = True
        delivery = await client.send(events(sent))

    assert queries == [{"ack": "stored"}]
    assert (len(delivery.accepted), delivery.already_known) == (sent, known)


async def test_a_match_is_known_where_its_metrics_are_answered():
    paths = []

    async def metrics(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.json_response({}, status=200 if request.match_info["match"] == "a/b" else 404)

    service = Service(accept)
    service.more = [web.get("/api/matches/{match}/metrics", metrics)]
    async with service.running() as url, ServiceClient(url) as client:
        assert [await client.knows_match(match) for match in ("a/b", "c")] == [True, False]
    async with ServiceClient(url) as client:
        assert not await client.knows_match("a/b"), "no service, no match"
    assert len(paths) == 2


@pytest.mark.parametrize("trouble", [answer(503), answer(429, Retry_After="0"), answer(500), cut])
async def test_trouble_is_sent_again_unchanged(trouble):
    service = Service(trouble, trouble, accept)
    async with service.running() as url, ServiceClient(url) as client:
        delivery = await client.send(events(2))

    assert delivery.retries == 2
    assert len(delivery.accepted) == 2
    assert service.bodies[0] == service.bodies[1] == service.bodies[2]


async def test_an_answer_that_does_not_come_is_asked_for_again():
    class Slow(Service):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            if not self.bodies:
                self.bodies.append(None)
                await asyncio.sleep(60)
            return await super().handle(request)

    service = Slow(accept)
    async with service.running() as url, ServiceClient(url, timeout_s=0.2) as client:
        delivery = await client.send(events(1))

    assert delivery.retries == 1


async def test_retry_after_is_heeded():
    service = Service(answer(503, Retry_After="1"), accept)
    loop = asyncio.get_running_loop()
    async with service.running() as url, ServiceClient(url) as client:
        started = loop.time()
        await client.send(events(1))

    assert loop.time() - started >= 1


async def test_it_outlives_a_restart():
    """The service is gone when the client starts, and comes up on the same port."""
    service = Service(accept)
    async with service.running() as url:
        port = int(url.rpartition(":")[2])
    async with ServiceClient(url) as client:
        sending = asyncio.create_task(client.send(events(2)))
        await asyncio.sleep(0.3)
        assert not sending.done()
        async with service.running(port):
            delivery = await sending

    assert len(delivery.accepted) == 2
    assert delivery.retries >= 1


async def test_it_gives_up_with_the_reason():
    service = Service(answer(503, {"detail": "the write-ahead log is full"}))
    async with service.running() as url, ServiceClient(url, give_up_after_s=0.5) as client:
        with pytest.raises(GaveUp, match="the write-ahead log is full"):
            await client.send(events(1))


async def test_rejected_events_are_named_with_their_faults():
    errors = [{"index": 1, "eventId": "e1", "errors": [{"field": "$.teamId", "message": "is required"}]}]
    service = Service(answer(202, {"accepted": 2, "rejected": 1, "errors": errors}))
    async with service.running() as url, ServiceClient(url) as client:
        delivery = await client.send(events(3))

    assert [event.event_id for event in delivery.accepted] == ["e0", "e2"]
    (rejection,) = delivery.rejected
    assert rejection.event.event_id == "e1"
    assert rejection.faults == ("$.teamId: is required",)


async def test_events_whose_faults_are_not_told_are_rejected_too():
    view = {"accepted": 3, "rejected": 4, "errorsTruncated": True, "rejectedIndexes": [[2, 3], [5, 5]]}
    errors = [{"index": 1, "errors": [{"field": "$.teamId", "message": "is required"}]}]
    service = Service(answer(202, view | {"errors": errors}))
    async with service.running() as url, ServiceClient(url) as client:
        delivery = await client.send(events(7))

    assert [event.event_id for event in delivery.accepted] == ["e0", "e4", "e6"]
    assert [rejection.event.event_id for rejection in delivery.rejected] == ["e1", "e2", "e3", "e5"]
    assert all(rejection.faults for rejection in delivery.rejected)


async def test_a_single_faulty_event_is_rejected():
    errors = [{"field": "$.timestamp", "message": "has no offset"}]
    service = Service(answer(400, {"title": "Bad Request", "errors": errors}))
    async with service.running() as url, ServiceClient(url) as client:
        delivery = await client.send(events(1))

    assert not delivery.accepted
    assert delivery.rejected[0].faults == ("$.timestamp: has no offset",)


@pytest.mark.parametrize("status", [400, 413])
async def test_a_request_refused_whole_is_halved_until_the_neighbours_are_taken(status):
    """One event at fault, which the reply does not name, costs no other."""

    def fussy(request: web.Request, body: object) -> web.Response:
        texts = [event["eventId"] for event in body] if isinstance(body, list) else [body["eventId"]]
        if "e2" in texts and (status == 400 or len(texts) > 1):
            return web.json_response({"detail": "no"}, status=status)
        return accept(request, body)

    service = Service(fussy)
    async with service.running() as url, ServiceClient(url) as client:
        delivery = await client.send(events(5))

    rejected = [rejection.event.event_id for rejection in delivery.rejected]
    assert rejected == (["e2"] if status == 400 else [])
    assert len(delivery.accepted) + len(rejected) == 5


@pytest.mark.parametrize("status", [401, 403, 404, 415])
async def test_a_refusal_is_not_repeated(status):
    service = Service(answer(status, {"title": "No"}))
    async with service.running() as url, ServiceClient(url) as client:
        with pytest.raises(Refused, match=f"{status}: No"):
            await client.send(events(2))

    assert len(service.bodies) == 1


async def test_dispatch_accounts_for_every_event_and_keeps_its_batches():
    service = Service(accept)
    tally, settled = SendingTally(), []
    async with service.running() as url, ServiceClient(url) as client:
        dispatch = Dispatch(client=client, tally=tally, batch=4, connections=2, on_settled=settled.append)
        await dispatch.run((0.0, event) for event in events(10))

    assert tally.accepted == {("s", "cheer"): 10}
    assert (tally.open, tally.requests, sum(settled)) == (0, 3, 10)
    assert sorted(len(body) for body in service.bodies) == [2, 4, 4]
    assert len(tally.answer_times_ms()) == 3


async def test_dispatch_sends_when_due():
    service = Service(accept)
    tally = SendingTally()
    loop = asyncio.get_running_loop()
    async with service.running() as url, ServiceClient(url) as client:
        started = loop.time()
        await Dispatch(client=client, tally=tally).run(zip((0.0, 0.0, 0.3), events(3), strict=True))

    assert loop.time() - started >= 0.3
    assert [len(body) if isinstance(body, list) else 1 for body in service.bodies] == [2, 1]


async def test_dispatch_ends_when_the_client_gives_up():
    service = Service(accept, answer(503))
    tally = SendingTally()
    async with service.running() as url, ServiceClient(url, give_up_after_s=0.2) as client:
        await Dispatch(client=client, tally=tally, batch=2, connections=1, backlog=1).run(
            (0.0, event) for event in events(20)
        )

    assert "gave up" in tally.failure
    assert tally.accepted.total() == 2
    assert tally.open == tally.taken.total() - 2
