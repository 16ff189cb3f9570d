"""Which experts were used, as NumPy arrays: by one request (traces), and by a server (usage)."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from peerage.errors import DataLoss
from peerage.packed import array_of
from peerage.v1 import experts_pb2 as pb

#: As `peerage experts --kind` spells them.
ExpertKind = Literal["peer", "mixture_ffn", "mixture_attention", "product_key_memory"]
#: The last minutes, or everything since the start or a reset.
Window = Literal["recent", "total"]

#: The id of a place in a full trace that holds no pick.
NO_EXPERT = 0xFFFFFFFF

_KIND_PREFIX = "EXPERT_LAYER_KIND_"


def expert_kind(kind: int) -> ExpertKind:
    if kind not in pb.ExpertLayerKind.values():
        return cast(ExpertKind, f"kind_{kind}")  # a server newer than this client
    name = pb.ExpertLayerKind.Name(kind)
    return cast(ExpertKind, name.removeprefix(_KIND_PREFIX).lower())


def kind_name(kind: ExpertKind) -> str:
    """As the wire calls it. Raises ValueError for what is none."""
    name = _KIND_PREFIX + kind.upper()
    if name not in pb.ExpertLayerKind.keys():
        raise ValueError(f"kind is {kind!r}, must be one of {', '.join(get_args(ExpertKind))}")
    return name


def window_name(window: Window) -> str:
    """As the wire calls it. Raises ValueError for what is none."""
    if window not in get_args(Window):
        raise ValueError(f"window is {window!r}, must be recent or total")
    return f"USAGE_WINDOW_{window.upper()}"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LayerTrace:
    """What one layer picked for a request's tokens: prompt or context first, then candidates or
    continuations in their order. The last sampled token is never fed to the model."""

    layer: int
    kind: ExpertKind
    #: With experts per head, an id is head * N + expert, and this is heads * N.
    num_experts: int
    selections: int
    distinct_experts: int
    #: Of the usage weighted by scores, in nats.
    entropy_nats: float
    #: The at most 16 with the largest shares of the scores, largest first; uint32 and float64.
    top_expert_ids: npt.NDArray[np.uint32]
    top_expert_shares: npt.NDArray[np.float64]
    #: Of full traces, else None: every pick and its weight, [tokens, heads, top_k]. Where fewer
    #: experts were picked than there are places, the last of a head hold `NO_EXPERT` and 0.
    expert_ids: npt.NDArray[np.uint32] | None
    scores: npt.NDArray[np.float32] | None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """The picks of one request, layer by layer."""

    layers: tuple[LayerTrace, ...]
    #: What was asked of the routers, as it was given, if anything was.
    expert_control: pb.ExpertControl | None = None
    #: So many of the first tokens were not computed, and are in no layer.
    cached_tokens: int = 0

    def replay(self, *, scores: bool = True) -> pb.ExpertControl:
        """The control that makes a request take the picks of this full trace, in the trace's order
        of tokens: with its scores, or with those that the router itself gives to these experts.

        Raises ValueError when the trace is not full."""
        control = pb.ExpertControl()
        for layer in self.layers:
            if layer.expert_ids is None or layer.scores is None:
                raise ValueError("no full trace: ask for expert_trace=\"full\"")
            tokens, heads, top_k = layer.expert_ids.shape
            if tokens == 0:
                continue
            control.layers.add(
                layer=layer.layer, kind=pb.ExpertLayerKind.Value(kind_name(layer.kind)),
                forced=pb.ForcedPicks(
                    first_position=self.cached_tokens, tokens=tokens, heads=heads, top_k=top_k,
                    expert_ids=layer.expert_ids.astype("<u4").tobytes(),
                    scores=layer.scores.astype("<f4").tobytes() if scores else b""))
        return control

    def stacked(
            self, kind: ExpertKind | None = None,
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
        """Ids and scores of all layers (of a kind) of a full trace, [tokens, layers, heads, top_k].

        Raises ValueError when the trace is not full, or the layers differ in shape."""
        layers = [layer for layer in self.layers if kind in (None, layer.kind)]
        ids = [layer.expert_ids for layer in layers if layer.expert_ids is not None]
        scores = [layer.scores for layer in layers if layer.scores is not None]
        if not layers or len(ids) < len(layers):
            raise ValueError("no full trace of such layers: ask for expert_trace=\"full\"")
        return np.stack(ids, axis=1), np.stack(scores, axis=1)


def _layer_trace(message: pb.LayerTrace) -> LayerTrace:
    ids = scores = None
    if message.heads:  # a full trace, though it may have no tokens
        shape = (message.tokens, message.heads, message.top_k)
        ids = cast("npt.NDArray[np.uint32]", array_of(message.expert_ids, "u4", shape))
        scores = cast("npt.NDArray[np.float32]", array_of(message.scores, "f4", shape))
    return LayerTrace(
        message.layer, expert_kind(message.kind), message.num_experts, message.selections,
        message.distinct_experts, message.entropy_nats,
        np.array(message.top_expert_ids, np.uint32), np.array(message.top_expert_shares),
        ids, scores)


def trace_of(message: pb.ExpertTrace) -> Trace | None:
    """None for the empty trace of a request that asked for none."""
    if not message.layers:
        return None
    control = message.expert_control if message.HasField("expert_control") else None
    return Trace(tuple(map(_layer_trace, message.layers)), control, message.cached_tokens)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ExpertUsage:
    """How often each expert of a layer was picked in a window, and the sum of its weights."""

    model: str
    layer: int
    kind: ExpertKind
    tokens: int
    window_start: datetime.datetime
    window_end: datetime.datetime
    #: [num_experts]
    selections: npt.NDArray[np.uint64]
    score_sums: npt.NDArray[np.float64]


def usage_of(messages: Iterable[pb.GetExpertUsageResponse]) -> ExpertUsage:
    """Puts the chunks of GetExpertUsage together. Raises DataLoss when some are missing."""
    header, counts, sums, read = None, [], [], 0
    for message in messages:
        if message.HasField("header"):
            header = message.header
            continue
        if message.chunk.first_expert != read:
            raise DataLoss(f"experts from {read} on are missing", code="DATA_LOSS")
        counts.append(message.chunk.selections)
        sums.append(message.chunk.score_sums)
        read += len(message.chunk.selections) // 8
    if header is None:
        raise DataLoss("the usage has no header", code="DATA_LOSS")
    shape = (header.num_experts,)
    return ExpertUsage(
        header.model, header.layer, expert_kind(header.kind), header.tokens,
        header.window_start.ToDatetime(datetime.timezone.utc),
        header.window_end.ToDatetime(datetime.timezone.utc),
        cast("npt.NDArray[np.uint64]", array_of(b"".join(counts), "u8", shape)),
        cast("npt.NDArray[np.float64]", array_of(b"".join(sums), "f8", shape)))


@dataclasses.dataclass(frozen=True, slots=True)
class LayerSummary:
    """The figures of a layer that docs/experts.md explains."""

    layer: int
    kind: ExpertKind
    num_experts: int
    tokens: int
    selections: int
    used_ratio: float
    #: What an even router would have used by now.
    used_expected_ratio: float
    unevenness_nats: float
    #: What an even router shows by chance.
    unevenness_expected_nats: float
    effective_experts: float
    gini: float
    top_1_percent_share: float


@dataclasses.dataclass(frozen=True, slots=True)
class ExpertSummary:
    """All layers of a server at a time."""

    time: datetime.datetime
    layers: tuple[LayerSummary, ...]


def summary_of(message: pb.WatchExpertSummaryResponse) -> ExpertSummary:
    names = [f.name for f in dataclasses.fields(LayerSummary) if f.name != "kind"]
    layers = (LayerSummary(kind=expert_kind(layer.kind), **{n: getattr(layer, n) for n in names})
              for layer in message.layers)
    return ExpertSummary(message.time.ToDatetime(datetime.timezone.utc), tuple(layers))
