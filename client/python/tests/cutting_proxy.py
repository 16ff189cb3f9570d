"""A TCP proxy whose connections break when so many bytes have come from the server."""

import socket
import threading


class CuttingProxy:
    """In front of a server. The n-th connection breaks after `limits[n]` bytes, once `may_cut` is
    set; later ones last. `cuts` counts those that broke. (gRPC may forget what came just before.)
    """

    def __init__(self, server, limits):
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._limits = list(limits)
        self._open = []
        self._threads = []
        self.may_cut = threading.Event()
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{}".format(self._listener.getsockname()[1])

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        self.may_cut.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()  # accepts no more
        for end in self._open:
            self._break(end)
        for thread in self._threads[1:]:
            thread.join()
        for end in (self._listener, *self._open):
            end.close()

    def _start(self, target, *arguments):
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # shut down
            server = socket.create_connection(self._server)
            limit = self._limits.pop(0) if self._limits else None
            self._open += (client, server)
            self._start(self._carry, client, server, None)
            self._start(self._carry, server, client, limit)

    def _carry(self, source, sink, limit):
        try:
            while piece := source.recv(256 if limit is not None else 65536):
                sink.sendall(piece)
                if limit is not None and (limit := limit - len(piece)) <= 0:
                    self.may_cut.wait()
                    self.cuts += 1  # one at a time: the next connection comes after this one
                    break
        except OSError:
            pass  # the other direction broke
        self._break(source)
        self._break(sink)

    @staticmethod
    def _break(end):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is broken already
