"""HTTP as bytes: requests that no library would send, and the replies to them, whole."""

import socket
from collections.abc import Iterator

import attrs
from multidict import CIMultiDict

from tests.http.service import Reply

ANSWER_S = 20.0
"""A request that is not answered for so long is a failure."""


@attrs.frozen(kw_only=True)
class Sent:
    """A request: what it aims at, and what is really sent.

    Attributes:
        method: as sent.
        template: path of the document, with placeholders.
        target: the request target, raw.
        headers: raw, without those that frame the body.
        body: the bytes sent; ``chunk_bytes`` 0 means with a length, else in such chunks.
        odd: whether the target may lead elsewhere than the template says.
    """

    method: str
    template: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    chunk_bytes: int = 0
    odd: bool = False

    def encode(self, host: str) -> Iterator[bytes]:
        """Return the bytes of the request, in two pieces."""
        lines = [b"%b %b HTTP/1.1" % (self.method.encode(), self.target), b"Host: " + host.encode()]
        lines += [b"%b: %b" % header for header in self.headers]
        if self.chunk_bytes:
            lines.append(b"Transfer-Encoding: chunked")
        elif self.body or self.method == "POST":
            lines.append(b"Content-Length: %d" % len(self.body))
        yield b"\r\n".join([*lines, b"", b""])
        yield b"".join(self._chunks()) if self.chunk_bytes else self.body

    def _chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.body), self.chunk_bytes):
            chunk = self.body[start : start + self.chunk_bytes]
            yield b"%x\r\n%b\r\n" % (len(chunk), chunk)
        yield b"0\r\n\r\n"


class NoReplyError(Exception):
    """The service closed the connection, or sent something that is not HTTP, in place of an answer."""


class Wire:
    """One client that keeps its connection until the service announces that it closes it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._received = b""

    def exchange(self, sent: Sent) -> Reply:
        """Send a request and read its reply; of a stream, the first message."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=ANSWER_S)
            self._received = b""
        try:
            reply = self._exchange(self._socket, sent)
        except (OSError, ValueError, NoReplyError) as error:
            self.close()
            raise NoReplyError(f"{type(error).__name__}: {error}") from error
        if reply.headers.get("Connection", "").lower() == "close" or _streams(reply):
            self.close()
        return reply

    @property
    def connected(self) -> bool:
        """Whether the next request goes over the connection of the one before."""
        return self._socket is not None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, sock: socket.socket, sent: Sent) -> Reply:
        try:
            for piece in sent.encode(f"{self._address[0]}:{self._address[1]}"):
                sock.sendall(piece)
        except ConnectionError:
            pass  # it may answer, and close, before it has taken everything
        while (head := self._until(sock, b"\r\n\r\n").decode("latin-1")).startswith("HTTP/1.1 100 "):
            pass  # there is more to come
        status, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = CIMultiDict[str](field.split(": ", 1) for field in fields)  # type: ignore[arg-type]
        body = self._body(sock, sent.method, int(status.split(" ")[1]), headers)
        return Reply(int(status.split(" ")[1]), headers, body.decode())

    def _body(self, sock: socket.socket, method: str, status: int, headers: CIMultiDict[str]) -> bytes:
        if method == "HEAD" or status in (204, 304):
            return b""
        if headers.get("Transfer-Encoding") == "chunked":
            size = int(self._until(sock, b"\r\n"), 16)
            return self._exactly(sock, size)
        return self._exactly(sock, int(headers.get("Content-Length", "0")))

    def _until(self, sock: socket.socket, end: bytes) -> bytes:
        while end not in self._received:
            self._more(sock)
        size = self._received.index(end) + len(end)
        return self._exactly(sock, size)

    def _exactly(self, sock: socket.socket, size: int) -> bytes:
        while len(self._received) < size:
            self._more(sock)
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def _more(self, sock: socket.socket) -> None:
        piece = sock.recv(1 << 16)
        if not piece:
            raise NoReplyError(f"closed after {self._received[:200]!r}")
        self._received += piece


def _streams(reply: Reply) -> bool:
    return "Transfer-Encoding" in reply.headers
