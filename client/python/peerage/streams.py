"""Answers that come piece by piece, each stream for both worlds: `Stream` blocks, `AsyncStream` is
awaited. A stream that is left early, by `close`, by `break` or by being forgotten, cancels its
call, and the server stops computing for it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

import grpc

from peerage import errors
from peerage.answers import Generation, Piece
from peerage.assembly import Assembly
from peerage.errors import PeerageError, Unavailable
from peerage.retry import Attempts
from peerage.transport import Call

Item = TypeVar("Item")

#: Begins a call with the seconds that it may take.
Start = Callable[[Call[Any], float | None], Any]


class _Begun(Generic[Item]):
    """A stream's call, and the rule that it begins anew only while it has brought no message,
    unless there is a way to ask for the rest."""

    def __init__(self, start: Start, asked: Call[Item] | Call[Item | None],
                 attempts: Attempts) -> None:
        self._start = start
        self._asked: Call[Any] = asked  # its `read` says what a message brings; None when it brings nothing
        self._attempts = attempts
        self._call: Any = None
        self._has_messages = False
        self._closed = False

    def _begin(self) -> Any:
        if self._call is None:
            self._call = self._start(self._asked, self._attempts.remaining())
        return self._call

    def _delay_after(self, error: grpc.RpcError) -> float:
        problem = errors.from_rpc(error)
        if not self._has_messages:
            self._call = None
            return self._attempts.delay_after(problem)
        rest = self._rest_after(problem)
        if rest is None:
            raise problem from error
        delay = self._attempts.delay_after_break(problem)
        self._call, self._asked = None, rest
        return delay

    def _rest_after(self, problem: PeerageError) -> Call[Any] | None:
        """What asks for the rest of a stream that broke so; None when nothing does."""
        return None

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
            item: Item | None = self._asked.read(self._next_message())
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
            item: Item | None = self._asked.read(await self._next_message())
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


class _Generated(_Begun[Piece]):
    """What both streams of pieces know of the whole."""

    def __init__(self, start: Start, asked: Call[Any], attempts: Attempts) -> None:
        self._assembly = Assembly()
        self._known = 0  # tokens, when the stream last broke
        super().__init__(start, dataclasses.replace(asked, read=self._assembly.add), attempts)

    def _rest_after(self, problem: PeerageError) -> Call[Any] | None:
        if not isinstance(problem, Unavailable) and problem.retry_delay is None:
            return None
        request = self._assembly.rest_of(self._asked.request)
        if request is None:
            return None
        if len(self._assembly.ids) > self._known:
            self._attempts.begin_anew()
        self._known = len(self._assembly.ids)
        return dataclasses.replace(self._asked, request=request)

    @property
    def request_id(self) -> str:
        """Empty before the first piece. Of the last call, when the stream broke."""
        return self._assembly.request_id

    @property
    def resumed(self) -> int:
        """How often the stream broke and went on."""
        return self._assembly.resumed

    @property
    def prompt_tokens(self) -> int:
        """0 before the first piece."""
        return self._assembly.prompt_tokens

    @property
    def generation(self) -> Generation:
        """The whole answer, as `generate` gives it, once the stream has ended."""
        return self._assembly.generation()


class GenerationStream(_Generated, Stream[Piece]):
    """Pieces of a generation; afterwards `generation` is the whole."""


class AsyncGenerationStream(_Generated, AsyncStream[Piece]):
    """Pieces of a generation; afterwards `generation` is the whole."""
