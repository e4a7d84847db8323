import asyncio

import pytest

from app.server import spare as module
from app.server.spare import SPARE_MAX, SpareConnections

PROBE = b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"


class Client:
    def __init__(self, spare: SpareConnections) -> None:
        self.spare = spare
        self.served = b""
        self.is_refused = False
        spare.admit(self)

    def sends(self, data: bytes) -> None:
        if not self.spare.holds_back(self, data):
            self.served += data

    def admitted(self, data: bytes) -> None:
        self.sends(data)

    def refused(self) -> None:
        self.is_refused = True

    @property
    def state(self) -> str:
        return "refused" if self.is_refused else "served" if self.served else "waits"


@pytest.fixture
async def spare() -> SpareConnections:
    return SpareConnections()


@pytest.mark.parametrize(
    "line",
    [
        *("GET /health", "GET /health/live", "GET /health/ready", "GET /health/startup", "HEAD /ready", "GET /metrics"),
        "GET /ready?from=balancer",
    ],
)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_who_watches_over_the_service_is_served(spare: SpareConnections, line: str, version: str) -> None:
    client, request = Client(spare), f"{line} {version}\r\nHost: x\r\n\r\n".encode()
    for byte in request:
        client.sends(bytes([byte]))
    assert (client.state, client.served) == ("served", request)


@pytest.mark.parametrize(
    "sent",
    [
        *(
            b"GET / HTTP/1.1\r\n",
            b"POST /ready HTTP/1.1\r\n",
            b"GET /readyness HTTP/1.1\r\n",
            b"GET /healthy HTTP/1.1\r\n",
        ),
        *(b"GET /metrics/../api HTTP/1.1\r\n", b"GET /ready HTTP/2.0\r\n", b"\n", b"GET /ready?" + b"x" * 300),
    ],
)
async def test_anybody_else_is_refused_and_read_no_more(spare: SpareConnections, sent: bytes) -> None:
    client = Client(spare)
    client.sends(sent)
    client.sends(PROBE)
    assert client.state == "refused"


async def test_who_says_nothing_is_refused_after_a_moment(
    spare: SpareConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPARE_S", 0.05)
    silent, halting = Client(spare), Client(spare)
    halting.sends(PROBE[:8])
    assert (silent.state, halting.state) == ("waits", "waits")
    await asyncio.sleep(0.2)
    assert (silent.state, halting.state) == ("refused", "refused")


async def test_a_crowd_that_says_nothing_keeps_no_probe_out_and_its_number_is_bounded(spare: SpareConnections) -> None:
    crowd = [Client(spare) for _ in range(3 * SPARE_MAX)]
    assert sum(client.state == "waits" for client in crowd) == SPARE_MAX
    assert all(client.state == "refused" for client in crowd[:-SPARE_MAX]), "the one that waited longest goes first"
    probe = Client(spare)
    probe.sends(PROBE)
    assert probe.state == "served"
    spare.refuse_all()
    assert {client.state for client in crowd} == {"refused"}


async def test_those_being_served_have_a_bound_too_and_leave_their_place(spare: SpareConnections) -> None:
    probes = [Client(spare) for _ in range(SPARE_MAX)]
    for probe in probes:
        probe.sends(PROBE)
    assert {probe.state for probe in probes} == {"served"}
    assert Client(spare).state == "refused"
    spare.forget(probes[0])
    assert Client(spare).state == "waits"
