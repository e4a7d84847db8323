"""A crowd: asks for matches that nobody knows, over a connection each, all at once; prints the answers by status.

``python -m tests.bench.crowd PORT READERS``
"""

import asyncio
import json
import sys
from collections import Counter

import uvloop

CONNECTING_AT_ONCE = 500


async def asked(port: int, readers: int) -> Counter[str]:
    """Connect all, then ask with all at once; return the answers by status."""
    statuses: Counter[str] = Counter()
    connecting = asyncio.Semaphore(CONNECTING_AT_ONCE)
    there = asyncio.Barrier(readers)

    async def reader(number: int) -> None:
        async with connecting:
            source, sink = await asyncio.open_connection("127.0.0.1", port)
        await there.wait()
        sink.write(f"GET /api/matches/nobody{number}/metrics HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        statuses[(await source.readline()).split()[1].decode()] += 1
        sink.close()

    await asyncio.gather(*(reader(number) for number in range(readers)))
    return statuses


if __name__ == "__main__":
    print(json.dumps(uvloop.run(asked(int(sys.argv[1]), int(sys.argv[2])))))
