"""A connection of an attacker: says anything, and never fails because it was ended."""

import collections
import selectors
import socket
import struct
import time

import frames

PATIENCE_SECONDS = 2  # with a server that takes nothing more
GONE = (ConnectionError, socket.timeout)


class Connection:
    """`reads` is False for one that never takes a byte from the kernel. One that reads acknowledges
    settings and answers pings where it is told to, and forgets everything else it is told."""

    def __init__(self, address, source, end, reads=True, acknowledges=True, pongs=True, receive_buffer=None):
        self.end = end  # nothing is sent after this time
        self.reads, self.acknowledges, self.pongs = reads, acknowledges, pongs
        self.ended = False
        self.seen = collections.Counter()  # frames by kind
        self.arrived = bytearray()
        self.answer = b""  # what came last that is not HTTP/2
        self.sent_bytes = 0
        self.socket = socket.socket()
        try:
            if receive_buffer is not None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.socket.bind((source, 0))
            self.socket.settimeout(min(PATIENCE_SECONDS, left))
            self.socket.connect(address)
        except OSError as error:
            self.socket.close()
            if not isinstance(error, GONE):
                raise
            self.ended = True
        else:
            self.socket.setblocking(False)

    def greet(self, *settings):
        """Waits for the peer's settings: an acknowledgement within a header block would be a fault."""
        self.send(frames.PREFACE + frames.settings(*settings))
        end = time.monotonic() + PATIENCE_SECONDS
        while self.reads and not self.seen[frames.SETTINGS] and not self.ended:
            if not self.wait(selectors.EVENT_READ, end - time.monotonic()):
                break

    def send(self, content):
        """False once the server has ended the connection, or takes nothing for long, or time is up."""
        view = memoryview(content)
        while view and not self.ended:
            if time.monotonic() > self.end:
                return False
            try:
                sent = self.socket.send(view)
                self.sent_bytes += sent
                view = view[sent:]
            except BlockingIOError:
                if not self.wait(selectors.EVENT_WRITE, PATIENCE_SECONDS):
                    self.ended = True
            except GONE:
                self.ended = True
            self.take()
        return not self.ended

    def flood(self, content, repeats, batch=500):
        """The same bytes again and again."""
        while repeats > 0 and self.send(content * min(batch, repeats)):
            repeats -= batch
        return not self.ended

    def wait(self, events, seconds):
        """Whether the socket is ready for one of the events in time; reads what comes meanwhile."""
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, events | (selectors.EVENT_READ if self.reads else 0))
            while (left := end - time.monotonic()) > 0 and not self.ended:
                for _, ready in selector.select(left):
                    if ready & selectors.EVENT_READ:
                        self.take()
                    if ready & events:
                        return True
        return False

    def take(self):
        """Reads what has arrived."""
        while self.reads and not self.ended:
            try:
                chunk = self.socket.recv(1 << 16)
            except BlockingIOError:
                return
            except GONE:
                chunk = b""
            if not chunk:
                self.ended = True
                return
            self.arrived += chunk
            self.parse()

    def parse(self):
        start = 0
        while len(self.arrived) >= start + 9:
            end = start + 9 + int.from_bytes(self.arrived[start:start + 3], "big")
            if len(self.arrived) < end:
                break
            kind, flags = self.arrived[start + 3:start + 5]
            self.seen[kind] += 1
            self.react(kind, flags, bytes(self.arrived[start + 9:end]))
            start = end
        self.answer = bytes(self.arrived[:64])
        del self.arrived[:start]

    def react(self, kind, flags, payload):
        answer = b""
        if kind == frames.SETTINGS and not flags & frames.ACK and self.acknowledges:
            answer = frames.frame(frames.SETTINGS, frames.ACK)
        elif kind == frames.PING and not flags & frames.ACK and self.pongs:
            answer = frames.frame(frames.PING, frames.ACK, payload=payload)
        if answer:
            try:
                self.socket.send(answer)
            except OSError:
                pass  # it is ended, or takes nothing: the next send tells

    def hang_up(self):
        """Ends it without a goodbye: the peer gets a TCP reset."""
        if self.socket.fileno() >= 0:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.ended = True
        self.socket.close()


def hold(connections, seconds):
    """Reads, acknowledges and answers pings on all of them for so long."""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            if not connection.ended and connection.reads:
                selector.register(connection.socket, selectors.EVENT_READ, connection)
        while (left := end - time.monotonic()) > 0:
            if not selector.get_map():
                time.sleep(left)
            for key, _ in selector.select(left):
                key.data.take()
                if key.data.ended:
                    selector.unregister(key.fileobj)
