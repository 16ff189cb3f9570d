"""What a hostile case is, and what its attacker has at hand."""

import concurrent.futures
import contextlib
import dataclasses
import pathlib
import random
import time
import typing

import connection

LONGEST_SECONDS = 10  # of an attack; the rest of it is not sent

MODELS = pathlib.Path(__file__).resolve().parents[2] / "golden/models"
CASES = []


@dataclasses.dataclass(frozen=True)
class Case:
    """`stays`: the attacker is still there when it is looked whether all is well again; `ended`: and the
    server must have ended its connections by then. `without_door`: it does no harm either where gRPC
    itself listens. `quick`: `make check` has it too."""

    name: str
    what: str
    attack: typing.Callable
    stays: bool = False
    ended: bool = False
    quick: bool = False
    without_door: bool = True
    model: pathlib.Path = MODELS / "llama_tied"
    options: tuple = ()
    descriptors: int | None = None  # the server's limit


def case(what, **options):
    """Makes a case of a function of an Attacker; the function's name is the case's."""
    def register(attack):
        CASES.append(Case(attack.__name__, what, attack, **options))
        return attack
    return register


def split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


class Attacker:
    """Comes from other addresses than the honest client, so that a limit for each address tells them
    apart. Leaving the `with` block ends what is still open."""

    def __init__(self, server, name, longest_seconds=LONGEST_SECONDS):
        self.server = server
        self.grpc, self.admin = split(server.grpc), split(server.admin)
        self.random = random.Random(name)
        self.connections = []
        self.end = time.monotonic() + longest_seconds
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.connections:
            one.close()
        self.stack.close()

    def raw(self, admin=False, host=1, **options):
        """A connection on which nothing was said, from one of many hosts."""
        one = connection.Connection(self.admin if admin else self.grpc, f"127.0.{1 + host // 256}.{host % 256}",
                                    self.end, **options)
        self.connections.append(one)
        return one

    def connect(self, *settings, **options):
        """A connection of HTTP/2 with these settings of ours."""
        one = self.raw(**options)
        one.greet(*settings)
        return one

    def many(self, count, *settings, **options):
        return [self.connect(*settings, **options) for _ in range(count)]

    def together(self, action, connections):
        """The same on all of them at the same time."""
        with concurrent.futures.ThreadPoolExecutor(len(connections)) as pool:
            list(pool.map(action, connections))

    def hold(self, seconds):
        """Reads and answers on all connections for so long."""
        connection.hold(self.connections, min(seconds, self.end - time.monotonic()))

    def stay(self, seconds):
        """The same after the attack."""
        connection.hold(self.connections, seconds)

    @property
    def sent_bytes(self):
        return sum(one.sent_bytes for one in self.connections)
