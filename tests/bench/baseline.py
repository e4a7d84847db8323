"""The yardstick for throughput: an aiohttp application that reads the body, answers 202, and does nothing else."""

import sys

import uvloop
from aiohttp import web

REPLY = b'{"eventId":"00000000-0000-4000-8000-000000000000","status":"accepted"}'


async def accept(request: web.Request) -> web.Response:
    """Read the body and answer 202."""
    await request.read()
    return web.Response(status=202, body=REPLY, content_type="application/json")


async def healthy(request: web.Request) -> web.Response:
    """Answer 200."""
    return web.Response()


def main() -> None:
    """Serve on the loopback port given as the only argument."""
    application = web.Application()
    application.router.add_post("/api/events", accept)
    application.router.add_get("/ready", healthy)
    uvloop.install()
    web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
