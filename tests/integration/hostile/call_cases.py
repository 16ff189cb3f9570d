"""Attacks by calls and their messages."""

import gzip
import pathlib
import subprocess
import sys

from attack import MODELS, case
from frames import (DATA, EXPERT_USAGE, GENERATE, GENERATE_STREAM, HEALTH_WATCH, REFLECTION, RESET_USAGE, SCORE,
                    SCORE_STREAM, TOKENIZE, WATCH_SUMMARY, call, call_fields, data, frame, headers, message,
                    streams)
from wellformed import (expert_usage, generate, generate_text, health, one_token, reset_usage, score, stream, tokenize,
                        watch_summary)

MIB = 1 << 20
CLIENTS = pathlib.Path(__file__).with_name("ordinary_clients.py")
PEER = MODELS / "peer_small"


def calls(connection, count, request, path=GENERATE, more=()):
    content = request.SerializeToString()
    return connection.send(b"".join(call(number, content, path, more) for number in streams(count)))


@case("20 messages of 50 MB in 50 KB of gzip")
def gzip_bombs(attacker):
    bomb = message(gzip.compress(bytes(50_000_000)), compressed=1)
    one = attacker.connect()
    for number in streams(20):
        one.send(headers(number, call_fields(more=[("grpc-encoding", "gzip")])) + data(number, bomb, True))
    attacker.hold(0.5)


@case("messages: 4 GiB announced, compressed by nothing, cut, two for one, none, of random bytes")
def broken_messages(attacker):
    whole = message(one_token().SerializeToString())
    contents = [message(b"x", length=2**32 - 1), message(b"x", compressed=1), message(b"x", compressed=200),
                whole[:-1], whole * 2, b"", b"\0", message(b""),
                *[message(attacker.random.randbytes(200)) for _ in range(50)]]
    for path in (GENERATE, SCORE, SCORE_STREAM, GENERATE_STREAM, TOKENIZE):
        one = attacker.connect()
        for number, content in zip(streams(len(contents)), contents):
            one.send(headers(number, call_fields(path)) + data(number, content, end_stream=True))
    attacker.hold(0.5)


@case("messages nested 100,000 deep")
def nested_messages(attacker):
    nested = b""
    for _ in range(3000):  # the depth is what counts: a length of two bytes covers it
        nested = b"\x0a" + bytes([len(nested) % 128 | 128, len(nested) // 128]) + nested
    one = attacker.connect()
    for path in (GENERATE, GENERATE_STREAM, SCORE):
        one.send(call(1 if path == GENERATE else 3 if path == SCORE else 5, nested, path))
    attacker.hold(0.5)


@case("64 MiB in 64 messages of which the last byte is missing", without_door=False)
def half_messages(attacker):
    part = message(b"", length=MIB) + bytes(MIB - 1)
    for one in attacker.many(4):
        for number in streams(16):
            one.send(headers(number, call_fields()) + data(number, part))
    attacker.hold(1)


@case("messages that come byte by byte on 200 streams")
def dripped_messages(attacker):
    one = attacker.connect()
    one.send(b"".join(headers(number, call_fields()) for number in streams(200)))
    for byte in message(one_token().SerializeToString()):
        one.send(b"".join(frame(DATA, stream=number, payload=bytes([byte])) for number in streams(200)))
        attacker.hold(0.05)


@case("20,480 calls without a message on 40 connections", without_door=False)
def calls_without_a_message(attacker):
    opened = b"".join(headers(number, call_fields()) for number in streams(512))
    for one in attacker.many(40):
        one.send(opened)
    attacker.hold(1)


@case("5,120 ScoreStreams on which nothing is asked, of one who stays", stays=True, without_door=False)
def idle_score_streams(attacker):
    opened = b"".join(headers(number, call_fields(SCORE_STREAM)) for number in streams(512))
    for one in attacker.many(10):
        one.send(opened)
    attacker.hold(1)


@case("5,120 watches of the server's health", without_door=False)
def health_watches(attacker):
    for one in attacker.many(10):
        calls(one, 512, health(), HEALTH_WATCH)
    attacker.hold(1)


@case("64 reflection streams on which nothing is asked")
def idle_reflection(attacker):
    attacker.connect().send(b"".join(headers(number, call_fields(REFLECTION)) for number in streams(64)))
    attacker.hold(1)


@case("2,000 watches of expert summaries that are left at once", model=PEER, without_door=False)
def left_watches(attacker):
    for _ in range(20):
        one = attacker.connect()
        calls(one, 100, watch_summary(), WATCH_SUMMARY)
        attacker.hold(0.03)
        one.hang_up()


@case("2,000 resets of expert usage in one write", model=PEER)
def expert_usage_resets(attacker):
    for one in attacker.many(4):
        calls(one, 500, reset_usage(), RESET_USAGE)
    attacker.hold(1)


@case("200 readings of expert usage at once", model=PEER)
def expert_usage_readings(attacker):
    for one in attacker.many(4):
        calls(one, 50, expert_usage(), EXPERT_USAGE)
    attacker.hold(1)


# They have the honest client's address, and would leave it no connection.
@case("256 ordinary clients whose deadline is 1 ms, and 1 ms later the next", without_door=False,
      options=("--max-connections-per-peer", "512"))
def deadlines_of_1_ms(attacker):
    with subprocess.Popen([sys.executable, str(CLIENTS), attacker.server.grpc, "256", "4"]) as clients:
        clients.wait()


@case("20,000 requests whose deadline is a microsecond", without_door=False)
def deadlines_of_1_us(attacker):
    one, request = attacker.connect(), one_token()
    for begin in range(0, 20_000, 200):
        if not one.send(b"".join(call(number, request, more=[("grpc-timeout", "1u")])
                                 for number in streams(200, 1 + 2 * begin))):
            break
    attacker.hold(0.3)


@case("24 texts of 1 MB full of special tokens, too long for the model, 8 at a time", without_door=False)
def large_texts(attacker):
    for one in attacker.many(3):
        for number in streams(8):
            one.send(call(number, generate_text("a<|im_start|>" * (MIB // 13))))
    attacker.hold(2)


@case("40 requests of a megabyte of token ids that do not exist", without_door=False)
def large_invalid_requests(attacker):
    content = generate(1, prompt=[4_000_000_000] * 200_000)
    for one in attacker.many(4):
        calls(one, 10, content)
    attacker.hold(1)


@case("4 Scores of 1,024 continuations of 129 tokens", without_door=False)
def large_scores(attacker):
    calls(attacker.connect(), 4, score(1024, 129), SCORE)
    attacker.hold(2)


@case("2,000 streams of 200 tokens asked for at once", without_door=False)
def more_streams_than_fit(attacker):
    for one in attacker.many(4):
        calls(one, 500, stream(200), GENERATE_STREAM)
    attacker.hold(1)


@case("250 callers of the highest priority", without_door=False)
def highest_priority(attacker):
    request = generate(200)
    request.scheduling.priority = -100
    for one in attacker.many(4):
        calls(one, 250, request)
    attacker.hold(2)


@case("2,000 connections that stream and are gone after the first bytes")
def hung_up_streams(attacker):
    for _ in range(20):
        for one in attacker.many(10):
            calls(one, 10, stream(200), GENERATE_STREAM)
            one.hang_up()


@case("26 MB of texts to tokenize", without_door=False)
def tokenize_flood(attacker):
    for one in attacker.many(2):
        calls(one, 13, tokenize("the cat " * (MIB // 8)), TOKENIZE)
    attacker.hold(2)
