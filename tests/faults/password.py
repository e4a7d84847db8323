"""What a real ClickHouse answers to a wrong password.

The tests' form of ClickHouse aborts after such an answer, so one of its own is asked, once, and the proxy repeats the
very bytes to whoever comes with that password.
"""

import asyncio
from pathlib import Path

from tests.clickhouse import ClickHouseServer

WRONG = "wrong-password"
_CLIENT_HELLO = 0
_REVISION = 54_441


async def refusal(directory: Path) -> bytes:
    """Return the answer to :data:`WRONG`, of a ClickHouse that lives for this question only."""
    server = ClickHouseServer(directory)
    await asyncio.to_thread(server.start)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.tcp_port)
        writer.write(_hello(WRONG))
        answer = await asyncio.wait_for(reader.read(1 << 16), 30)
        writer.transport.abort()
    finally:
        # It may have aborted by now, which is why it is not ended the way that checks for it.
        process = server._process
        assert process is not None
        process.kill()
        await asyncio.to_thread(process.wait)
    assert b"uthentication failed" in answer
    return answer


def _hello(password: str) -> bytes:
    """Return the first packet of the native protocol (ClickHouse, ``docs/native-protocol/client.md``)."""
    version = (_number(20), _number(9), _number(_REVISION))
    return b"".join((_number(_CLIENT_HELLO), _text("test"), *version, _text(""), _text("default"), _text(password)))


def _number(value: int) -> bytes:
    encoded = bytearray()
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _text(value: str) -> bytes:
    return _number(len(value)) + value.encode()
