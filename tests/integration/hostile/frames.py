"""Bytes of HTTP/2 and gRPC, made by hand so that they can be wrong (RFC 9113, RFC 7541)."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE,
 CONTINUATION) = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
HEADER_TABLE_SIZE, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME = 1, 3, 4, 5
CANCEL = 8
LARGEST_PAYLOAD = 16384  # of a peer that has announced nothing else
LARGEST_WINDOW = 2**31 - 1

GENERATE = "/peerage.v1.InferenceService/Generate"
GENERATE_STREAM = "/peerage.v1.InferenceService/GenerateStream"
SCORE = "/peerage.v1.InferenceService/Score"
SCORE_STREAM = "/peerage.v1.InferenceService/ScoreStream"
TOKENIZE = "/peerage.v1.InferenceService/Tokenize"
EXPERT_USAGE = "/peerage.v1.ExpertService/GetExpertUsage"
WATCH_SUMMARY = "/peerage.v1.ExpertService/WatchExpertSummary"
RESET_USAGE = "/peerage.v1.ExpertService/ResetExpertUsage"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """A length other than the payload's is a lie that the peer has to live with."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(
        key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in pairs))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, stream=stream, payload=increment.to_bytes(4, "big"))


def reset(stream, code=CANCEL):
    return frame(RST_STREAM, stream=stream, payload=code.to_bytes(4, "big"))


def integer(value, bits, first=0):
    """HPACK's integer with a prefix of so many bits; `first` has the bits before it."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    rest, out = value - most, [first | most]
    while rest >= 128:
        out.append(128 | rest % 128)
        rest //= 128
    return bytes([*out, rest])


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def field(name, value, first=0):
    """A literal field with a new name; `first` is 0x40 to have it remembered in the table."""
    return b"".join([bytes([first])] + [
        integer(len(text), 7) + text for text in (as_bytes(name), as_bytes(value))])


def call_fields(path=GENERATE, more=(), without=()):
    """The header block of a gRPC call."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "peerage"),
              ("te", "trailers"), ("content-type", "application/grpc"), *more]
    return b"".join(field(name, value) for name, value in fields if name not in without)


def headers(stream, block, end_stream=False):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end_stream else 0), stream, block)


def message(content, compressed=0, length=None):
    """gRPC's framing of a message."""
    size = len(content) if length is None else length
    return bytes([compressed]) + size.to_bytes(4, "big") + content


def data(stream, content, end_stream=False):
    """DATA frames of a size that a peer takes."""
    parts = [content[i:i + LARGEST_PAYLOAD] for i in range(0, len(content), LARGEST_PAYLOAD)] or [b""]
    return b"".join(
        frame(DATA, END_STREAM if end_stream and i == len(parts) - 1 else 0, stream, part)
        for i, part in enumerate(parts))


def call(stream, request, path=GENERATE, more=()):
    """A whole unary or server-streaming call with a protobuf message, or its bytes."""
    content = request if isinstance(request, bytes) else request.SerializeToString()
    return headers(stream, call_fields(path, more)) + data(stream, message(content), end_stream=True)


def streams(count, first=1):
    """Numbers of streams that a client may open."""
    return range(first, first + 2 * count, 2)
