"""Attacks by frames: floods of them, wrong ones, wrong streams, wrong windows."""

import struct

import frames
from attack import case
from frames import (ACK, CANCEL, CONTINUATION, DATA, END_STREAM, GOAWAY, HEADERS, HEADER_TABLE_SIZE,
                    INITIAL_WINDOW, LARGEST_WINDOW, MAX_FRAME, MAX_STREAMS, PADDED, PING, PREFACE, PRIORITY,
                    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, call, call_fields, data, frame,
                    headers, reset, settings, streams, window_update)
from wellformed import one_token, stream as streamed


def flood(attacker, content, repeats, before=b""):
    one = attacker.connect()
    one.send(before)
    one.flood(content, repeats)
    attacker.hold(0.3)


def reset_at_once(one, calls, opening):
    """`opening` makes the frames of a call of its stream."""
    for begin in range(0, calls, 500):
        if not one.send(b"".join(opening(stream) + reset(stream)
                                 for stream in streams(500, 1 + 2 * begin))):
            return


@case("50,000 calls on a connection, each reset at once", quick=True, without_door=False)
def rapid_reset(attacker):
    block = call_fields()
    reset_at_once(attacker.connect(), 50_000, lambda stream: headers(stream, block))
    attacker.hold(0.3)


@case("20,000 whole requests, each reset at once", without_door=False)
def rapid_reset_of_requests(attacker):
    request = one_token()
    reset_at_once(attacker.connect(), 20_000, lambda stream: call(stream, request))
    attacker.hold(0.3)


@case("10 connections of 5,000 calls that are reset at once", without_door=False)
def rapid_reset_on_many(attacker):
    block = call_fields()
    attacker.together(lambda one: reset_at_once(one, 5000, lambda stream: headers(stream, block)),
                      attacker.many(10))
    attacker.hold(0.3)


@case("calls that the server is made to reset: 20,000 with a window of zero added", without_door=False)
def made_to_reset(attacker):
    block, one = call_fields(), attacker.connect()
    for begin in range(0, 20_000, 500):
        if not one.send(b"".join(headers(stream, block) + window_update(stream, 0)
                                 for stream in streams(500, 1 + 2 * begin))):
            break
    attacker.hold(0.3)


@case("20,000 calls opened by one who never acknowledges settings", quick=True, without_door=False)
def never_acknowledges(attacker):
    block, one = call_fields(), attacker.connect(acknowledges=False)
    for begin in range(0, 20_000, 500):
        if not one.send(b"".join(headers(stream, block) for stream in streams(500, 1 + 2 * begin))):
            break
    attacker.hold(0.3)


@case("5,000 calls opened at once beyond the acknowledged limit")
def beyond_the_stream_limit(attacker):
    block = call_fields()
    attacker.connect().send(b"".join(headers(stream, block) for stream in streams(5000)))
    attacker.hold(0.3)


@case("100,000 SETTINGS", without_door=False)
def settings_flood(attacker):
    flood(attacker, settings(), 100_000)


@case("100,000 SETTINGS of 64 entries", without_door=False)
def large_settings_flood(attacker):
    flood(attacker, settings(*[(0x1000 + i, i) for i in range(64)]), 100_000)


@case("initial windows that change 20,000 times with 100 calls open", without_door=False)
def window_settings_flood(attacker):
    opened = b"".join(headers(stream, call_fields()) for stream in streams(100))
    flood(attacker, settings((INITIAL_WINDOW, 0)) + settings((INITIAL_WINDOW, 1 << 20)), 10_000, opened)


@case("100,000 acknowledgements of settings that nobody sent")
def settings_acknowledgement_flood(attacker):
    flood(attacker, frame(SETTINGS, ACK), 100_000)


@case("100,000 PINGs", quick=True, without_door=False)
def ping_flood(attacker):
    flood(attacker, frame(PING, payload=bytes(8)), 100_000)


@case("100,000 PINGs of one who reads nothing", without_door=False)
def unread_ping_flood(attacker):
    attacker.connect(reads=False).flood(frame(PING, payload=bytes(8)), 100_000)


