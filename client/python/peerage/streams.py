"""Answers that come piece by piece, each stream for both worlds: `Stream` blocks, `AsyncStream` is
awaited. A stream that is left early, by `close`, by `break` or by being forgotten, cancels its
call, and the server stops computing for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

import grpc

from peerage import errors
from peerage.answers import Generation, Piece
from peerage.assembly import Assembly
from peerage.retry import Attempts

Item = TypeVar("Item")

#: Begins the call with the seconds that it may take.
Start = Callable[[float | None], Any]
#: What a message brings; None when it brings nothing.
Read = Callable[[Any], Item | None]


class _Begun(Generic[Item]):
    """A stream's call, and the rule that it begins anew only while it has brought no message."""

    def __init__(self, start: Start, read: Read[Item], attempts: Attempts) -> None:
        self._start = start
        self._read = read
        self._attempts = attempts
        self._call: Any = None
        self._has_messages = False
        self._closed = False

    def _begin(self) -> Any:
        if self._call is None:
            self._call = self._start(self._attempts.remaining())
        return self._call

    def _delay_after(self, error: grpc.RpcError) -> float:
        problem = errors.from_rpc(error)
        if self._has_messages:
            raise problem from error
        self._call = None
        return self._attempts.delay_after(problem)

    def _cancel(self) -> None:
        self._closed = True
        if self._call is not None:
            self._call.cancel()


class Stream(_Begun[Item]):
    """An iterator, and a context manager that closes it. The call begins with the first item."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        while not self._closed:
            item = self._read(self._next_message())
            if item is not None:
                return item
        raise StopIteration

    def _next_message(self) -> Any:
        while True:
            try:
                message = next(self._begin())
                self._has_messages = True
                return message
            except grpc.RpcError as error:
                if self._closed:
                    raise StopIteration from None
                delay = self._delay_after(error)
            time.sleep(delay)

    def close(self) -> None:
        """Cancels the call if it still runs."""
        self._cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # A call that is forgotten is cancelled by gRPC itself.


class AsyncStream(_Begun[Item]):
    """An asynchronous iterator, and a context manager that closes it. The call begins with the
    first item."""

    _loop: asyncio.AbstractEventLoop

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while not self._closed:
            item = self._read(await self._next_message())
            if item is not None:
                return item
        raise StopAsyncIteration

    async def _next_message(self) -> Any:
        self._loop = asyncio.get_running_loop()
        while True:
            try:
                message = await self._begin().read()
                if message is grpc.aio.EOF:
                    raise StopAsyncIteration
                self._has_messages = True
                return message
            except grpc.RpcError as error:
                if self._closed:
                    raise StopAsyncIteration from None
                delay = self._delay_after(error)
            await asyncio.sleep(delay)

    async def aclose(self) -> None:
        """Cancels the call if it still runs."""
        self._cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # grpc.aio lets a forgotten call run on. Whoever collects garbage may be on another thread than the loop, or later than its end.
        if self._call is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._call.cancel)


class _Generated:
    """What both streams of pieces know of the whole."""

    _assembly: Assembly

    @property
    def request_id(self) -> str:
        """Empty before the first piece."""
        return self._assembly.request_id

    @property
    def prompt_tokens(self) -> int:
        """0 before the first piece."""
        return self._assembly.prompt_tokens

    @property
    def generation(self) -> Generation:
        """The whole answer, as `generate` gives it, once the stream has ended."""
        return self._assembly.generation()


class GenerationStream(Stream[Piece], _Generated):
    """Pieces of a generation; afterwards `generation` is the whole."""

    def __init__(self, start: Start, attempts: Attempts) -> None:
        self._assembly = Assembly()
        super().__init__(start, self._assembly.add, attempts)


class AsyncGenerationStream(AsyncStream[Piece], _Generated):
    """Pieces of a generation; afterwards `generation` is the whole."""

    def __init__(self, start: Start, attempts: Attempts) -> None:
        self._assembly = Assembly()
        super().__init__(start, self._assembly.add, attempts)
