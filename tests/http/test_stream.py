import asyncio
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest
from cachetools import TTLCache

from app.dashboard import rendering
from app.engagement import rendered
from app.engagement.views import metrics_view
from app.live import Message, Subscription
from app.live.viewers import QUEUE_LIMIT
from shards.errors import StoreUnavailable
from shards.events import HIGHLIGHT_TYPES, Event
from shards.reads.aggregates import MatchAggregates
from tests.http.service import DEADLINE_S, Service, eventually
from tests.http.streams import event, send, watching

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_starts_with_a_snapshot_and_follows_every_change(service: Service) -> None:
    await send(service, event("followed"))
    async with watching(service, "followed") as viewer:
        first = await viewer.next()
        assert (first.event, first.data["matchId"], first.data["totalEvents"]) == ("metrics", "followed", 1)
        await send(service, event("followed"), event("followed"))
        assert (await viewer.next("metrics")).data["totalEvents"] == 3
        again = (await service.get("/api/matches/followed/metrics")).json
        assert again["totalEvents"] == 3


async def test_sends_a_highlight_at_once_and_once(service: Service) -> None:
    await send(service, event("goals"))
    async with watching(service, "goals") as viewer:
        await viewer.next("metrics")
        goal = event("goals", "goal", playerId=7, metadata={"text": "a\nb\r\u2028", "big": 10**30})
        await send(service, goal, event("goals"))
        await send(service, goal)
        await send(service, event("goals", "red_card"))
        shown = await viewer.next("event")
        assert shown.data["eventId"] == goal["eventId"]
        assert shown.data["metadata"] == goal["metadata"]
        assert (shown.data["playerId"], shown.data["retracted"]) == ("7", False)
        assert (await viewer.next("event")).data["eventType"] == "red_card"


async def test_of_two_versions_of_an_event_the_first_one_stands_on_the_stream_too(service: Service) -> None:
    """That there was an earlier one shows only when it is counted: what was announced is sent again as it counts."""
    await send(service, event("versions"))
    async with watching(service, "versions") as viewer:
        await viewer.next("metrics")
        passed, booked = event("versions", "pass"), event("versions", "yellow_card", teamId="1")
        await send(service, passed, booked)
        await send(service, passed | {"eventType": "goal"})
        announced = (await viewer.next("event")).data
        assert (announced["eventId"], announced["eventType"]) == (booked["eventId"], "yellow_card")
        ids = []
        for retracted in (False, True):
            sent = await viewer.next("event")
            assert (sent.data["eventId"], sent.data["eventType"]) == (passed["eventId"], "goal")
            assert sent.data["retracted"] == retracted
            ids.append(sent.id)
    for seen in ids[:-1]:  # who left before the correction has not seen it
        async with watching(service, "versions", Last_Event_ID=seen) as viewer:
            while not (missed := (await viewer.next("event")).data)["retracted"]:
                pass
            assert missed["eventId"] == passed["eventId"]
    async with watching(service, "versions", Last_Event_ID=ids[-1]) as viewer:
        await viewer.next("metrics")
        await send(service, later := event("versions", "red_card"))
        assert (await viewer.next("event")).data["eventId"] == later["eventId"]
    assert (await service.metrics("versions", total=4))["goals"] == 0


