"""What the two clients share: a call as a value, channels, metadata, and the time for the tries."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import pathlib
import random
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf import message

from peerage import experts, reading, requests
from peerage.answers import Generation, Model, Scores, ServerStatus, Tokens
from peerage.errors import NotFound
from peerage.experts import ExpertKind, ExpertSummary, ExpertUsage, Window
from peerage.options import CallOptions, Prompt, ScoreItem
from peerage.retry import Attempts, RetryPolicy
from peerage.v1 import experts_pb2, inference_pb2, models_pb2

Answer = TypeVar("Answer")
Path = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """A method, its request, and how its response (or the list of its responses, when it streams
    them) becomes what the client reading."""

    method: str
    request: message.Message
    response: type[Any]
    read: Callable[[Any], Answer]
    options: CallOptions


def _inference(method: str, request: message.Message, response: type[Any],
               read: Callable[[Any], Answer], options: CallOptions) -> Call[Answer]:
    return Call(f"/peerage.v1.InferenceService/{method}", request, response, read, options)


def generate(prompt: Prompt, options: Any) -> Call[Generation]:
    return _inference("Generate", requests.generate(prompt, options),
                      inference_pb2.GenerateResponse, reading.generation_of,
                      requests.split_call_options(options))


def stream(prompt: Prompt, options: Any) -> Call[Any]:
    return _inference("GenerateStream", requests.stream(prompt, options),
                      inference_pb2.GenerateStreamResponse, lambda message: message,
                      requests.split_call_options(options))


def score(item: ScoreItem, options: Any) -> Call[Scores]:
    return _inference("Score", requests.score(item, options), inference_pb2.ScoreResponse,
                      reading.scores_of, requests.split_call_options(options))


def tokenize(prompt: Prompt, options: Any) -> Call[Tokens]:
    return _inference("Tokenize", requests.tokenize(prompt, options),
                      inference_pb2.TokenizeResponse, reading.tokens_of,
                      requests.split_call_options(options))


def detokenize(ids: Iterable[int], special_tokens: bool, model: str | None,
               options: CallOptions) -> Call[str]:
    request = inference_pb2.DetokenizeRequest(
        model=model or "", token_ids=ids, include_special_tokens=special_tokens)
    return _inference("Detokenize", request, inference_pb2.DetokenizeResponse,
                      lambda response: str(response.text), options)


def token_bytes(ids: Iterable[int], model: str | None,
                options: CallOptions) -> Call[tuple[bytes, ...]]:
    request = inference_pb2.DetokenizeRequest(model=model or "", token_ids=ids)
    return _inference("Detokenize", request, inference_pb2.DetokenizeResponse,
                      lambda response: tuple(response.tokens), options)


def models(options: CallOptions) -> Call[tuple[Model, ...]]:
    return Call("/peerage.v1.ModelService/ListModels", models_pb2.ListModelsRequest(),
                models_pb2.ListModelsResponse,
                lambda response: tuple(map(reading.model_of, response.models)), options)


def status(options: CallOptions) -> Call[ServerStatus]:
    return Call("/peerage.v1.AdminService/GetServerStatus", models_pb2.GetServerStatusRequest(),
                models_pb2.GetServerStatusResponse, reading.status_of, options)


def expert_usage(layer: int, kind: ExpertKind, window: Window, model: str | None,
                 options: CallOptions) -> Call[ExpertUsage]:
    request = experts_pb2.GetExpertUsageRequest(
        model=model or "", layer=layer, kind=experts.kind_name(kind),
        window=experts.window_name(window))
    return Call("/peerage.v1.ExpertService/GetExpertUsage", request,
                experts_pb2.GetExpertUsageResponse, experts.usage_of, options)


def watch_experts(interval: float | None, window: Window, model: str | None,
                  options: CallOptions) -> Call[ExpertSummary]:
    request = experts_pb2.WatchExpertSummaryRequest(
        model=model or "", window=experts.window_name(window))
    if interval is not None:
        request.interval.FromNanoseconds(round(interval * 1e9))
    return Call("/peerage.v1.ExpertService/WatchExpertSummary", request,
                experts_pb2.WatchExpertSummaryResponse, experts.summary_of, options)


def reset_expert_usage(model: str | None, options: CallOptions) -> Call[None]:
    return Call("/peerage.v1.ExpertService/ResetExpertUsage",
                experts_pb2.ResetExpertUsageRequest(model=model or ""),
                experts_pb2.ResetExpertUsageResponse, lambda response: None, options)


def kind_of_layer(served: Sequence[Model], model: str | None, layer: int) -> ExpertKind:
    """The kind of a layer's experts, for those who do not say it. Raises NotFound when the layer
    has none, ValueError when it has several."""
    kinds = [e.kind for m in served if model in (None, "", m.name) for e in m.expert_layers
             if e.layer == layer]
    if not kinds:
        raise NotFound(f"layer {layer} has no experts", code="NOT_FOUND")
    if len(kinds) > 1:
        raise ValueError(f"layer {layer} has experts of several kinds: {', '.join(kinds)}")
    return kinds[0]


# Methods of a channel of either client; both kinds of channels make them alike.


def unary(channel: Any, call: Call[Any]) -> Any:
    return channel.unary_unary(call.method,
                               request_serializer=type(call.request).SerializeToString,
                               response_deserializer=call.response.FromString)


def streamed(channel: Any, call: Call[Any]) -> Any:
    return channel.unary_stream(call.method,
                                request_serializer=type(call.request).SerializeToString,
                                response_deserializer=call.response.FromString)


def score_stream(channel: Any) -> Any:
    return channel.stream_stream(
        "/peerage.v1.InferenceService/ScoreStream",
        request_serializer=inference_pb2.ScoreStreamRequest.SerializeToString,
        response_deserializer=inference_pb2.ScoreStreamResponse.FromString)


VERSION = importlib.metadata.version("peerage")

_LOOPBACK = re.compile(r"(ipv[46]:)?(localhost|127(\.\d+){3}|\[::1\])(:\d+)?|unix:.*")


def channel_options(target: str) -> list[tuple[str, Any]]:
    """Of a channel to this server. Raises ValueError for what is no target but a web address."""
    if not target or "://" in target and not target.startswith(("dns:", "unix:", "xds:")):
        raise ValueError(f"server is {target!r}, must be HOST:PORT")
    options = [
        # A score of many continuations is larger than gRPC's default of 4 MiB.
        ("grpc.max_receive_message_length", -1),
        ("grpc.primary_user_agent", f"peerage-python/{VERSION}"),
    ]
    if _LOOPBACK.fullmatch(target):
        options.append(("grpc.enable_http_proxy", 0))  # no proxy leads to this machine itself
    return options


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """Whom a client trusts and what it shows: paths of files, as of `Client`."""

    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    token_file: Path | None = None
    insecure: bool = False

    def check(self, server: str, given: grpc.ChannelCredentials | None) -> None:
        """Raises ValueError where a token would leave this machine in the clear unmeant."""
        protected = (self.tls_ca is not None or given is not None or self.insecure
                     or _LOOPBACK.fullmatch(server))
        if self.token_file is not None and not protected:
            raise ValueError(f"the token would go to {server} in the clear: give tls_ca, or"
                             " insecure=True where something else protects it")

    def credentials(self, given: grpc.ChannelCredentials | None) -> grpc.ChannelCredentials | None:
        """TLS of the files, or what was given; None: plain. Raises ValueError for half of it."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key: one needs the other")
        if self.tls_ca is None:
            if self.tls_cert is not None:
                raise ValueError("tls_cert needs tls_ca")
            return given
        if given is not None:
            raise ValueError("credentials and tls_ca: give one of them")
        certificate, key, ca = (None if path is None else pathlib.Path(path).read_bytes()
                                for path in (self.tls_cert, self.tls_key, self.tls_ca))
        return grpc.ssl_channel_credentials(ca, key, certificate)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Shows the token. Raises ValueError, which does not repeat it, where there is none."""
        if self.token_file is None:
            return ()
        token = pathlib.Path(self.token_file).read_text(encoding="ascii").strip()
        if not re.fullmatch(r"[!-~]+", token):
            raise ValueError(f"{self.token_file} is not a token on a line")
        return (("authorization", f"Bearer {token}"),)


class Settings:
    """What a client was made with, and what each call makes of it."""

    def __init__(self, timeout: float | None, retry: RetryPolicy | None,
                 metadata: Sequence[tuple[str, str]]) -> None:
        self._timeout = timeout
        self._retry = retry or RetryPolicy(max_attempts=1)
        self._jitter = random.Random(self._retry.seed)
        self._metadata = tuple(metadata)

    def attempts(self, options: CallOptions) -> Attempts:
        return Attempts(self._retry, self._jitter, options.get("timeout", self._timeout))

    def metadata(self, options: CallOptions) -> tuple[tuple[str, str], ...]:
        request_id = options.get("request_id")
        own = (("x-request-id", request_id),) if request_id is not None else ()
        return (*self._metadata, *options.get("metadata", ()), *own)
