"""What calls answer, as plain values. Times are seconds, log-probabilities natural logarithms."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator

from peerage.experts import ExpertKind, Trace
from peerage.hidden import LayerStates


class FinishReason(str, enum.Enum):
    """Why a candidate ended."""

    END_OF_SEQUENCE = "end_of_sequence"
    STOP = "stop"
    LENGTH = "length"
    #: A reason that this client is too old to know.
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


@dataclasses.dataclass(frozen=True, slots=True)
class Finish:
    """How a candidate ended; a stop string or a stop token that matched is named."""

    reason: FinishReason
    stop: str | None = None
    stop_token_id: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token and how likely it was. `logprob` is None only where nothing stood before it, `rank`
    is 1 for the most likely token, alternatives are (id, logprob), most likely first."""

    id: int
    logprob: float | None
    rank: int
    alternatives: tuple[tuple[int, float], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


@dataclasses.dataclass(frozen=True, slots=True)
class Timings:
    """Seconds, by the server's clock."""

    queue: float
    prefill: float
    decode: float
    #: From arrival.
    time_to_first_token: float


@dataclasses.dataclass(frozen=True, slots=True)
class ModelRef:
    """Which weights answered."""

    name: str
    fingerprint: str


@dataclasses.dataclass(frozen=True, slots=True)
class ResolvedSampling:
    """What the server made of the options, defaults and the seed that it drew included."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    seed: int
    candidates: int
    repetition_penalty: float
    frequency_penalty: float
    presence_penalty: float
    max_tokens: int


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """One continuation: its text without special tokens and matched stop string, and every sampled
    token's id. `logprobs` is empty unless they were asked for. `trace` is a stream's alone: the
    picks of this candidate, after the prompt's in the candidate that finished first."""

    index: int
    text: str
    ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...]
    finish: Finish
    trace: Trace | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Generation:
    """A whole answer. `text`, `ids`, `logprobs` and `finish_reason` are the first candidate's."""

    request_id: str
    candidates: tuple[Candidate, ...]
    sampling: ResolvedSampling
    usage: Usage
    timings: Timings
    model: ModelRef
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    #: Of prompt and all candidates; of a stream of several candidates see `Candidate.trace`.
    trace: Trace | None = None
    #: When asked for: the prompt's, then those of the candidates, by layer.
    hidden_states: tuple[LayerStates, ...] = ()

    @property
    def text(self) -> str:
        return self.candidates[0].text

    @property
    def ids(self) -> tuple[int, ...]:
        return self.candidates[0].ids

    @property
    def logprobs(self) -> tuple[TokenLogprob, ...]:
        return self.candidates[0].logprobs

    @property
    def finish_reason(self) -> FinishReason:
        return self.candidates[0].finish.reason


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """What a stream brings: tokens of a candidate, their text (which may lag behind unfinished
    characters and possible stop strings), and in the candidate's last piece how it ended."""

    index: int
    text: str
    ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ContinuationScore:
    """How likely a continuation is: the sum over its tokens, whether each token is the most likely
    one, and -logprob / (ln 2 * bytes)."""

    logprob: float
    is_greedy: bool
    tokens: tuple[TokenLogprob, ...]
    bits_per_byte: float


@dataclasses.dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one context's continuations, in their order: also by index and iteration."""

    request_id: str
    scores: tuple[ContinuationScore, ...]
    usage: Usage
    timings: Timings
    model: ModelRef
    trace: Trace | None = None
    #: When asked for: the context's, then those of the continuations, by layer.
    hidden_states: tuple[LayerStates, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int) -> ContinuationScore:
        return self.scores[index]

    def __iter__(self) -> Iterator[ContinuationScore]:
        return iter(self.scores)


@dataclasses.dataclass(frozen=True, slots=True)
class Tokens:
    """A tokenised prompt: ids, and the bytes of each, which may end inside a character."""

    ids: tuple[int, ...]
    pieces: tuple[bytes, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ExpertLayer:
    layer: int
    kind: ExpertKind
    num_experts: int
    heads: int
    top_k: int
    expert_names: tuple[str, ...]
    #: Of num_experts / expert_sets experts each: the heads, where each has its own, else 1.
    expert_sets: int


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """A served model; `active_parameters` are those that one token touches, `chat_template` is
    empty when the model has none that is understood, and `chat_template_error` then says why."""

    name: str
    fingerprint: str
    architecture: str
    total_parameters: int
    active_parameters: int
    num_layers: int
    hidden_size: int
    vocabulary_size: int
    context_length: int
    weights_dtype: str
    weights_bytes: int
    kv_bytes_per_token: int
    expert_layers: tuple[ExpertLayer, ...]
    chat_template: str
    chat_template_error: str


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerStatus:
    """`state` is "ready", "rebuilding" (its model failed, another one takes its place) or "lost"."""

    index: int
    device: str
    requests_running: int
    kv_blocks_total: int
    kv_blocks_free: int
    steps: int
    kernel_target: str
    state: str
    restarts: int
    requests_waiting: int
    #: Held by nobody, and kept for prompts that begin alike.
    kv_blocks_cached: int
    #: Tokens that were looked for in the prefix cache, and found there.
    prefix_cache_query_tokens: int
    prefix_cache_hit_tokens: int
    preemptions: int


@dataclasses.dataclass(frozen=True, slots=True)
class ServerStatus:
    version: str
    uptime_seconds: float
    draining: bool
    workers: tuple[WorkerStatus, ...]
    requests_waiting: int
    requests_running: int
