"""What comes again and again is one line and a count: reads without ClickHouse, malformed HTTP, errors that count."""

import asyncio

import attrs
import pytest

from app.config import Config
from shards import StoreError
from tests.clickhouse import free_port
from tests.http.service import running
from tests.logged import lines_of


async def test_a_crowd_without_clickhouse_and_malformed_http_leave_a_line_each(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    address = f"clickhouse://default@127.0.0.1:{free_port()}/away"
    config = attrs.evolve(config, data_dir=config.data_dir / "repeats", clickhouse_url=address, shutdown_timeout_s=1)
    async with running(config) as service:
        reads = [service.get(f"/api/matches/unheard{number}/metrics") for number in range(200)]
        assert {reply.status for reply in await asyncio.gather(*reads)} == {503}
        for _ in range(30):
            assert (await service.send_raw(b"NOT HTTP\r\n\r\n")).status == 400
        gate = service.context.shards._gate
        for number in range(30):
            gate.report(StoreError(f"the ledger shows {number} of 1000 rows"))
        metrics = (await service.get("/metrics")).text
        assert [line["repeated"] for line in lines_of(caplog, "store failed")] == [0]
        assert [line["repeated"] for line in lines_of(caplog, "http malformed")] == [0]
    # What was still counted is told at the end: the second line stands for itself, and for those that were left out.
    assert [line["repeated"] for line in lines_of(caplog, "store failed")] == [0, 198]
    assert [line["repeated"] for line in lines_of(caplog, "http malformed")] == [0, 28]
    ledger = [line for line in lines_of(caplog, "clickhouse not usable") if "ledger" in line["error"]]
    assert ledger[0]["repeated"] == 0
    assert len(ledger) <= 3, "the gate's own error may have come in between"
    assert "http_malformed_total 30.0" in metrics
