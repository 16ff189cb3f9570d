"""The client that blocks."""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Self, TypeVar, Unpack, overload

import grpc

from peerage import errors, requests, transport
from peerage.answers import Generation, Model, Scores, ServerStatus, Tokens
from peerage.batch import Counter, Progress, ScoreBatch
from peerage.errors import PeerageError
from peerage.experts import ExpertKind, ExpertSummary, ExpertUsage, Window
from peerage.options import (CallOptions, Continuation, GenerateOptions, Message, Prompt,
                             PromptOptions, ScoreItem, ScoreOptions, StreamOptions)
from peerage.retry import RetryPolicy
from peerage.streams import GenerationStream, Stream
from peerage.transport import Answer, Call, Path

Item = TypeVar("Item")


class Client:
    """A server's calls, as methods that return when the answer is there. Safe to share by threads.

    Whatever fails raises a `PeerageError` (peerage.errors). A refusal for now is tried again as
    `retry` says.
    """

    def __init__(self, server: str = "localhost:50051", *, timeout: float | None = None,
                 retry: RetryPolicy | None = RetryPolicy(),
                 metadata: Sequence[tuple[str, str]] = (),
                 credentials: grpc.ChannelCredentials | None = None,
                 tls_ca: Path | None = None, tls_cert: Path | None = None,
                 tls_key: Path | None = None, token_file: Path | None = None,
                 insecure: bool = False) -> None:
        """`timeout`: seconds for each call, tries and waiting included; None waits for ever.
        `retry`: None never tries again. `metadata`: sent with every call, as in
        [("x-team", "...")] for a proxy in front. TLS comes with `tls_ca`, a file of the
        certificates to trust, and `tls_cert` and `tls_key`, the client's own, or with `credentials`,
        made by grpc.ssl_channel_credentials(); without, the connection is plain. `token_file`: its
        token is shown with every call; without TLS it leaves this machine only where `insecure`
        says that something else protects it."""
        options = transport.channel_options(server)
        identity = transport.Identity(tls_ca, tls_cert, tls_key, token_file, insecure)
        identity.check(server, credentials)
        credentials = identity.credentials(credentials)
        #: What is below: for stubs of peerage.v1, which know all of the wire contract.
        self.channel: grpc.Channel = (
            grpc.insecure_channel(server, options) if credentials is None
            else grpc.secure_channel(server, credentials, options))
        self._settings = transport.Settings(timeout, retry, (*metadata, *identity.metadata()))

    def close(self) -> None:
        """Ends the calls that run."""
        self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def models(self, **options: Unpack[CallOptions]) -> tuple[Model, ...]:
        """What is served."""
        return self._unary(transport.models(options))

    def status(self, **options: Unpack[CallOptions]) -> ServerStatus:
        """How the server is doing."""
        return self._unary(transport.status(options))

    def generate(self, prompt: Prompt | None = None, *, messages: Sequence[Message] | None = None,
                 ids: Sequence[int] | None = None,
                 **options: Unpack[GenerateOptions]) -> Generation:
        """Continues a text, the turns of a chat, or token ids."""
        given = requests.one_prompt(prompt, messages, ids)
        return self._unary(transport.generate(given, options))

    def stream(self, prompt: Prompt | None = None, *, messages: Sequence[Message] | None = None,
               ids: Sequence[int] | None = None,
               **options: Unpack[StreamOptions]) -> GenerationStream:
        """Like `generate`, piece by piece. Leaving the loop cancels the call."""
        given = requests.one_prompt(prompt, messages, ids)
        call = transport.stream(given, options)
        return GenerationStream(self._begin, call, self._settings.attempts(call.options))

    def generate_many(self, prompts: Iterable[Prompt], *, concurrency: int = 32,
                      progress: Progress = None, **options: Unpack[GenerateOptions]
                      ) -> Iterator[Generation]:
        """An answer for each prompt, in their order, of which `concurrency` are asked at a time.
        `progress`: True for a bar of tqdm, or a function of (done, total). Who leaves the loop
        waits for the calls that run."""
        with Counter(progress, prompts, "answer") as counter:
            with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
                left = iter(prompts)
                running = collections.deque(
                    pool.submit(self.generate, prompt, **options)
                    for prompt in itertools.islice(left, 2 * concurrency))
                try:
                    while running:
                        answer = running.popleft().result()
                        counter.count()
                        running.extend(pool.submit(self.generate, prompt, **options)
                                       for prompt in itertools.islice(left, 1))
                        yield answer
                finally:
                    for future in running:
                        future.cancel()

    def score(self, context: Prompt, continuations: Sequence[Continuation],
              **options: Unpack[ScoreOptions]) -> Scores:
        """How likely each continuation is after the context, which is computed once. A continuation
        is tokenised by itself; give ids where text and context should be tokenised together."""
        return self._unary(transport.score(ScoreItem(context, continuations), options))

    @overload
    def score_many(self, items: Iterable[ScoreItem], *, progress: Progress = None,
                   return_exceptions: Literal[False] = False,
                   **options: Unpack[ScoreOptions]) -> Iterator[Scores]: ...

    @overload
    def score_many(self, items: Iterable[ScoreItem], *, progress: Progress = None,
                   return_exceptions: bool,
                   **options: Unpack[ScoreOptions]) -> Iterator[Scores | PeerageError]: ...

    def score_many(self, items: Iterable[ScoreItem], *, progress: Progress = None,
                   return_exceptions: bool = False, **options: Unpack[ScoreOptions]
                   ) -> Iterator[Scores | PeerageError]:
        """The scores of each item, in their order, over one call; items are read as they are sent.
        The options are the same for all. `progress` is generate_many's. An item that fails ends the
        batch, unless `return_exceptions` has its error take its place."""
        call_options = requests.split_call_options(options)
        attempts = self._settings.attempts(call_options)
        batch = ScoreBatch(items, options, attempts, return_exceptions)
        with Counter(progress, items, "item") as counter:
            delay: float | None = 0.0
            while delay is not None:
                time.sleep(delay)
                call = transport.score_stream(self.channel)(
                    batch.messages(), timeout=attempts.remaining(),
                    metadata=self._settings.metadata(call_options))
                try:
                    for message in call:
                        for answer in batch.add(message):
                            counter.count()
                            yield answer
                except grpc.RpcError as error:
                    batch.stream_failed(errors.from_rpc(error))
                finally:
                    call.cancel()
                delay = batch.next_delay()

    def tokenize(self, prompt: Prompt, **options: Unpack[PromptOptions]) -> Tokens:
        """The tokens of a text, or of a chat as the model gets it."""
        return self._unary(transport.tokenize(prompt, options))

    def detokenize(self, ids: Iterable[int], *, special_tokens: bool = False,
                   model: str | None = None, **options: Unpack[CallOptions]) -> str:
        """The text of tokens."""
        return self._unary(transport.detokenize(ids, special_tokens, model, options))

    def token_bytes(self, ids: Iterable[int], *, model: str | None = None,
                    **options: Unpack[CallOptions]) -> tuple[bytes, ...]:
        """The bytes of each token, special or not; they may end inside a character."""
        return self._unary(transport.token_bytes(ids, model, options))

    def expert_usage(self, layer: int, *, kind: ExpertKind | None = None,
                     window: Window = "total", model: str | None = None,
                     **options: Unpack[CallOptions]) -> ExpertUsage:
        """How often each expert of a layer was picked. `kind` is needed where a layer has several
        kinds."""
        found = kind or transport.kind_of_layer(self.models(**options), model, layer)
        call = transport.expert_usage(layer, found, window, model, options)
        attempts = self._settings.attempts(options)
        while True:
            try:
                return call.read(self._begin(call, attempts.remaining()))
            except grpc.RpcError as error:
                delay = attempts.delay_after(errors.from_rpc(error))
            time.sleep(delay)

    def watch_experts(self, *, interval: float | None = None, window: Window = "total",
                      model: str | None = None,
                      **options: Unpack[CallOptions]) -> Stream[ExpertSummary]:
        """The figures of all layers, now and then every `interval` seconds (15), until closed."""
        call = transport.watch_experts(interval, window, model, options)
        return Stream(self._begin, call, self._settings.attempts(options))

    def expert_summary(self, *, window: Window = "total", model: str | None = None,
                       **options: Unpack[CallOptions]) -> ExpertSummary:
        """The figures of all layers, now."""
        with self.watch_experts(window=window, model=model, **options) as summaries:
            return next(summaries)

    def reset_expert_usage(self, *, model: str | None = None,
                           **options: Unpack[CallOptions]) -> None:
        """Begins a new window "total"."""
        self._unary(transport.reset_expert_usage(model, options))

    def _unary(self, call: Call[Answer]) -> Answer:
        method = transport.unary(self.channel, call)
        attempts = self._settings.attempts(call.options)
        while True:
            try:
                response = method(call.request, timeout=attempts.remaining(),
                                  metadata=self._settings.metadata(call.options))
                return call.read(response)
            except grpc.RpcError as error:
                delay = attempts.delay_after(errors.from_rpc(error))
            time.sleep(delay)

    def _begin(self, call: Call[Any], timeout: float | None) -> Any:
        """A call that streams its responses, as an iterator."""
        return transport.streamed(self.channel, call)(
            call.request, timeout=timeout, metadata=self._settings.metadata(call.options))
