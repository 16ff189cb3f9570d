"""Client of Peerage, a gRPC server for PEER and mixture language models.

    from peerage import Client

    with Client("localhost:50051") as client:
        print(client.generate("Once upon a time", max_tokens=40).text)
"""

from peerage.aio import AsyncClient
from peerage.answers import (Candidate, ContinuationScore, ExpertLayer, Finish, FinishReason,
                             Generation, Model, ModelRef, Piece, ResolvedSampling, Scores,
                             ServerStatus, Timings, TokenLogprob, Tokens, Usage, WorkerStatus)
from peerage.client import Client
from peerage.errors import (Cancelled, DataLoss, DeadlineExceeded, FailedPrecondition,
                            FieldViolation, Internal, InvalidArgument, NotFound, OutOfRange,
                            Overloaded, PeerageError, PermissionDenied, ResourceExhausted,
                            Unauthenticated, Unavailable, Unimplemented)
from peerage.experts import (NO_EXPERT, ExpertSummary, ExpertUsage, LayerSummary, LayerTrace,
                             Trace)
from peerage.hidden import LayerStates
from peerage.options import HiddenStates, Message, Prompt, ScoreItem
from peerage.retry import RetryPolicy
from peerage.streams import AsyncGenerationStream, AsyncStream, GenerationStream, Stream
from peerage.transport import VERSION as __version__

__all__ = [
    "AsyncClient", "AsyncGenerationStream", "AsyncStream", "Cancelled", "Candidate", "Client",
    "ContinuationScore", "DataLoss", "DeadlineExceeded", "ExpertLayer", "ExpertSummary",
    "ExpertUsage", "FailedPrecondition", "FieldViolation", "Finish", "FinishReason", "Generation",
    "GenerationStream", "HiddenStates", "Internal", "InvalidArgument", "LayerStates",
    "LayerSummary", "LayerTrace", "Message", "Model", "ModelRef", "NO_EXPERT", "NotFound",
    "OutOfRange", "Overloaded", "PeerageError", "PermissionDenied", "Piece", "Prompt",
    "ResolvedSampling", "ResourceExhausted", "RetryPolicy", "ScoreItem", "Scores", "ServerStatus",
    "Stream", "Timings", "TokenLogprob", "Tokens", "Trace", "Unauthenticated", "Unavailable",
    "Unimplemented", "Usage", "WorkerStatus", "__version__",
]
