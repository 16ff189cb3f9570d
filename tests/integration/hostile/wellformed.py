"""Well-formed requests that attacks are made of."""

import stubs

stubs.load_stubs()
from peerage.v1 import experts_pb2, inference_pb2 as inference  # noqa: E402
from grpc_health.v1 import health_pb2  # noqa: E402


def generate(max_tokens, prompt=(1, 2, 3)):
    request = inference.GenerateRequest()
    request.prompt.token_ids.ids.extend(prompt)
    request.stopping.max_tokens = max_tokens
    request.stopping.ignore_eos = True
    return request


def one_token():
    return generate(1)


def stream(max_tokens):
    return inference.GenerateStreamRequest(request=generate(max_tokens))


def generate_text(text):
    request = generate(1, prompt=())
    request.prompt.text = text
    return request


def score(continuations, tokens, logprobs=0):
    """So many continuations of so many tokens each."""
    request = inference.ScoreRequest()
    request.context.token_ids.ids.append(1)
    for i in range(continuations):
        one = request.continuations.add()
        one.token_ids.ids.extend(2 + (i + j) % 50 for j in range(tokens))
    request.logprobs = logprobs
    return request


def score_item(number, logprobs):
    """Of a ScoreStream."""
    return inference.ScoreStreamRequest(id=str(number), request=score(16, 2, logprobs))


def tokenize(text):
    request = inference.TokenizeRequest()
    request.prompt.text = text
    return request


def expert_usage():
    return experts_pb2.GetExpertUsageRequest(layer=1, kind=experts_pb2.EXPERT_LAYER_KIND_PEER,
                                             window=experts_pb2.USAGE_WINDOW_TOTAL)


def watch_summary():
    return experts_pb2.WatchExpertSummaryRequest(window=experts_pb2.USAGE_WINDOW_TOTAL)


def reset_usage():
    return experts_pb2.ResetExpertUsageRequest()


def health():
    return health_pb2.HealthCheckRequest()
