"""Arguments become messages. What is not given stays unset: the server's default counts, then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from google.protobuf import duration_pb2, json_format, message

from peerage import hidden
from peerage.experts import ExpertKind, kind_name
from peerage.options import (CallOptions, GenerateOptions, Message, Prompt, PromptOptions,
                             ScoreItem, ScoreOptions, TraceLevel)
from peerage.v1 import experts_pb2
from peerage.v1 import inference_pb2 as pb

Request = TypeVar("Request", pb.GenerateRequest, pb.ScoreRequest)


_CALL = CallOptions.__optional_keys__
_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "seed", "candidates", "repetition_penalty",
             "frequency_penalty", "presence_penalty", "logit_bias")
_STOPPING = ("max_tokens", "min_tokens", "stop", "stop_token_ids", "ignore_eos")
_OUTPUT = ("logprobs", "prompt_logprobs")


def _set(target: message.Message, name: str, value: Any) -> None:
    """Sets a field. Errors name the option, which is called as the field is."""
    try:
        if isinstance(value, str):
            _check_text(name, value)
            setattr(target, name, value)
        elif isinstance(value, Mapping):
            getattr(target, name).update(value)
        elif isinstance(value, Iterable):
            getattr(target, name).extend(value)
        else:
            setattr(target, name, value)
    except (TypeError, ValueError) as error:
        said = str(error)
        raise type(error)(said if said.startswith(name) else f"{name}: {said}") from None


def _check_text(name: str, text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name}: must be a text, is {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: character {error.start} is half a surrogate pair, which UTF-8 "
                         "does not have") from None


def _set_given(target: message.Message, names: Iterable[str], options: Mapping[str, Any]) -> None:
    for name in names:
        if options.get(name) is not None:
            _set(target, name, options[name])


def _duration(seconds: float) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def _check_names(options: Mapping[str, Any], known: Iterable[str]) -> None:
    unknown = options.keys() - set(known)
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")


def fill_prompt(target: pb.Prompt, name: str, prompt: Prompt, add_bos: bool | None = None) -> None:
    if isinstance(prompt, str):
        _check_text(name, prompt)
        target.text = prompt
    elif len(prompt) > 0 and isinstance(prompt[0], Mapping):
        _fill_chat(target.chat, name, prompt)  # type: ignore[arg-type]
    else:
        target.token_ids.SetInParent()  # no ids are ids, too
        _set_ids(target.token_ids, name, prompt)  # type: ignore[arg-type]
    if add_bos is not None:
        target.add_bos = add_bos


def _fill_chat(chat: pb.Chat, name: str, messages: Sequence[Message]) -> None:
    for i, turn in enumerate(messages):
        _check_names(turn, ("role", "content"))
        added = chat.messages.add()
        for key in ("role", "content"):
            _check_text(f"{name}[{i}][\"{key}\"]", turn[key])
        added.role, added.content = turn["role"], turn["content"]


def _set_ids(target: pb.TokenIds, name: str, ids: Sequence[int]) -> None:
    try:
        target.ids.extend(ids)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def one_prompt(prompt: Prompt | None, messages: Sequence[Message] | None,
               ids: Sequence[int] | None) -> Prompt:
    """The one that is given: a caller may say by name which form of prompt it has."""
    given = [p for p in (prompt, messages, ids) if p is not None]
    if len(given) != 1:
        raise TypeError("give one of prompt, messages and ids")
    return given[0]


def _trace_level(level: TraceLevel) -> experts_pb2.ExpertTraceLevel:
    if level not in ("none", "summary", "full"):
        raise ValueError(f"expert_trace is {level!r}, must be none, summary or full")
    value = experts_pb2.ExpertTraceLevel.Value(f"EXPERT_TRACE_LEVEL_{level.upper()}")
    return cast(experts_pb2.ExpertTraceLevel, value)


def _set_common(request: Request, options: Mapping[str, Any]) -> Request:
    _set_given(request, ("model",), options)
    _set_given(request.scheduling, ("priority", "tenant"), options)
    if options.get("hidden_states") is not None:
        hidden.fill(request.hidden_states, options["hidden_states"])
    if options.get("queue_timeout") is not None:
        request.scheduling.queue_timeout.CopyFrom(_duration(options["queue_timeout"]))
    if options.get("expert_control") is not None:
        request.expert_control.CopyFrom(_expert_control(options["expert_control"]))
    return request


def _expert_control(given: experts_pb2.ExpertControl | Mapping[str, Any]
                    ) -> experts_pb2.ExpertControl:
    if isinstance(given, experts_pb2.ExpertControl):
        return given
    layers = [{**layer, "kind": _wire_kind(layer["kind"])} if "kind" in layer else layer
              for layer in given.get("layers", ())]
    try:
        return json_format.ParseDict({**given, "layers": layers}, experts_pb2.ExpertControl())
    except json_format.ParseError as error:
        raise ValueError(f"expert_control: {error}") from None


def _wire_kind(kind: Any) -> Any:
    """A word becomes the wire's name; what is one already stays, and a number."""
    if not isinstance(kind, str) or kind in experts_pb2.ExpertLayerKind.keys():
        return kind
    return kind_name(cast(ExpertKind, kind))


def generate(prompt: Prompt, options: Mapping[str, Any]) -> pb.GenerateRequest:
    _check_names(options, GenerateOptions.__optional_keys__)
    request = _set_common(pb.GenerateRequest(), options)
    fill_prompt(request.prompt, "prompt", prompt, options.get("add_bos"))
    _set_given(request.sampling, _SAMPLING, options)
    stop = options.get("stop")
    stops = [stop] if isinstance(stop, str) else stop
    for i, text in enumerate(stops or ()):
        _check_text(f"stop[{i}]", text)
    _set_given(request.stopping, _STOPPING, {**options, "stop": stops})
    _set_given(request.output, _OUTPUT, options)
    if options.get("expert_trace") is not None:
        request.output.expert_trace = _trace_level(options["expert_trace"])
    return request


def stream(prompt: Prompt, options: Mapping[str, Any]) -> pb.GenerateStreamRequest:
    others = {name: value for name, value in options.items() if name != "tokens_per_message"}
    request = pb.GenerateStreamRequest(request=generate(prompt, others))
    _set_given(request, ("tokens_per_message",), options)
    return request


def score(item: ScoreItem, options: Mapping[str, Any]) -> pb.ScoreRequest:
    _check_names(options, ScoreOptions.__optional_keys__)
    if isinstance(item.continuations, str):
        raise TypeError("continuations is one text, must be a list of them")
    request = _set_common(pb.ScoreRequest(), options)
    fill_prompt(request.context, "context", item.context, options.get("add_bos"))
    for i, continuation in enumerate(item.continuations):
        added = request.continuations.add()
        if isinstance(continuation, str):
            _check_text(f"continuations[{i}]", continuation)
            added.text = continuation
        else:
            _set_ids(added.token_ids, f"continuations[{i}]", continuation)
    _set_given(request, ("logprobs",), options)
    if options.get("expert_trace") is not None:
        request.expert_trace = _trace_level(options["expert_trace"])
    return request


def tokenize(prompt: Prompt, options: Mapping[str, Any]) -> pb.TokenizeRequest:
    _check_names(options, PromptOptions.__optional_keys__)
    request = pb.TokenizeRequest()
    _set_given(request, ("model",), options)
    fill_prompt(request.prompt, "prompt", prompt, options.get("add_bos"))
    return request


def split_call_options(options: Mapping[str, Any]) -> CallOptions:
    """The part of the options that is the call's, not the message's."""
    return {name: options[name] for name in _CALL if name in options}  # type: ignore[return-value]
