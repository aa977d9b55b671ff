"""The opening of a PostgreSQL connection at the TLS proxy, byte by byte."""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from provision.emulator.machines.certificates import Certificates
from provision.emulator.machines.loop import LoopThread
from provision.emulator.machines.tls import CANCEL_REQUEST, GSS_REQUEST, SSL_REQUEST, TlsProxy
from tests.emulator.machines.conftest import some_address

STARTUP = struct.pack("!II", 8 + len(b"user\0ann\0database\0runs\0\0"), 196608) + b"user\0ann\0database\0runs\0\0"


def request(code: int) -> bytes:
    return struct.pack("!II", 8, code)


class Server:
    """Stands for PostgreSQL: says what it was sent first, and hangs up."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.heard.append(connection.recv(65536))
                connection.sendall(b"heard " + self.heard[-1])


class Kit:
    """A proxy in front of a server, and ways to talk to it."""

    def __init__(self, folder: Path, *, only_encrypted: bool = True) -> None:
        self.address = some_address()
        self.server = Server()
        self.loop = LoopThread("tls")
        certificates = Certificates(folder, "p:i", self.address, datetime.now(UTC))
        target = self.server.listener.getsockname()
        self.proxy = TlsProxy(self.address, 0, certificates.server_side(), target, only_encrypted=only_encrypted)
        self.loop.run(self.proxy.start())
        self.trust = ssl.create_default_context(cadata=certificates.ca()["cert"])

    def connected(self) -> socket.socket:
        return socket.create_connection((self.address, self.proxy.port), timeout=5)

    def close(self) -> None:
        self.loop.run(self.proxy.stop())
        self.loop.close()
        self.server.listener.close()


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = Kit(tmp_path)
    yield made
    made.close()


def all_of(connection: socket.socket) -> bytes:
    found = b""
    try:
        while data := connection.recv(65536):
            found += data
    except ConnectionError:
        pass
    return found


def test_after_the_handshake_the_opening_reaches_the_server(kit: Kit) -> None:
    """S, then TLS with a certificate for the instance's own address, then what the client says, unchanged."""
    with kit.connected() as plain:
        plain.sendall(request(SSL_REQUEST))
        answer = plain.recv(1)
        with kit.trust.wrap_socket(plain, server_hostname=kit.address) as secure:
            secure.sendall(STARTUP)
            heard = all_of(secure)

    assert answer == b"S"
    assert heard == b"heard " + STARTUP


def test_an_opening_in_pieces_is_put_together(kit: Kit) -> None:
    """Networks cut where they like."""
    with kit.connected() as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(SSL_REQUEST):
            plain.sendall(bytes([byte]))
        answer = plain.recv(1)

    assert answer == b"S"


def test_kerberos_is_declined_and_tls_still_possible(kit: Kit) -> None:
    """A client with Kerberos credentials asks for that first."""
    with kit.connected() as plain:
        plain.sendall(request(GSS_REQUEST))
        first = plain.recv(1)
        plain.sendall(request(SSL_REQUEST))
        second = plain.recv(1)

    assert (first, second) == (b"N", b"S")


def test_a_plain_opening_is_refused_with_postgresqls_error(kit: Kit) -> None:
    """An ErrorResponse of class 28000 which names user and database; the server hears nothing."""
    with kit.connected() as plain:
        plain.sendall(STARTUP)
        answer = all_of(plain)

    assert answer[:1] == b"E"
    assert struct.unpack("!I", answer[1:5])[0] == len(answer) - 1
    assert b'C28000\0Mno pg_hba.conf entry for host "127.0.0.1", user "ann", database "runs", no encryption\0' in answer
    assert kit.server.heard == []


def test_a_plain_opening_passes_where_the_instance_allows_it(tmp_path: Path) -> None:
    """sslMode ALLOW_UNENCRYPTED_AND_ENCRYPTED."""
    kit = Kit(tmp_path, only_encrypted=False)
    with kit.connected() as plain:
        plain.sendall(STARTUP)
        heard = all_of(plain)
    kit.close()

    assert heard == b"heard " + STARTUP


def test_a_cancel_request_passes_without_tls(kit: Kit) -> None:
    """libpq sends it so."""
    cancel = struct.pack("!IIII", 16, CANCEL_REQUEST, 4711, 42)
    with kit.connected() as plain:
        plain.sendall(cancel)
        heard = all_of(plain)

    assert heard == b"heard " + cancel


@pytest.mark.parametrize(
    "opening",
    [
        pytest.param(
            request(SSL_REQUEST) + b"x", id="bytes before the handshake, which somebody on the way may have put there"
        ),
        pytest.param(struct.pack("!II", 2_000_000_000, 196608), id="a length that is none"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another protocol"),
        pytest.param(request(SSL_REQUEST)[:3], id="a client that goes away"),
    ],
)
def test_what_is_no_opening_is_cut_off(kit: Kit, opening: bytes) -> None:
    """No answer, and the next client is served."""
    with kit.connected() as plain:
        plain.sendall(opening)
        plain.shutdown(socket.SHUT_WR)
        answer = all_of(plain)
    with kit.connected() as plain:
        plain.sendall(request(SSL_REQUEST))
        next_answer = plain.recv(1)

    assert answer == b""
    assert next_answer == b"S"


def test_stopping_cuts_who_is_connected(kit: Kit) -> None:
    """A stopped instance keeps no connection open."""
    with kit.connected() as plain:
        plain.sendall(request(SSL_REQUEST))
        plain.recv(1)
        kit.loop.run(kit.proxy.stop())

        assert all_of(plain) == b""


@pytest.mark.parametrize("turns", [pytest.param(n, id=f"{n} turns of the loop after it called") for n in range(6)])
def test_stopping_cuts_who_is_just_coming_in(kit: Kit, turns: int) -> None:
    """At whichever moment of its acceptance: nobody is left waiting, and no socket is forgotten open."""

    async def call_and_stop() -> socket.socket:
        calling = kit.connected()
        for _ in range(turns):
            await asyncio.sleep(0)
        await kit.proxy.stop()
        return calling

    with kit.loop.run(call_and_stop()) as calling:
        assert all_of(calling) == b""


def test_certificates_are_made_once_for_an_address(tmp_path: Path) -> None:
    """The same after a restart; another address gets another CA, and the key is nobody else's to read."""
    now = datetime.now(UTC)
    first = Certificates(tmp_path, "p:i", "127.1.2.3", now).ca()
    again = Certificates(tmp_path, "p:i", "127.1.2.3", now).ca()
    other = Certificates(tmp_path, "p:i", "127.1.2.4", now).ca()

    assert first == again
    assert first["sha1Fingerprint"] != other["sha1Fingerprint"]
    assert (tmp_path / "server.pem").stat().st_mode & 0o077 == 0