@case("100,000 answers to PINGs that nobody sent")
def pong_flood(attacker):
    flood(attacker, frame(PING, ACK, payload=bytes(8)), 100_000)


@case("200,000 PRIORITY", without_door=False)
def priority_flood(attacker):
    flood(attacker, frame(PRIORITY, stream=1, payload=bytes(5)), 200_000)


@case("200,000 WINDOW_UPDATE of the connection", without_door=False)
def window_update_flood(attacker):
    flood(attacker, window_update(0, 1), 200_000)


@case("200,000 WINDOW_UPDATE of a stream", without_door=False)
def stream_window_update_flood(attacker):
    flood(attacker, window_update(1, 1), 200_000, headers(1, call_fields()))


@case("200,000 WINDOW_UPDATE of streams that are over")
def late_window_update_flood(attacker):
    flood(attacker, window_update(1, 1), 200_000, call(1, one_token()))


@case("200,000 empty DATA", without_door=False)
def empty_data_flood(attacker):
    flood(attacker, frame(DATA, stream=1), 200_000, headers(1, call_fields()))


@case("100,000 DATA that are padding alone", without_door=False)
def padding_flood(attacker):
    flood(attacker, frame(DATA, PADDED, 1, bytes([15]) + bytes(15)), 100_000, headers(1, call_fields()))


@case("200,000 frames of kinds that nobody knows")
def unknown_frame_flood(attacker):
    flood(attacker, b"".join(frame(kind, stream=kind, payload=b"x") for kind in range(10, 256)), 800)


@case("100,000 RST_STREAM of streams that are over", without_door=False)
def late_reset_flood(attacker):
    flood(attacker, reset(1), 100_000, call(1, one_token()))


@case("20,000 GOAWAY")
def goaway_flood(attacker):
    flood(attacker, frame(GOAWAY, payload=bytes(8) + b"bye"), 20_000)


def each(attacker, contents, opening=b""):
    """Each on a connection of its own."""
    for content in contents:
        attacker.connect().send(opening + content)
    attacker.hold(0.5)


@case("windows beyond 2^31 - 1, of connection and stream; windows of zero more")
def broken_windows(attacker):
    opened = headers(1, call_fields())
    each(attacker, [window_update(0, LARGEST_WINDOW) * 2, window_update(0, 0), window_update(0, 1 << 31),
                    opened + window_update(1, LARGEST_WINDOW) * 2, opened + window_update(1, 0),
                    window_update(99, 5), settings((INITIAL_WINDOW, 1 << 31)),
                    opened + settings((INITIAL_WINDOW, LARGEST_WINDOW)) + window_update(1, 1000)])


@case("settings of forbidden values and of huge ones")
def broken_settings(attacker):
    each(attacker, [settings((MAX_FRAME, 0)), settings((MAX_FRAME, 1 << 24)), settings((2, 7)),
                    settings((HEADER_TABLE_SIZE, 2**32 - 1)) + call(1, one_token()),
                    settings((MAX_STREAMS, 0)) + call(1, one_token()), settings((0, 0)),
                    settings((6, 0)) + call(1, one_token()), settings((6, 2**32 - 1))])


@case("frames of wrong lengths: SETTINGS of 5 bytes, PING of 7, RST_STREAM of 3...")
def broken_lengths(attacker):
    opened = headers(1, call_fields())
    each(attacker, [frame(SETTINGS, payload=bytes(5)), frame(SETTINGS, ACK, payload=bytes(6)),
                    frame(PING, payload=bytes(7)), frame(PING, payload=bytes(9)), frame(PING, stream=1),
                    opened + frame(RST_STREAM, stream=1, payload=bytes(3)),
                    frame(PRIORITY, stream=1, payload=bytes(4)), frame(WINDOW_UPDATE, payload=bytes(3)),
                    frame(GOAWAY, payload=bytes(7)), frame(HEADERS, frames.END_HEADERS | 0x20, 1, bytes(3))])


