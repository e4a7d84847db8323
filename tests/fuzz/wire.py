"""HTTP as bytes: requests that no library would send, and the replies to them, whole."""

import socket
import time
from collections.abc import Iterator
from functools import cached_property
from itertools import groupby
from typing import Literal

import attrs
from hypothesis.vendor.pretty import RepresentationPrinter
from multidict import CIMultiDict

from tests.fuzz.made import Made, told
from tests.http.service import Reply

ANSWER_S = 20.0
ANSWER_S_PER_MIB = 1.5
"""A request that is not answered for so long is a failure; one with a large body may take longer."""

NEXT = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
"""What is sent behind a request that is not the last of its connection."""

_MIB = 1 << 20


@attrs.frozen(kw_only=True, repr=False)
class Chunks:
    """How a body is cut into chunks.

    Attributes:
        size_bytes: of each.
        extension: what stands behind the size of each, with its semicolon.
        trailers: lines behind the last chunk, each with its end.
        broken_after: after how many chunks ``broken`` comes in place of another; None: nowhere.
    """

    size_bytes: int
    extension: bytes = b""
    trailers: bytes = b""
    broken_after: int | None = None
    broken: bytes = b""

    def __repr__(self) -> str:
        parts = [f"in chunks of {self.size_bytes}"]
        parts += [f"with {told(self.extension)}"] if self.extension else []
        parts += [f"then {told(self.trailers)}"] if self.trailers else []
        parts += [] if self.broken_after is None else [f"after {self.broken_after} of them {told(self.broken)}"]
        return ", ".join(parts)

    def cut(self, body: bytes) -> Iterator[bytes]:
        """Yield the body as it is sent."""
        for number, start in enumerate(range(0, len(body), self.size_bytes)):
            if number == self.broken_after:
                yield self.broken
                return
            chunk = body[start : start + self.size_bytes]
            yield b"%x%b\r\n%b\r\n" % (len(chunk), self.extension, chunk)
        yield b"0\r\n%b\r\n" % self.trailers


@attrs.frozen(kw_only=True)
class Manner:
    """How the bytes of a request leave.

    Attributes:
        pieces: in how many, with ``pause_s`` between them.
        end: ``half-closed``: the client says that it sends no more; ``cut``: it leaves in the middle of the body;
            ``left``: it leaves behind the end of the body.
        pipelined: how many other requests follow at once.
    """

    pieces: int = 1
    pause_s: float = 0.0
    end: Literal["", "half-closed", "cut", "left"] = ""
    pipelined: int = 0

    @property
    def leaves(self) -> bool:
        """Whether the client does not wait for the answer."""
        return self.end in ("cut", "left")


@attrs.frozen(kw_only=True, repr=False)
class Sent:
    """A request: what it aims at, and what is really sent.

    Attributes:
        method: as sent.
        template: path of the document, with placeholders.
        target: the request target, raw.
        headers: raw, without those that frame the body.
        body: what is sent, as bytes, or told by how it is made.
        chunks: None means with a length.
        odd: whether the target may lead elsewhere than the template says.
    """

    method: str
    template: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | Made = b""
    chunks: Chunks | None = None
    manner: Manner = Manner()
    odd: bool = False

    @cached_property
    def payload(self) -> bytes:
        """The body as it is sent, without the marks of chunks."""
        return bytes(self.body)

    @cached_property
    def mib(self) -> float:
        """MiB of the body, as sent or decompressed, whichever is more."""
        unpacked = self.body.unpacked_bytes if isinstance(self.body, Made) else 0
        return max(unpacked, len(self.payload)) / _MIB

    def __repr__(self) -> str:
        """The request on one line, short, from which it can be made again."""
        parts = [self.method, told(self.target)]
        for (name, value), same in groupby(self.headers):
            times = len(list(same))
            parts.append(f"{f'{times} * ' if times > 1 else ''}({told(name)}: {told(value)})")
        parts += ["body", told(self.body) if isinstance(self.body, bytes) else repr(self.body)] if self.body else []
        parts += [repr(part) for part in (self.chunks, self.manner) if part not in (None, Manner())]
        return " ".join(parts)

    def _repr_pretty_(self, printer: RepresentationPrinter, _cycle: bool) -> None:
        printer.text(repr(self))  # hypothesis would tell every byte

    def encode(self, host: str) -> Iterator[bytes]:
        """Return the bytes of the request, in two pieces, or as many as its manner wants."""
        lines = [b"%b %b HTTP/1.1" % (self.method.encode(), self.target), b"Host: " + host.encode()]
        lines += [b"%b: %b" % header for header in self.headers]
        if self.chunks:
            lines.append(b"Transfer-Encoding: chunked")
        elif self.payload or self.method == "POST":
            lines.append(b"Content-Length: %d" % len(self.payload))
        head = b"\r\n".join([*lines, b"", b""])
        body = b"".join(self.chunks.cut(self.payload)) if self.chunks else self.payload
        if self.manner.end == "cut":
            body = body[: len(body) // 2]
        if self.manner == Manner():
            yield head
            yield body
            return
        whole = head + body + NEXT * self.manner.pipelined
        size = max(1, -(-len(whole) // self.manner.pieces))
        yield from (whole[start : start + size] for start in range(0, len(whole), size))


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
        try:
            reply = self._exchange(self._connect(sent.mib), sent)
        except (OSError, ValueError, NoReplyError) as error:
            self.close()
            raise NoReplyError(f"{type(error).__name__}: {error}") from error
        if reply.headers.get("Connection", "").lower() == "close" or _streams(reply) or sent.manner.end:
            self.close()
        return reply

    def next_reply(self) -> Reply:
        """Read the reply to another request that was sent with the one before."""
        assert self._socket is not None
        try:
            return self._reply(self._socket, "GET")
        except (OSError, ValueError, NoReplyError) as error:
            self.close()
            raise NoReplyError(f"{type(error).__name__}: {error}") from error

    def send_and_leave(self, sent: Sent) -> None:
        """Send a request, as far as its manner wants, and close the connection without waiting for an answer."""
        try:
            self._send(self._connect(sent.mib), sent)
        finally:
            self.close()

    @property
    def connected(self) -> bool:
        """Whether the next request goes over the connection of the one before."""
        return self._socket is not None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self, mib: float) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=ANSWER_S)
            self._received = b""
        self._socket.settimeout(ANSWER_S + ANSWER_S_PER_MIB * mib)
        return self._socket

    def _exchange(self, sock: socket.socket, sent: Sent) -> Reply:
        self._send(sock, sent)
        return self._reply(sock, sent.method)

    def _send(self, sock: socket.socket, sent: Sent) -> None:
        try:
            for number, piece in enumerate(sent.encode(f"{self._address[0]}:{self._address[1]}")):
                if number and sent.manner.pause_s:
                    time.sleep(sent.manner.pause_s)
                sock.sendall(piece)
            if sent.manner.end == "half-closed":
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it may answer, and close, before it has taken everything

    def _reply(self, sock: socket.socket, method: str) -> Reply:
        while (head := self._until(sock, b"\r\n\r\n").decode("latin-1")).startswith("HTTP/1.1 100 "):
            pass  # there is more to come
        status, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
        headers = CIMultiDict[str](field.split(": ", 1) for field in fields)  # type: ignore[arg-type]
        body = self._body(sock, method, int(status.split(" ")[1]), headers)
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
