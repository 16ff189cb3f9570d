"""Messages become the values of peerage.answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

from google.protobuf import duration_pb2

from peerage.answers import (Candidate, ContinuationScore, ExpertLayer, Finish, FinishReason,
                             Generation, Model, ModelRef, ResolvedSampling, Scores, ServerStatus,
                             Timings, TokenLogprob, Tokens, Usage, WorkerStatus)
from peerage.experts import expert_kind, trace_of
from peerage.hidden import hidden_of
from peerage.v1 import inference_pb2 as pb
from peerage.v1 import models_pb2

Value = TypeVar("Value")


def _same_fields(kind: type[Value], message: Any, /, **others: object) -> Value:
    """A value whose fields are called as the message's are; `others` are given."""
    names = (f.name for f in dataclasses.fields(kind))  # type: ignore[arg-type]
    return kind(**{n: others[n] if n in others else getattr(message, n) for n in names})


def _seconds(duration: duration_pb2.Duration) -> float:
    return duration.ToNanoseconds() / 1e9


def logprobs_of(messages: Iterable[pb.TokenLogprob]) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(m.token_id, m.logprob if m.HasField("logprob") else None, m.rank,
                     tuple(zip(m.alternative_ids, m.alternative_logprobs, strict=True)))
        for m in messages)


_REASONS = {
    pb.FINISH_REASON_END_OF_SEQUENCE: FinishReason.END_OF_SEQUENCE,
    pb.FINISH_REASON_STOP: FinishReason.STOP,
    pb.FINISH_REASON_LENGTH: FinishReason.LENGTH,
}


def finish_of(message: pb.Finish) -> Finish:
    return Finish(_REASONS.get(message.reason, FinishReason.UNKNOWN),
                  message.stop if message.HasField("stop") else None,
                  message.stop_token_id if message.HasField("stop_token_id") else None)


def timings_of(message: pb.Timings) -> Timings:
    return Timings(_seconds(message.queue), _seconds(message.prefill), _seconds(message.decode),
                   _seconds(message.time_to_first_token))


def usage_of(message: pb.Usage) -> Usage:
    return _same_fields(Usage, message)


def sampling_of(message: pb.ResolvedSampling) -> ResolvedSampling:
    return _same_fields(ResolvedSampling, message)


def model_ref_of(message: pb.ModelRef) -> ModelRef:
    return _same_fields(ModelRef, message)


def generation_of(message: pb.GenerateResponse) -> Generation:
    candidates = (Candidate(c.index, c.text, tuple(c.token_ids), logprobs_of(c.logprobs),
                            finish_of(c.finish)) for c in message.candidates)
    return Generation(
        message.request_id, tuple(candidates), sampling_of(message.sampling),
        usage_of(message.usage), timings_of(message.timings), model_ref_of(message.model),
        logprobs_of(message.prompt_logprobs), trace_of(message.expert_trace),
        hidden_of(message.hidden_states))


def scores_of(message: pb.ScoreResponse) -> Scores:
    scores = (_same_fields(ContinuationScore, s, tokens=logprobs_of(s.tokens))
              for s in message.scores)
    return Scores(message.request_id, tuple(scores), usage_of(message.usage),
                  timings_of(message.timings), model_ref_of(message.model),
                  trace_of(message.expert_trace), hidden_of(message.hidden_states))


def tokens_of(message: pb.TokenizeResponse) -> Tokens:
    return Tokens(tuple(message.token_ids), tuple(message.tokens))


def model_of(message: models_pb2.Model) -> Model:
    layers = (_same_fields(ExpertLayer, layer, kind=expert_kind(layer.kind),
                           expert_names=tuple(layer.expert_names))
              for layer in message.expert_layers)
    return _same_fields(Model, message, expert_layers=tuple(layers))


def _worker_state(state: int) -> str:
    if state not in models_pb2.WorkerState.values():
        return f"state_{state}"  # a server newer than this client
    return models_pb2.WorkerState.Name(state).removeprefix("WORKER_STATE_").lower()


def status_of(message: models_pb2.GetServerStatusResponse) -> ServerStatus:
    workers = (_same_fields(WorkerStatus, worker, state=_worker_state(worker.state))
               for worker in message.workers)
    return _same_fields(ServerStatus, message, workers=tuple(workers))
