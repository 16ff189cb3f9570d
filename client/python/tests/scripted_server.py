"""A gRPC server that answers by a script: what a real one does only under load, on demand."""

import concurrent.futures
import queue

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from peerage.v1 import inference_pb2 as pb


class Refusal(Exception):
    """Ends a call as Peerage does; `retry` is RetryInfo's delay in seconds, None leaves it out."""

    def __init__(self, code, message="refused", retry=None, violations=(), reason="SCRIPTED"):
        super().__init__(message)
        self.code = code
        self.status = status_pb2.Status(code=code.value[0], message=message)
        self._add(error_details_pb2.ErrorInfo(reason=reason, domain="peerage"))
        if retry is not None:
            info = error_details_pb2.RetryInfo()
            info.retry_delay.FromNanoseconds(round(retry * 1e9))
            self._add(info)
        if violations:
            bad = error_details_pb2.BadRequest()
            for field, rule in violations:
                bad.field_violations.add(field=field, description=rule)
            self._add(bad)

    def _add(self, detail):
        packed = any_pb2.Any()
        packed.Pack(detail)
        self.status.details.append(packed)


def busy(retry=0.001):
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full", retry)


class ScriptedServer:
    """Each call of a method takes the next step of its script: a Refusal is raised, a list is what
    the call streams (Refusals end it), anything else is the answer. A step that is a function gets
    the request (or the iterator of requests). `seen` has (method, request, metadata, seconds that
    the call was given) of every call; an iterator of requests is seen as None."""

    METHODS = {
        "Generate": (pb.GenerateRequest, grpc.unary_unary_rpc_method_handler),
        "GenerateStream": (pb.GenerateStreamRequest, grpc.unary_stream_rpc_method_handler),
        "Score": (pb.ScoreRequest, grpc.unary_unary_rpc_method_handler),
        "ScoreStream": (pb.ScoreStreamRequest, grpc.stream_stream_rpc_method_handler),
    }

    def __init__(self, **scripts):
        self.seen = []
        self.ended = queue.Queue()  # the methods whose calls have ended
        self._scripts = {method: list(steps) for method, steps in scripts.items()}
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        handlers = {name: self._handler(name) for name in self.METHODS}
        self._server.add_generic_rpc_handlers((
            grpc.method_handlers_generic_handler("peerage.v1.InferenceService", handlers),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None).wait()

    def calls(self, method):
        return [call for call in self.seen if call[0] == method]

    def _handler(self, name):
        kind, make = self.METHODS[name]
        streams = make is not grpc.unary_unary_rpc_method_handler
        answer = self._stream if streams else self._answer
        return make(lambda request, context: answer(name, request, context),
                    request_deserializer=kind.FromString,
                    response_serializer=lambda response: response.SerializeToString())

    def _step(self, name, request, context):
        context.add_callback(lambda: self.ended.put(name))
        given = context.time_remaining()
        shown = None if name == "ScoreStream" else request
        self.seen.append((name, shown, dict(context.invocation_metadata()), given))
        context.send_initial_metadata((("x-request-id", "scripted"),))
        step = self._scripts[name].pop(0)
        return step(request) if callable(step) else step

    def _end(self, context, refusal):
        context.set_trailing_metadata(
            (("grpc-status-details-bin", refusal.status.SerializeToString()),))
        context.abort(refusal.code, str(refusal))

    def _answer(self, name, request, context):
        step = self._step(name, request, context)
        if isinstance(step, Refusal):
            self._end(context, step)
        return step

    def _stream(self, name, request, context):
        step = self._step(name, request, context)
        for message in step if not isinstance(step, Refusal) else [step]:
            if isinstance(message, Refusal):
                self._end(context, message)
            yield message