@case("padding longer than its frame, of DATA and HEADERS")
def broken_padding(attacker):
    opened = headers(1, call_fields())
    each(attacker, [opened + frame(DATA, PADDED, 1, b"\xff"), opened + frame(DATA, PADDED, 1),
                    opened + frame(DATA, PADDED, 1, b"\x05abc"),
                    frame(HEADERS, PADDED | frames.END_HEADERS, 1, b"\xff" + call_fields()[:20]),
                    frame(HEADERS, PADDED | frames.END_HEADERS, 1)])


@case("frames announced as 16 MiB")
def oversized_frames(attacker):
    opened = headers(1, call_fields())
    most = 2**24 - 1
    each(attacker, [frame(kind, stream=stream, length=most) + bytes(100_000) for kind, stream in
                    ((DATA, 1), (HEADERS, 3), (SETTINGS, 0), (PING, 0), (GOAWAY, 0), (CONTINUATION, 1), (77, 1))],
         opened)


@case("streams of even numbers, of number 0, backwards, twice, over")
def broken_stream_numbers(attacker):
    block = call_fields()
    each(attacker, [headers(2, block), headers(0, block), headers(5, block) + headers(3, block),
                    headers(1, block) * 2, call(1, one_token()) + call(1, one_token()),
                    frame(DATA, stream=0, payload=b"x"), frame(DATA, stream=7, payload=b"x"), reset(0), reset(9),
                    call(1, one_token()) + data(1, b"more"), headers(2**31 - 1, block) + headers(1, block),
                    frame(SETTINGS, stream=1), frame(PRIORITY, stream=0, payload=bytes(5))])


@case("a stream that depends on itself; 10,000 that depend on each other")
def circular_priorities(attacker):
    each(attacker, [frame(PRIORITY, stream=1, payload=struct.pack(">IB", 1, 255)),
                    b"".join(frame(PRIORITY, stream=i, payload=struct.pack(">IB", i + 2, 0))
                             for i in streams(10_000))])


@case("promises of a client, GOAWAY of one, DATA behind its end")
def frames_of_a_server(attacker):
    each(attacker, [frame(PUSH_PROMISE, 4, 1, bytes(4) + call_fields()),
                    frame(GOAWAY, payload=bytes(8)) + call(1, one_token()),
                    call(1, one_token()) + frame(DATA, END_STREAM, 1), frame(RST_STREAM, 0, 2, bytes(4))])


@case("no preface: garbage, HTTP/1.1, a TLS hello, half a preface and then something else")
def broken_prefaces(attacker):
    hello = bytes.fromhex("16030100a5010000a10303") + bytes(154)
    for content in (b"\0" * 100, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", hello, PREFACE[:10] + b"x" * 30,
                    PREFACE, PREFACE + PREFACE, PREFACE + call(1, one_token()), b"SSH-2.0-x\r\n", b"\xff" * 65536):
        attacker.raw().send(content)
    attacker.hold(0.5)


@case("200 connections of random frames", quick=True)
def random_frames(attacker):
    draw = attacker.random
    for _ in range(200):
        one = attacker.connect()
        one.send(b"".join(frame(draw.randrange(12), draw.randrange(256), draw.choice((0, 1, 3, 5)),
                                draw.randbytes(draw.choice((0, 4, 5, 8, 100)))) for _ in range(20)))
        one.close()


@case("100 connections of half a frame", stays=True, ended=True, without_door=False)
def half_frames(attacker):
    for one in attacker.many(100):
        one.send(frame(HEADERS, stream=1, payload=b"half", length=5000))
    attacker.hold(1)


@case("500 streams started and each reset after its first token")
def cancelled_streams(attacker):
    one = attacker.connect()
    for begin in range(0, 500, 50):
        one.send(b"".join(call(stream, streamed(200), frames.GENERATE_STREAM)
                          for stream in streams(50, 1 + 2 * begin)))
        attacker.hold(0.05)
        one.send(b"".join(reset(stream, CANCEL) for stream in streams(50, 1 + 2 * begin)))
    attacker.hold(0.3)
