"""A streamed generation, put together as its messages come."""

from __future__ import annotations

import dataclasses
from typing import Any

from peerage.answers import (Candidate, Finish, Generation, ModelRef, Piece, ResolvedSampling,
                             Timings, TokenLogprob, Usage)
from peerage.errors import DataLoss, FailedPrecondition
from peerage.experts import Trace, trace_of
from peerage.hidden import LayerStates, hidden_of
from peerage.reading import (finish_of, logprobs_of, model_ref_of, sampling_of, timings_of,
                             usage_of)
from peerage.v1 import inference_pb2 as pb


@dataclasses.dataclass(slots=True)
class _Parts:
    """Of one candidate."""

    text: list[str] = dataclasses.field(default_factory=list)
    ids: list[int] = dataclasses.field(default_factory=list)
    logprobs: list[TokenLogprob] = dataclasses.field(default_factory=list)
    finish: Finish | None = None
    trace: Trace | None = None


class Assembly:
    """Takes every message of a GenerateStream in order, and of those that go on with it when it
    broke: pieces come out at once, the whole at the end."""

    def __init__(self) -> None:
        self.request_id = ""
        self.resumed = 0  # how often it went on
        self.prompt_tokens = 0
        self.sampling: ResolvedSampling | None = None
        self.model: ModelRef | None = None
        self._hidden_states: list[LayerStates] = []
        self._prompt_logprobs: list[TokenLogprob] = []
        self._parts: dict[int, _Parts] = {}
        self._completion_tokens = 0
        self._timings: Timings | None = None

    def add(self, message: pb.GenerateStreamResponse) -> Piece | None:
        """The piece that the message brings; None when it brings none."""
        match message.WhichOneof("event"):
            case "started":
                self._start(message.started)
            case "prompt_logprobs":
                self._prompt_logprobs += logprobs_of(message.prompt_logprobs.tokens)
            case "delta":
                return self._add_delta(message.delta)
            case "finished":
                return self._finish(message.finished)
        return None

    @property
    def ids(self) -> list[int]:
        """The first candidate's tokens."""
        return self._part(0).ids

    def rest_of(self, request: Any) -> pb.GenerateStreamRequest | None:
        """What asks for what did not come yet. None when nothing does: of several candidates, or
        before the seed is known."""
        if self.sampling is None or self.sampling.candidates != 1:
            return None
        rest = pb.GenerateStreamRequest()
        rest.CopyFrom(request)
        rest.request.sampling.seed = self.sampling.seed
        if self.ids:
            rest.request.generated_token_ids.ids[:] = self.ids
            if rest.request.output.prompt_logprobs:  # they came before the first token
                rest.request.output.ClearField("prompt_logprobs")
        return rest

    def _start(self, started: pb.Started) -> None:
        model = model_ref_of(started.model)
        if self.model is not None:
            self.resumed += 1
            if self.model.fingerprint != model.fingerprint:
                raise FailedPrecondition("the stream broke, and the server now has other weights",
                                         code="FAILED_PRECONDITION", request_id=self.request_id)
        self.request_id = started.request_id
        self.prompt_tokens = started.prompt_tokens
        self.sampling = sampling_of(started.sampling)
        self.model = model
        if not self._parts:
            self._parts = {i: _Parts() for i in range(self.sampling.candidates)}
        if not self.ids:
            self._prompt_logprobs.clear()  # they come again

    def _part(self, index: int) -> _Parts:
        return self._parts.setdefault(index, _Parts())

    def _add_delta(self, delta: pb.Delta) -> Piece:
        piece = Piece(delta.index, delta.text, tuple(delta.token_ids), logprobs_of(delta.logprobs))
        part = self._part(piece.index)
        part.text.append(piece.text)
        part.ids += piece.ids
        part.logprobs += piece.logprobs
        return piece

    def _finish(self, finished: pb.Finished) -> Piece:
        part = self._part(finished.index)
        part.finish = finish_of(finished.finish)
        part.trace = trace_of(finished.expert_trace)
        self._hidden_states += hidden_of(finished.hidden_states)
        self._completion_tokens += usage_of(finished.usage).completion_tokens
        self._timings = timings_of(finished.timings)
        return Piece(finished.index, "", finish=part.finish)

    def generation(self) -> Generation:
        """The whole. Raises DataLoss when the stream ended early."""
        candidates = tuple(
            Candidate(i, "".join(p.text), tuple(p.ids), tuple(p.logprobs), p.finish, p.trace)
            for i, p in sorted(self._parts.items()) if p.finish is not None)
        if (len(candidates) < len(self._parts) or not candidates or self.sampling is None
                or self.model is None or self._timings is None):
            raise DataLoss("the stream ended before its candidates", code="DATA_LOSS")
        return Generation(
            self.request_id, candidates, self.sampling,
            Usage(self.prompt_tokens, self._completion_tokens), self._timings, self.model,
            tuple(self._prompt_logprobs),
            candidates[0].trace if len(candidates) == 1 else None,
            # As in an answer at once: the prompt's first, then by index.
            tuple(sorted(self._hidden_states,
                         key=lambda s: -1 if s.index is None else s.index)))
