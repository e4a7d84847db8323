"""The health check of the image: exits with 0 where the service in this container answers ``/health`` with 200.

It asks for life and not for readiness, because orchestrators end a container that stays unhealthy, and a service that
takes no events for want of room still holds those in its log.
"""

import http.client
import os
import sys

_TIMEOUT_S = 4


def main() -> int:
    """Ask once, and return the exit code."""
    host = os.environ.get("FANFINITY_HOST", "127.0.0.1")
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)  # noqa: S104 (an address to compare with)
    try:
        connection = http.client.HTTPConnection(host, int(os.environ.get("FANFINITY_PORT", "8080")), timeout=_TIMEOUT_S)
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stdout.write(f"no answer: {error}\n")
        return 1
    sys.stdout.write(f"/health answered {status}\n")
    return 0 if status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main())