async def test_nothing_is_corrected_by_an_answer_from_before_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an outage of ClickHouse the last good answer is given again, and knows of no goal that came later."""
    await send(service, event("outage"))
    async with watching(service, "outage") as viewer:
        await viewer.next("metrics")

        async def away(*statements: str) -> list[tuple[object, ...]]:
            raise StoreUnavailable("the test has taken it away")

        monkeypatch.setattr(service.context.store, "fetch", away)
        await send(service, goal := event("outage", "goal"))
        assert (await viewer.next("event")).data["eventId"] == goal["eventId"]
        topic = service.context.live._topics["outage"]
        polled = topic._answers._outcomes["outage"].began

        async def polled_again() -> bool:
            return topic._answers._outcomes["outage"].began > polled + 1

        await eventually(polled_again, lambda: "nobody asked")
        assert [highlight.event_id for _, highlight in topic._unchecked] == [goal["eventId"]]
        monkeypatch.undo()
        assert (await viewer.next()).data["totalEvents"] == 2, "a snapshot, and no correction before it"
        assert not topic._unchecked


async def test_a_highlight_that_was_withdrawn_before_it_came_is_sent_as_such(service: Service) -> None:
    await send(service, event("early"))
    async with watching(service, "early") as viewer:
        await viewer.next("metrics")
        goal = event("early", "goal")
        await send(service, event("early", "retraction", metadata={"eventId": goal["eventId"].upper()}))
        await send(service, goal)
        assert (await viewer.next("event")).data["eventType"] == "retraction"
        shown = (await viewer.next("event")).data
        assert (shown["eventId"], shown["retracted"]) == (goal["eventId"], True)


async def test_highlights_are_those_of_the_contract(service: Service) -> None:
    await send(service, event("kinds"))
    async with watching(service, "kinds") as viewer:
        await viewer.next("metrics")
        for kind in ("cheer", "foul", *HIGHLIGHT_TYPES):
            await send(service, event("kinds", kind, metadata={"eventId": str(uuid.uuid4())}))
        shown = [(await viewer.next("event")).data["eventType"] for _ in HIGHLIGHT_TYPES]
        assert tuple(shown) == HIGHLIGHT_TYPES


async def test_snapshots_never_go_back_and_come_at_most_once_a_second(service: Service) -> None:
    await send(service, event("busy"))
    async with watching(service, "busy") as viewer:

        async def write() -> None:
            for _ in range(60):
                await send(service, event("busy"), event("busy"))
                await asyncio.sleep(0.03)

        began = asyncio.get_running_loop().time()
        _, totals = await asyncio.gather(write(), viewer.until_total(121))
        seconds = asyncio.get_running_loop().time() - began
        assert totals == sorted(totals)
        assert totals[-1] == 121
        assert len(totals) <= seconds + 2


async def test_many_viewers_share_one_poller(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await send(service, event("crowd"))
    store, fetch, asked = service.context.store, service.context.store.fetch, 0

    async def counting(*statements: str) -> list[tuple[Any, ...]]:
        nonlocal asked
        asked += "$crowd$" in statements[-1]
        return await fetch(*statements)

    monkeypatch.setattr(store, "fetch", counting)
    began = asyncio.get_running_loop().time()

    async def watch() -> None:
        async with watching(service, "crowd") as viewer:
            await viewer.until_total(21)

    async def write() -> None:
        for _ in range(20):
            await send(service, event("crowd"))
            await asyncio.sleep(0.05)

    await asyncio.gather(write(), *(watch() for _ in range(30)))
    assert 1 <= asked <= 2 * (asyncio.get_running_loop().time() - began) + 1


async def test_an_answer_is_rendered_once_for_all_who_begin_with_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(service, event("opening"))
    made: list[MatchAggregates] = []

    def counting(answer: MatchAggregates, **options: Any) -> dict[str, Any]:
        made.append(answer)
        return metrics_view(answer, **options)

    monkeypatch.setattr(rendered, "metrics_view", counting)
    monkeypatch.setattr(
        service.context.rendered._answers, "max_age_s", DEADLINE_S
    )  # no second time for the response times' sake
    async with AsyncExitStack() as viewers:
        for _ in range(30):
            viewer = await viewers.enter_async_context(watching(service, "opening"))
            assert (await viewer.next("metrics")).data["totalEvents"] == 1
    assert made
    assert len({id(answer) for answer in made}) == len(made)


async def test_a_long_curve_does_not_hold_up_the_event_loop(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "BUCKETS_AT_ONCE", 10)
    monkeypatch.setattr(rendering, "BUCKETS_AT_ONCE", 10)
    threads: list[threading.Thread] = []

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(answer: MatchAggregates, *arguments: Any, **options: Any) -> Any:
            if answer.match_id == "long":  # of the tests before there may still be a viewer
                threads.append(threading.current_thread())
            return function(answer, *arguments, **options)

        return noted

    monkeypatch.setattr(rendered, "metrics_view", noting(rendered.metrics_view))
    monkeypatch.setattr(rendering, "match_page", noting(rendering.match_page))
    await send(service, *(event("long", timestamp=f"2024-01-15T14:{minute}:00Z") for minute in range(10, 30)))
    await service.metrics("long", total=20)
    async with watching(service, "long") as viewer:
        assert (await viewer.next("metrics")).data["totalEvents"] == 20
        await send(service, event("long", timestamp="2024-01-15T14:31:00Z"))
        await viewer.until_total(21)
    assert (await service.get("/matches/long")).status == 200
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("how", ["header", "query"])
async def test_sends_what_was_missed_since_the_last_id(service: Service, how: str) -> None:
    match_id = f"resumed-{how}"
    await send(service, event(match_id, "goal"))
    async with watching(service, match_id) as viewer:
        await viewer.next("metrics")
        await send(service, event(match_id, "yellow_card"))
        seen = (await viewer.next("event")).id
    missed = [event(match_id, "red_card"), event(match_id, "own_goal")]
    for one in missed:
        await send(service, one)
    await service.metrics(match_id, total=4)
    query, headers = (f"?lastEventId={seen}", {}) if how == "query" else ("", {"Last_Event_ID": seen})
    async with watching(service, match_id, query=query, **headers) as viewer:
        assert (await viewer.next()).event == "metrics"
        assert [(await viewer.next("event")).data["eventId"] for _ in missed] == [one["eventId"] for one in missed]


async def highlight(messages: Subscription) -> Message:
    """Return the next highlight; snapshots may come at any time."""
    while (message := await anext(messages)).event != "event":
        pass
    return message


async def test_however_much_was_missed_is_sent_and_until_then_the_id_stays(service: Service) -> None:
    await send(service, event("away", "goal"))
    async with watching(service, "away") as viewer:
        seen = (await viewer.next("metrics")).id
    missed = [event("away", "yellow_card") for _ in range(3 * QUEUE_LIMIT)]
    await send(service, *missed)
    async with watching(service, "away", Last_Event_ID=seen) as viewer:
        assert (await viewer.next("metrics")).id == ""
        assert [(await viewer.next("event")).data["eventId"] for _ in missed] == [one["eventId"] for one in missed]
        await send(service, later := event("away", "red_card"))
        assert (await viewer.next("event")).data["eventId"] == later["eventId"]


async def test_however_many_come_at_once_nobody_who_reads_is_cut_off(service: Service) -> None:
    await send(service, event("many"))
    async with watching(service, "many") as viewer:
        await viewer.next("metrics")
        goals = [event("many", "goal") for _ in range(3 * QUEUE_LIMIT)]
        await send(service, *goals)
        assert [(await viewer.next("event")).data["eventId"] for _ in goals] == [goal["eventId"] for goal in goals]
        assert (await viewer.until_total(len(goals) + 1))[-1] == len(goals) + 1


async def test_each_highlight_is_sent_once_however_many_there_are(service: Service) -> None:
    """An answer holds goals for longer than they are among the last ones that were sent."""
    await send(service, event("sweep"))
    async with watching(service, "sweep") as viewer:
        await viewer.next("metrics")
        sent = [event("sweep", "goal") for _ in range(5)]
        await send(service, *sent)
        for _ in range(5):
            withdrawals = [event("sweep", "retraction", metadata={"eventId": str(uuid.uuid4())}) for _ in range(60)]
            await send(service, *withdrawals)
            sent += withdrawals
        received: list[str] = []
        snapshots = 0
        while snapshots < 3:
            message = await viewer.next()
            if message.event == "event":
                received.append(message.data["eventId"])
            elif message.data["totalEvents"] == len(sent) + 1:
                snapshots += 1
                await send(service, again := event("sweep", "red_card"))
                sent.append(again)
    assert received[: len(sent) - 3] == [one["eventId"] for one in sent[:-3]]
    assert len(received) == len(set(received))


async def test_viewers_of_a_match_of_which_nothing_is_left_are_let_go(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(service, event("expired"))

    async def nothing(_: Sequence[str]) -> dict[str, MatchAggregates]:
        return {}

    async with watching(service, "expired") as viewer:
        await viewer.next("metrics")
        with monkeypatch.context() as patched:
            patched.setattr(service.context.live._answers, "_load", nothing)
            with pytest.raises(EOFError):
                await viewer.next("event")
            assert (await service.get("/api/matches/expired/metrics")).status == 404


async def test_who_left_before_the_first_highlight_is_sent_it_on_coming_back(service: Service) -> None:
    await send(service, event("none yet"))
    async with watching(service, "none yet") as viewer:
        seen = (await viewer.next("metrics")).id
    await send(service, goal := event("none yet", "goal"))
    await service.metrics("none yet", total=2)
    async with watching(service, "none yet", Last_Event_ID=seen) as viewer:
        assert (await viewer.next("event")).data["eventId"] == goal["eventId"]
    async with watching(service, "none yet") as viewer:
        await viewer.next("metrics")
        await send(service, card := event("none yet", "red_card"))
        assert (await viewer.next("event")).data["eventId"] == card["eventId"]


async def test_goes_on_in_the_order_in_which_highlights_were_sent(service: Service) -> None:
    """Of two requests, the one received later may be durable first."""
    first = event("order", "goal")
    await send(service, first)
    hub, clock = service.context.live, service.context.shards.clock
    early, late, last = (
        Event("order", str(uuid.uuid4()), "goal", 1_705_327_200_000, "1", "", "{}", at_ns, at_ns)
        for at_ns in [clock.order_ns() + n * 5_000_000 for n in range(3)]
    )

    async def accept(*events: Event) -> None:
        await service.context.shards.append(events)
        hub.accepted(events)

    async with hub.subscribe("order") as messages:
        begun = await anext(messages)
        await accept(late)
        seen = await highlight(messages)
        assert seen.value.event_id == late.event_id
    await accept(early, last)
    for _ in range(2):  # nobody watches in between
        async with hub.subscribe("order", last_event_id=seen.id) as messages:
            assert [(await highlight(messages)).value.event_id for _ in range(2)] == [early.event_id, last.event_id]
    # Received before all that the viewer saw, and durable after it.
    earlier = attrs.evolve(early, event_id=str(uuid.uuid4()), order_ns=early.order_ns - 3_600_000_000_000)
    await accept(earlier)
    for seen_id, count in ((begun.id, 4), (f"1-{uuid.uuid4()}", 5)):
        async with hub.subscribe("order", last_event_id=seen_id) as messages:
            await anext(messages)
            shown = [(await anext(messages)).value.event_id for _ in range(count)]
        assert shown[-4:] == [late.event_id, early.event_id, last.event_id, earlier.event_id]


async def test_what_is_no_id_of_ours_is_ignored(service: Service) -> None:
    await send(service, event("foreign"))
    async with watching(service, "foreign") as first:
        await first.next("metrics")
        await send(service, event("foreign", "goal"))
        await first.next("event")
        for foreign in ("99999999999999-x", "1-gone", "x", "-"):
            async with watching(service, "foreign", Last_Event_ID=foreign) as viewer:
                await viewer.next("metrics")
                await send(service, later := event("foreign", "red_card"))
                assert (await viewer.next("event")).data["eventId"] == later["eventId"], foreign


async def test_ids_mean_the_same_when_the_feed_is_made_anew(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.context.live, "_resting", TTLCache(8, 0))  # nothing is kept
    await send(service, event("anew", "goal"))
    async with service.context.live.subscribe("anew") as messages:
        sent = []
        for _ in range(4):
            await send(service, event("anew", "goal"))
            sent.append((await highlight(messages)).id)
            await asyncio.sleep(0.002)  # so that each is of another millisecond
    await service.metrics("anew", total=5)
    for number, seen in enumerate(sent[:-1]):
        async with service.context.live.subscribe("anew", last_event_id=seen) as messages:
            assert [(await highlight(messages)).id for _ in sent[number + 1 :]] == sent[number + 1 :]


async def test_says_when_to_come_back_and_ends_with_the_connection_where_there_are_no_chunks(service: Service) -> None:
    await send(service, event("old"))
    reader, writer = await asyncio.open_connection(service.host, service.port)
    writer.write(b"GET /api/matches/old/stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    async with asyncio.timeout(DEADLINE_S):
        head, _, first = (await reader.readuntil(b"event: metrics\n")).partition(b"\r\n\r\n")
        assert b"\r\nConnection: close" in head
        assert b"Transfer-Encoding" not in head
        assert 1000 <= int(first.removeprefix(b"retry: ").split(b"\n")[0]) <= 3000
        for topic in service.context.live._topics.values():
            for viewer in topic.viewers:
                viewer.end()
        await reader.read()
    writer.close()


async def test_a_page_followed_without_chunks_ends_with_the_connection_too(service: Service) -> None:
    await send(service, event("old-page"))
    reader, writer = await asyncio.open_connection(service.host, service.port)
    writer.write(b"GET /matches/old-page/stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    async with asyncio.timeout(DEADLINE_S):
        assert b"\r\nConnection: close" in await reader.readuntil(b"event: update\n")
        for viewer in service.context.live._topics["old-page"].viewers:
            viewer.end()
        await reader.read()
    writer.close()


@pytest.mark.parametrize("foreign", ["x", "-", "\u0661-a", "9" * 40, "1e3-b", "'; --"])
async def test_an_id_that_is_not_ours_is_ignored(service: Service, foreign: str) -> None:
    await send(service, event("foreign", "goal"))
    async with watching(service, "foreign", query=f"?lastEventId={foreign}") as viewer:
        assert (await viewer.next()).event == "metrics"
        await send(service, later := event("foreign", "red_card"))
        assert (await viewer.next("event")).data["eventId"] == later["eventId"]


async def test_forgets_a_viewer_who_left_and_asks_no_more(service: Service) -> None:
    await send(service, event("left"))
    hub = service.context.live

    async def nobody() -> bool:
        await send(service, event("left"))
        return hub.viewers == 0

    await eventually(nobody, lambda: f"{hub.viewers} viewers")
    async with watching(service, "left") as viewer:
        await viewer.next("metrics")
        assert hub.viewers == 1
    await eventually(nobody, lambda: f"{hub.viewers} viewers")


async def test_a_slow_viewer_is_cut_off_and_state_replaces_state() -> None:
    viewer = Subscription(limit=3)
    for number in range(10):
        viewer.put([Message(event="metrics", text=b"{}", value=number)])
    assert (await anext(viewer)).value == 9
    for number in range(4):
        viewer.put([Message(event="event", text=b"{}", value=number) for _ in range(5)])
    assert viewer.ended
    with pytest.raises(StopAsyncIteration):
        await anext(viewer)


async def test_data_of_several_lines_stays_one_message() -> None:
    message = Message(event="event", text=b'{"a":\n1}', value=None, id="1-x")
    assert await message.encoded() == b'event: event\nid: 1-x\ndata: {"a":\ndata: 1}\n\n'


async def test_ends_when_the_service_stops(service: Service) -> None:
    """The last test of the module: no stream begins after it."""
    await send(service, event("ending"))
    async with watching(service, "ending") as viewer:
        await viewer.next("metrics")
        await service.context.end_streams()
        with pytest.raises(EOFError):
            await viewer.next()
