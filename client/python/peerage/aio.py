"""The client for asyncio: `Client`'s methods, awaited."""

from __future__ import annotations

import asyncio
import collections
import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Literal, Self, Unpack, overload

import grpc
import grpc.aio

from peerage import errors, requests, transport
from peerage.answers import Generation, Model, Scores, ServerStatus, Tokens
from peerage.batch import Counter, Progress, ScoreBatch
from peerage.errors import PeerageError
from peerage.experts import ExpertKind, ExpertSummary, ExpertUsage, Window
from peerage.options import (CallOptions, Continuation, GenerateOptions, Message, Prompt,
                             PromptOptions, ScoreItem, ScoreOptions, StreamOptions)
from peerage.retry import RetryPolicy
from peerage.streams import AsyncGenerationStream, AsyncStream
from peerage.transport import Answer, Call, Path


class AsyncClient:
    """What `Client` is, for one event loop. Cancelling a task cancels its call on the server."""

    def __init__(self, server: str = "localhost:50051", *, timeout: float | None = None,
                 retry: RetryPolicy | None = RetryPolicy(),
                 metadata: Sequence[tuple[str, str]] = (),
                 credentials: grpc.ChannelCredentials | None = None,
                 tls_ca: Path | None = None, tls_cert: Path | None = None,
                 tls_key: Path | None = None, token_file: Path | None = None,
                 insecure: bool = False) -> None:
        """As Client's. To be made inside the event loop."""
        options = transport.channel_options(server)
        identity = transport.Identity(tls_ca, tls_cert, tls_key, token_file, insecure)
        identity.check(server, credentials)
        credentials = identity.credentials(credentials)
        #: What is below: for stubs of peerage.v1, which know all of the wire contract.
        self.channel: grpc.aio.Channel = (
            grpc.aio.insecure_channel(server, options) if credentials is None
            else grpc.aio.secure_channel(server, credentials, options))
        self._settings = transport.Settings(timeout, retry, (*metadata, *identity.metadata()))

    async def close(self) -> None:
        """Ends the calls that run."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def models(self, **options: Unpack[CallOptions]) -> tuple[Model, ...]:
        """What is served."""
        return await self._unary(transport.models(options))

    async def status(self, **options: Unpack[CallOptions]) -> ServerStatus:
        """How the server is doing."""
        return await self._unary(transport.status(options))

    async def generate(self, prompt: Prompt | None = None, *,
                       messages: Sequence[Message] | None = None, ids: Sequence[int] | None = None,
                       **options: Unpack[GenerateOptions]) -> Generation:
        """Continues a text, the turns of a chat, or token ids."""
        given = requests.one_prompt(prompt, messages, ids)
        return await self._unary(transport.generate(given, options))

    def stream(self, prompt: Prompt | None = None, *, messages: Sequence[Message] | None = None,
               ids: Sequence[int] | None = None,
               **options: Unpack[StreamOptions]) -> AsyncGenerationStream:
        """Like `generate`, piece by piece. Leaving the loop cancels the call."""
        given = requests.one_prompt(prompt, messages, ids)
        call = transport.stream(given, options)
        return AsyncGenerationStream(self._begin, call, self._settings.attempts(call.options))

    async def generate_many(self, prompts: Iterable[Prompt], *, concurrency: int = 32,
                            progress: Progress = None, **options: Unpack[GenerateOptions]
                            ) -> AsyncIterator[Generation]:
        """An answer for each prompt, in their order, of which `concurrency` are asked at a time.
        `progress`: True for a bar of tqdm, or a function of (done, total)."""
        with Counter(progress, prompts, "answer") as counter:
            left = iter(prompts)
            running = collections.deque(self._task(p, options)
                                        for p in itertools.islice(left, concurrency))
            try:
                while running:
                    answer = await running.popleft()
                    counter.count()
                    running.extend(self._task(p, options) for p in itertools.islice(left, 1))
                    yield answer
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)

    def _task(self, prompt: Prompt, options: GenerateOptions) -> asyncio.Task[Generation]:
        return asyncio.create_task(self.generate(prompt, **options))

    async def score(self, context: Prompt, continuations: Sequence[Continuation],
                    **options: Unpack[ScoreOptions]) -> Scores:
        """How likely each continuation is after the context, which is computed once. A continuation
        is tokenised by itself; give ids where text and context should be tokenised together."""
        return await self._unary(transport.score(ScoreItem(context, continuations), options))

    @overload
    def score_many(self, items: Iterable[ScoreItem], *, progress: Progress = None,
                   return_exceptions: Literal[False] = False,
                   **options: Unpack[ScoreOptions]) -> AsyncIterator[Scores]: ...

    @overload
    def score_many(self, items: Iterable[ScoreItem], *, progress: Progress = None,
                   return_exceptions: bool,
                   **options: Unpack[ScoreOptions]) -> AsyncIterator[Scores | PeerageError]: ...

    async def score_many(self, items: Iterable[ScoreItem], *, progress: Progress = None,
                         return_exceptions: bool = False, **options: Unpack[ScoreOptions]
                         ) -> AsyncIterator[Scores | PeerageError]:
        """The scores of each item, in their order, over one call; items are read as they are sent.
        The options are the same for all. `progress` is generate_many's. An item that fails ends the
        batch, unless `return_exceptions` has its error take its place."""
        call_options = requests.split_call_options(options)
        attempts = self._settings.attempts(call_options)
        batch = ScoreBatch(items, options, attempts, return_exceptions)
        with Counter(progress, items, "item") as counter:
            delay: float | None = 0.0
            while delay is not None:
                await asyncio.sleep(delay)
                call = transport.score_stream(self.channel)(
                    batch.messages(), timeout=attempts.remaining(),
                    metadata=self._settings.metadata(call_options))
                try:
                    async for message in call:
                        for answer in batch.add(message):
                            counter.count()
                            yield answer
                except grpc.RpcError as error:
                    batch.stream_failed(errors.from_rpc(error))
                finally:
                    call.cancel()
                delay = batch.next_delay()

    async def tokenize(self, prompt: Prompt, **options: Unpack[PromptOptions]) -> Tokens:
        """The tokens of a text, or of a chat as the model gets it."""
        return await self._unary(transport.tokenize(prompt, options))

    async def detokenize(self, ids: Iterable[int], *, special_tokens: bool = False,
                         model: str | None = None, **options: Unpack[CallOptions]) -> str:
        """The text of tokens."""
        return await self._unary(transport.detokenize(ids, special_tokens, model, options))

    async def token_bytes(self, ids: Iterable[int], *, model: str | None = None,
                          **options: Unpack[CallOptions]) -> tuple[bytes, ...]:
        """The bytes of each token, special or not; they may end inside a character."""
        return await self._unary(transport.token_bytes(ids, model, options))

    async def expert_usage(self, layer: int, *, kind: ExpertKind | None = None,
                           window: Window = "total", model: str | None = None,
                           **options: Unpack[CallOptions]) -> ExpertUsage:
        """How often each expert of a layer was picked. `kind` is needed where a layer has several
        kinds."""
        found = kind or transport.kind_of_layer(await self.models(**options), model, layer)
        call = transport.expert_usage(layer, found, window, model, options)
        attempts = self._settings.attempts(options)
        while True:
            try:
                return call.read([message async for message
                                  in self._begin(call, attempts.remaining())])
            except grpc.RpcError as error:
                delay = attempts.delay_after(errors.from_rpc(error))
            await asyncio.sleep(delay)

    def watch_experts(self, *, interval: float | None = None, window: Window = "total",
                      model: str | None = None,
                      **options: Unpack[CallOptions]) -> AsyncStream[ExpertSummary]:
        """The figures of all layers, now and then every `interval` seconds (15), until closed."""
        call = transport.watch_experts(interval, window, model, options)
        return AsyncStream(self._begin, call, self._settings.attempts(options))

    async def expert_summary(self, *, window: Window = "total", model: str | None = None,
                             **options: Unpack[CallOptions]) -> ExpertSummary:
        """The figures of all layers, now."""
        async with self.watch_experts(window=window, model=model, **options) as summaries:
            return await anext(summaries)

    async def reset_expert_usage(self, *, model: str | None = None,
                                 **options: Unpack[CallOptions]) -> None:
        """Begins a new window "total"."""
        await self._unary(transport.reset_expert_usage(model, options))

    async def _unary(self, call: Call[Answer]) -> Answer:
        method = transport.unary(self.channel, call)
        attempts = self._settings.attempts(call.options)
        while True:
            try:
                response = await method(call.request, timeout=attempts.remaining(),
                                        metadata=self._settings.metadata(call.options))
                return call.read(response)
            except grpc.RpcError as error:
                delay = attempts.delay_after(errors.from_rpc(error))
            await asyncio.sleep(delay)

    def _begin(self, call: Call[Any], timeout: float | None) -> Any:
        """A call that streams its responses, as an asynchronous iterator."""
        return transport.streamed(self.channel, call)(
            call.request, timeout=timeout, metadata=self._settings.metadata(call.options))
