"""Attacks by header blocks: their size, their coding, their meaning."""

import itertools

from attack import case
from frames import (CONTINUATION, DATA, END_HEADERS, HEADERS, LARGEST_PAYLOAD, PING, call_fields, data,
                    field, frame, headers, integer, message, reset, streams)
from wellformed import one_token

MIB = 1 << 20
HALF_HEADER = call_fields() + field("x", "")[:-1] + integer(1 << 30, 7)


def long_header(connection, mib):
    """A value announced as 1 GiB, of which so much comes."""
    connection.send(frame(HEADERS, stream=1, payload=HALF_HEADER))
    part = frame(CONTINUATION, stream=1, payload=b"a" * LARGEST_PAYLOAD)
    connection.flood(part, mib * MIB // LARGEST_PAYLOAD, batch=16)


def each(attacker, blocks):
    """A connection for each header block, as a call of its own; ends when all were answered or ended."""
    for block in blocks:
        one = attacker.connect()
        one.send(headers(1, block) + data(1, message(one_token().SerializeToString()), end_stream=True))
    attacker.hold(1)


@case("24 MiB of one header's value", quick=True, without_door=False)
def long_header_alone(attacker):
    long_header(attacker.connect(), 24)
    attacker.hold(1)


@case("24 MiB of one header's value on each of four connections", without_door=False)
def long_header_four_times(attacker):
    attacker.together(lambda one: long_header(one, 24), attacker.many(4))
    attacker.hold(1)


@case("a header's value in 4,000 CONTINUATION frames of 64 bytes", without_door=False)
def long_header_in_crumbs(attacker):
    one = attacker.connect()
    one.send(frame(HEADERS, stream=1, payload=HALF_HEADER))
    one.flood(frame(CONTINUATION, stream=1, payload=b"a" * 64), 4000)
    attacker.hold(1)


@case("a header block of 64 KiB in whole fields")
def large_header_block(attacker):
    one = attacker.connect()
    one.send(frame(HEADERS, stream=1, payload=call_fields()))
    one.flood(frame(CONTINUATION, stream=1, payload=field("x", "a" * 16000)), 4)
    one.send(frame(CONTINUATION, END_HEADERS, 1))
    attacker.hold(0.5)


@case("50,000 fields of one byte in a header block")
def many_fields(attacker):
    one = attacker.connect()
    one.send(frame(HEADERS, stream=1, payload=call_fields()))
    one.flood(frame(CONTINUATION, stream=1, payload=field("a", "") * 4000), 13)
    one.send(frame(CONTINUATION, END_HEADERS, 1))
    attacker.hold(0.5)


@case("a header block with 200,000 empty CONTINUATION frames", without_door=False)
def empty_continuations(attacker):
    one = attacker.connect()
    one.send(frame(HEADERS, stream=1, payload=call_fields()))
    one.flood(frame(CONTINUATION, stream=1), 200_000, batch=5000)
    attacker.hold(0.5)


@case("100 header blocks that never end", stays=True, ended=True, without_door=False)
def endless_header_blocks(attacker):
    for one in attacker.many(100):
        one.send(frame(HEADERS, stream=1, payload=call_fields()))
    attacker.hold(1)


@case("other frames within a header block, CONTINUATION without one")
def broken_header_blocks(attacker):
    begin = frame(HEADERS, stream=1, payload=call_fields())
    for wrong in (frame(PING, payload=bytes(8)), frame(DATA, stream=1), reset(1), headers(3, call_fields()),
                  frame(CONTINUATION, END_HEADERS, 3), frame(0x2A, stream=1)):
        attacker.connect().send(begin + wrong)
    attacker.connect().send(frame(CONTINUATION, END_HEADERS, 1, call_fields()))
    attacker.connect().send(frame(CONTINUATION, END_HEADERS, 0, call_fields()))
    attacker.hold(0.5)


@case("an entry of 4 KB in the header table, repeated 16,000 times in a block of 16 KB")
def header_bomb(attacker):
    bomb = call_fields() + field("x", "a" * 3800, first=0x40)
    for one in attacker.many(8):
        for stream in streams(50):
            if not one.send(headers(stream, bomb) + headers(stream + 1000, call_fields() + b"\xbe" * 15000)):
                break
    attacker.hold(0.5)


@case("header table sizes: 5,000 changes in a block, 4 GiB, in the middle of fields")
def header_table_sizes(attacker):
    each(attacker, [b"\x20\x3f\xe1\x1f" * 2500 + call_fields(), integer(1 << 32, 5, 0x20) + call_fields(),
                    call_fields() + b"\x20", b"\x20" * 3 + call_fields()])


@case("indices, integers and Huffman codes that HPACK forbids")
def broken_header_coding(attacker):
    endless = b"\xff" * 200
    each(attacker, [b"\x80", b"\xff" + b"\x80" * 300, b"\x7f" + endless, b"\x00\x7f" + endless,
                    integer(5000, 7, 0x80), field("x", "")[:2] + b"\x84\xff\xff\xff\xff",
                    call_fields() + b"\x00\x01x\x7f", b"\x40", b"\x00", b""])


@case("36 blocks that make a server fail over fields it did not expect (CVE-2023-1428)", quick=True)
def fields_of_cve_2023_1428(attacker):
    names = [("te", "x"), (":scheme", "x"), ("grpclb_client_stats", "x")]
    worse = [("x", "a" * 16000), ("grpc-timeout", "x"), ("bad-bin", "!!!"), (":path", "x" * 9000)]
    each(attacker, [call_fields(without=name) + field(name, value, first) + field(*more, first=first)
                    for (name, value), more, first in itertools.product(names, worse, (0, 0x10, 0x40))])


@case("binary headers: not base64, 12 KB, cut, with commas, empty")
def broken_binary_headers(attacker):
    values = ["!", "=", "A", "AAAAA", "A" * 12000, "QQ==,QQ==", "", "\0", "Q Q", b"\xff" * 100]
    each(attacker, [call_fields(more=[(name, value)])
                    for value in values for name in ("x-bin", "grpc-trace-bin", "grpc-tags-bin")])


@case("line breaks, terminal codes and quotes in everything that a log tells", quick=True)
def forged_log_lines(attacker):
    lie = '\r\n{"time":"now","level":"error","message":"forged"}\n\x1b[2J\u2028"'
    fields = ["x-request-id", "user-agent", "traceparent", "tenant", "grpc-encoding", "grpc-timeout"]
    each(attacker, [call_fields(more=[(name, lie)]) for name in fields] +
         [call_fields(path=f"/peerage.v1.InferenceService/{lie}"), call_fields(path=lie),
          field(lie, lie) + call_fields()])


@case("calls without, with twice or with wrong pseudo-headers; names in capitals")
def broken_pseudo_headers(attacker):
    whole = [":method", ":scheme", ":path", ":authority", "te", "content-type"]
    each(attacker, [call_fields(without=name) for name in whole] +
         [call_fields() + field(name, "x") for name in whole] +
         [call_fields(without=":method") + field(":method", method)
          for method in ("GET", "CONNECT", "", "P" * 8000)] +
         [field(":unknown", "x") + call_fields(), call_fields(more=[("CAPITALS", "X")]),
          call_fields(more=[("connection", "close")]), call_fields(more=[("", "x")])])


@case("deadlines: centuries, negative, empty, of no unit, of a thousand digits")
def odd_deadlines(attacker):
    each(attacker, [call_fields(more=[("grpc-timeout", value)]) for value in (
        "2562048H", "99999999H", "99999999M", "0n", "-1S", "", "1", "S", "1Z", "9" * 1000 + "S", "1 S")])


@case("20,000 methods that do not exist", without_door=False)
def unknown_methods(attacker):
    names = itertools.count()
    for one in attacker.many(4):
        for begin in range(0, 5000, 100):
            one.send(b"".join(headers(stream, call_fields(f"/peerage.v1.X/M{next(names)}"), end_stream=True)
                              for stream in streams(100, 1 + 2 * begin)))
    attacker.hold(0.5)
    series = len(attacker.server.get("/metrics")[1].splitlines())
    assert series < 5000, f"{series} lines of metrics: names of clients are labels"
