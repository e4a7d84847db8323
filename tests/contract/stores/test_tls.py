"""TLS between the service and ClickHouse, ended by a relay, as it is in front of many a server."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from shards.errors import StoreUnavailable
from shards.stores.server import ServerStore
from tests.contract.rows import batch, count, event
from tests.relay import Relay
from tests.statements import drop_database


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_certs(authority: trustme.CA, tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return file


@pytest.fixture
async def relay(clickhouse_url: str, authority: trustme.CA) -> AsyncIterator[Relay]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    relay = Relay(urlsplit(clickhouse_url).port or 9000, tls=context)
    await relay.start()
    yield relay
    await relay.close()


async def test_events_are_stored_and_read_over_tls(relay: Relay, ca_certs: Path, database: str) -> None:
    store = ServerStore(f"clickhouses://default@localhost:{relay.port}/{database}?ca_certs={ca_certs}", shard_count=2)
    await store.open()
    await store.insert_direct(batch([event() for _ in range(5)], number=1))
    assert await store.landed("w1", 0, [1]) == {1: 5}
    assert await count(store) == 5
    await drop_database(store)
    await store.close()


async def test_verify_false_takes_any_certificate(relay: Relay, database: str) -> None:
    store = ServerStore(f"clickhouses://default@127.0.0.1:{relay.port}/{database}?verify=false", shard_count=2)
    await store.open()
    await drop_database(store)
    await store.close()


@pytest.mark.parametrize(
    ("host", "trusted"), [("localhost", False), ("127.0.0.1", True)], ids=["unknown authority", "other name"]
)
async def test_a_certificate_that_proves_nothing_is_refused(
    relay: Relay, ca_certs: Path, database: str, host: str, trusted: bool
) -> None:
    options = f"?ca_certs={ca_certs}" if trusted else ""
    store = ServerStore(f"clickhouses://default@{host}:{relay.port}/{database}{options}", shard_count=2)
    with pytest.raises(StoreUnavailable, match="certificate"):
        await store.open()
    await store.close()
