"""The same tests for Client and AsyncClient: a case is written once, in blocking words."""

import asyncio
import atexit

from peerage import AsyncClient, Client


# Of all tests: what grpc.aio still has to tell a loop that was closed would fail the next test.
LOOP = asyncio.new_event_loop()
atexit.register(LOOP.close)


class Blocking:
    """Mixed into a test case whose `client` is to be a Client."""

    def connect(self, address, **options):
        client = Client(address, **options)
        self.addCleanup(client.close)
        return client

    def all_of(self, stream):
        return list(stream)

    def first_of(self, stream):
        """The first item of a stream that is then left alone."""
        return next(iter(stream))

    def close(self, stream):
        stream.close()

    def wait_for(self, blocking):
        """What a function returns that waits for something outside of the client."""
        return blocking()


class _Awaiting:
    """An AsyncClient whose methods block; what is no coroutine is given as it is."""

    def __init__(self, loop, client):
        self._loop = loop
        self._client = client

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*arguments, **options):
            result = method(*arguments, **options)
            if asyncio.iscoroutine(result):
                return self._loop.run_until_complete(result)
            return result

        return call


class Asynchronous:
    """Mixed into a test case whose `client` is to be an AsyncClient."""

    loop = LOOP

    def connect(self, address, **options):
        async def make():
            return AsyncClient(address, **options)

        client = self.loop.run_until_complete(make())
        self.addCleanup(lambda: self.loop.run_until_complete(client.close()))
        return _Awaiting(self.loop, client)

    def all_of(self, stream):
        async def read():
            return [item async for item in stream]

        return self.loop.run_until_complete(read())

    def first_of(self, stream):
        async def read():
            async for item in stream:
                return item

        return self.loop.run_until_complete(read())

    def close(self, stream):
        self.loop.run_until_complete(stream.aclose())

    def wait_for(self, blocking):
        """What a function returns that waits for something outside of the client."""
        return self.loop.run_until_complete(self.loop.run_in_executor(None, blocking))
