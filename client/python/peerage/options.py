"""What callers give: prompts, and options by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from peerage.v1 import experts_pb2


class Message(TypedDict):
    """A turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


#: A text, in which special tokens are recognised; token ids; or the turns of a chat.
Prompt = str | Sequence[int] | Sequence[Message]
#: A text, tokenised by itself, or token ids.
Continuation = str | Sequence[int]
TraceLevel = Literal["none", "summary", "full"]


class HiddenStates(TypedDict):
    """Which hidden states a request reports, the rows of the residual stream."""

    #: 0 is the embedding, i what the i-th layer leaves, num_layers + 1 that after the final norm.
    layers: Iterable[int]
    #: Of prompt and generated tokens, or of context and each continuation; or all of a part, where
    #: "generated" is the continuation of a score, too. Default: "all".
    positions: NotRequired[Iterable[int] | Literal["prompt", "generated", "all"]]


class CallOptions(TypedDict, total=False):
    """What every call takes."""

    #: Seconds for all tries together; None waits for ever. Default: the client's.
    timeout: float | None
    #: At most 128 characters; the server makes one up otherwise.
    request_id: str | None
    #: Metadata beside the client's own, for a proxy, say.
    metadata: Sequence[tuple[str, str]]


class PromptOptions(CallOptions, total=False):
    #: Name of the model; not needed where the server has one.
    model: str | None
    #: Whether the prompt gets the tokenizer's BOS token in front. Default: for a text what the
    #: tokenizer's configuration says, for ids and chats no.
    add_bos: bool | None


class RequestOptions(PromptOptions, total=False):
    #: Lower runs sooner: -100 to 100, default 0.
    priority: int | None
    #: Groups share the server fairly, by tokens. At most 128 bytes, default "".
    tenant: str | None
    #: Seconds after which a request that has not started is refused.
    queue_timeout: float | None
    #: Which experts the request used, where the server allows it.
    expert_trace: TraceLevel | None
    #: What is asked of the model's routers, layer by layer: experts to mask, to bias or to force
    #: (`ExpertControl` in experts.proto). A message, or a dict of its fields, in which a kind is
    #: written as an `ExpertKind`; `Trace.replay` makes one of a full trace.
    expert_control: experts_pb2.ExpertControl | Mapping[str, Any] | None
    #: What the model makes of chosen tokens behind chosen layers.
    hidden_states: HiddenStates | None


class GenerateOptions(RequestOptions, total=False):
    """What generate, stream and generate_many take; ranges and defaults are the wire contract's
    (`Sampling`, `Stopping` and `Output` in inference.proto)."""

    #: 0 takes the likeliest token always. Default 1.
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    #: The same seed gives the same tokens. Default: the server draws one and reports it.
    seed: int | None
    #: Independent continuations, 1 to 16.
    candidates: int | None
    repetition_penalty: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    #: Added to the logits of token ids.
    logit_bias: Mapping[int, float] | None
    #: Default: 128, or what the context leaves.
    max_tokens: int | None
    min_tokens: int | None
    #: Texts that end a candidate, left out of it.
    stop: str | Sequence[str] | None
    stop_token_ids: Sequence[int] | None
    ignore_eos: bool | None
    #: Alternatives reported for each token, 0 to 20; 0 is the sampled token alone, None nothing.
    logprobs: int | None
    prompt_logprobs: bool | None


class StreamOptions(GenerateOptions, total=False):
    #: Tokens gathered before a piece is sent, 1 to 1024. Default 1.
    tokens_per_message: int | None


class ScoreOptions(RequestOptions, total=False):
    """What score and score_many take."""

    #: Alternatives reported for each token, 0 to 20.
    logprobs: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class ScoreItem:
    """A context and its continuations, for score_many."""

    context: Prompt
    continuations: Sequence[Continuation]
