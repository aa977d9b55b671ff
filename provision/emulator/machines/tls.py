"""TLS in front of a PostgreSQL that has none: what Cloud SQL's sslMode ENCRYPTED_ONLY looks like to a client.

A client asks for TLS in eight plain bytes, is answered with one, and starts its handshake:
https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
"""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import cast

from provision.emulator.machines.loop import listening, stop_accepting

SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
CANCEL_REQUEST = 80877102
LONGEST_OPENING = 10_000  # PostgreSQL's own limit for the packet that opens a connection
OPENING_SECONDS = 60.0  # PostgreSQL's authentication_timeout


class TlsProxy:
    """Listens on the instance's address, ends TLS, and hands the plain bytes to the server behind it.

    Connections that do not ask for TLS are refused when `only_encrypted`. To be used inside one asyncio loop.
    """

    def __init__(
        self, address: str, port: int, context: ssl.SSLContext, target: tuple[str, int], *, only_encrypted: bool = True
    ) -> None:
        self.socket = listening(address, port)
        self.context = context
        self.target = target
        self.only_encrypted = only_encrypted
        self._server: asyncio.Server | None = None
        self._clients: set[Client] = set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.socket.getsockname()[1])

    async def start(self) -> None:
        """Begin to take connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Client(self), sock=self.socket, start_serving=True)

    async def stop(self) -> None:
        """Take no more connections, and cut the ones that are open."""
        if self._server is not None:
            await stop_accepting(self.socket)
            self._server.close()
            self._server = None
        for client in list(self._clients):
            client.abort()
        self.socket.close()
        await asyncio.sleep(0)  # lets the transports close their sockets

    def joined(self, client: "Client") -> None:
        """`client` has connected."""
        self._clients.add(client)

    def left(self, client: "Client") -> None:
        """`client` is gone."""
        self._clients.discard(client)


class Side(asyncio.Protocol):
    """One end of a pair: what arrives here is written to the other end, no faster than that one takes it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand it on."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        """This end is full: read no more from the other."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """This end has room again."""
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end when what was written to it has gone out."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Client(Side):
    """A client's connection, from its first byte on."""

    def __init__(self, proxy: TlsProxy) -> None:
        super().__init__()
        self._proxy = proxy
        self._received = b""
        self._secure = False
        self._busy: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the client a minute to say what it wants."""
        super().connection_made(transport)
        self._proxy.joined(self)
        self._timer = asyncio.get_running_loop().call_later(OPENING_SECONDS, self.abort)

    def data_received(self, data: bytes) -> None:
        """Collect the opening; after it, hand everything on."""
        if self.other is not None:
            super().data_received(data)
            return
        self._received += data
        if self._busy is None:
            self._open()

    def _open(self) -> None:
        if len(self._received) < 8:
            return
        length, code = struct.unpack("!II", self._received[:8])
        if not 8 <= length <= LONGEST_OPENING:
            self.abort()
        elif len(self._received) < length:
            return
        elif code == SSL_REQUEST and not self._secure:
            # Bytes that came along before the handshake could have been put there by somebody on the way.
            self._begin(self._handshake) if len(self._received) == length else self.abort()
        elif code == GSS_REQUEST and not self._secure:
            self._received = self._received[length:]
            self._write(b"N")
            self._open()
        elif code == CANCEL_REQUEST or self._secure or not self._proxy.only_encrypted:
            self._begin(self._connect)
        else:
            self._write(_refusal(self._received[8:length], self._peer()))
            self._close()

    def _begin(self, work: Callable[[], Awaitable[None]]) -> None:
        assert self.transport is not None
        self.transport.pause_reading()  # nothing is lost: it waits in the socket until this is done
        self._busy = asyncio.ensure_future(self._end_with(work))

    async def _end_with(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except OSError:  # errors of ssl are too; the client sees that it is cut off
            self.abort()
            return
        finally:
            self._busy = None
        if self.other is None and self._received:
            self._open()

    async def _handshake(self) -> None:
        assert self.transport is not None
        self._received = b""
        self._secure = True
        self._write(b"S")
        loop = asyncio.get_running_loop()
        made = await loop.start_tls(
            self.transport, self, self._proxy.context, server_side=True,
            ssl_handshake_timeout=15, ssl_shutdown_timeout=1,
        )  # fmt: skip
        if made is None:
            raise ConnectionResetError
        self.transport = made

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, server = await loop.create_connection(Side, *self._proxy.target)
        server.other = self
        if self._timer is not None:
            self._timer.cancel()
        assert server.transport is not None
        server.transport.write(self._received)
        self._received = b""
        self.other = server
        if self.transport is None or self.transport.is_closing():
            server.transport.close()
        else:
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client and close the server's side."""
        super().connection_lost(exc)
        self._proxy.left(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._busy is not None:
            self._busy.cancel()

    def abort(self) -> None:
        """Cut both sides at once."""
        for side in (self, self.other):
            if side is not None and side.transport is not None:
                with contextlib.suppress(RuntimeError):
                    side.transport.abort()

    def _peer(self) -> str:
        assert self.transport is not None
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if peer else "unknown"

    def _write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def _close(self) -> None:
        assert self.transport is not None
        self.transport.close()


def _refusal(startup: bytes, peer: str) -> bytes:
    """PostgreSQL's ErrorResponse to a client without TLS where pg_hba.conf has only `hostssl` lines."""
    words = startup.split(b"\0")
    asked = dict(zip(words[::2], words[1::2], strict=False))
    user = asked.get(b"user", b"")
    database = asked.get(b"database", user)
    message = (
        f'no pg_hba.conf entry for host "{peer}", user "{user.decode(errors="replace")}", '
        f'database "{database.decode(errors="replace")}", no encryption'
    )
    fields = b"".join(
        kind + text.encode() + b"\0"
        for kind, text in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", "28000"), (b"M", message))
    )
    return b"E" + struct.pack("!I", len(fields) + 5) + fields + b"\0"
