"""Attacks by not taking answers, or taking them very slowly."""

import signal

from attack import MODELS, case
from call_cases import calls
from frames import (EXPERT_USAGE, GENERATE, GENERATE_STREAM, HEALTH_WATCH, INITIAL_WINDOW, SCORE,
                    SCORE_STREAM, TOKENIZE, WATCH_SUMMARY, call_fields, data, headers, message, streams,
                    window_update)
from wellformed import (expert_usage, generate, health, score, score_item, stream, tokenize, watch_summary)

MIB = 1 << 20
PEER = MODELS / "peer_small"
NO_WINDOW = (INITIAL_WINDOW, 0)


@case("40 streams of a reader without a window, who answers pings and stays", quick=True, stays=True)
def unread_streams(attacker):
    calls(attacker.connect(NO_WINDOW), 40, stream(250), GENERATE_STREAM)
    attacker.hold(1)


@case("500 streams of a reader without a window, who answers pings", without_door=False)
def unread_streams_for_all_slots(attacker):
    calls(attacker.connect(NO_WINDOW), 500, stream(250), GENERATE_STREAM)
    attacker.hold(3)


@case("200 finished answers that nobody reads, of one who stays", stays=True)
def unread_answers(attacker):
    calls(attacker.connect(NO_WINDOW), 200, generate(100), GENERATE)
    attacker.hold(2)


@case("64 Tokenize of 1 MB that nobody reads, of one who stays", stays=True, without_door=False)
def unread_tokens(attacker):
    for one in attacker.many(4, NO_WINDOW):
        calls(one, 16, tokenize("the cat " * (MIB // 8)), TOKENIZE)
    attacker.hold(2)


# Answers are held for as long as their reader may be slow: a minute, if nothing is said.
@case("200 Scores of 1,024 continuations with 20 alternatives that nobody reads, of one who stays", stays=True,
      without_door=False, options=("--slow-reader-timeout", "10s"))
def unread_scores(attacker):
    calls(attacker.connect(NO_WINDOW), 200, score(1024, 1, logprobs=20), SCORE)
    attacker.hold(2)


@case("8 ScoreStreams of 200 items that nobody reads, of one who stays", stays=True)
def unread_score_streams(attacker):
    one = attacker.connect(NO_WINDOW)
    items = b"".join(message(score_item(i, 20).SerializeToString()) for i in range(200))
    for number in streams(8):
        one.send(headers(number, call_fields(SCORE_STREAM)) + data(number, items))
    attacker.hold(2)


@case("40 readings of expert usage that nobody reads, of one who stays", model=PEER, stays=True)
def unread_expert_usage(attacker):
    calls(attacker.connect(NO_WINDOW), 40, expert_usage(), EXPERT_USAGE)
    attacker.hold(1)


@case("500 watches of summaries that nobody reads, of one who stays", model=PEER, stays=True, without_door=False)
def unread_summaries(attacker):
    calls(attacker.connect(NO_WINDOW), 500, watch_summary(), WATCH_SUMMARY)
    attacker.hold(2)


@case("500 watches of the health that nobody reads", without_door=False)
def unread_health(attacker):
    calls(attacker.connect(NO_WINDOW), 500, health(), HEALTH_WATCH)
    attacker.hold(1)


@case("300 streams whose bytes are left in the kernel, pings unanswered, of one who stays", stays=True,
      without_door=False)
def nothing_is_read(attacker):
    for one in attacker.many(3, (INITIAL_WINDOW, 1 << 30), reads=False, receive_buffer=4096):
        calls(one, 100, stream(250), GENERATE_STREAM)
    attacker.hold(3)


def drip(attacker, connections, count, increment, seconds):
    """So many more bytes for each stream every tenth of a second."""
    for _ in range(int(10 * seconds)):
        for one in connections:
            one.send(b"".join(window_update(number, increment) for number in streams(count)))
        attacker.hold(0.1)


@case("16 streams of a reader who takes 4 bytes ten times a second")
def dripped_streams(attacker):
    one = attacker.connect(NO_WINDOW)
    calls(one, 16, stream(250), GENERATE_STREAM)
    drip(attacker, [one], 16, 4, 3)


@case("128 streams on four connections of a reader who takes 4 bytes ten times a second", without_door=False)
def dripped_streams_for_all_slots(attacker):
    connections = attacker.many(4, NO_WINDOW)
    for one in connections:
        calls(one, 32, stream(250), GENERATE_STREAM)
    drip(attacker, connections, 32, 4, 5)


@case("32 Tokenize of 64 KB whose answers are taken by 100 bytes ten times a second")
def dripped_tokens(attacker):
    one = attacker.connect(NO_WINDOW)
    calls(one, 32, tokenize("the cat " * 8192), TOKENIZE)
    drip(attacker, [one], 32, 100, 3)


@case("windows of one byte: 10,000 updates for answers of 64 KB")
def windows_of_a_byte(attacker):
    one = attacker.connect(NO_WINDOW)
    calls(one, 4, tokenize("the cat " * 8192), TOKENIZE)
    for _ in range(2500):
        if not one.send(b"".join(window_update(number, 1) for number in streams(4))):
            break
    attacker.hold(0.3)


@case("16 clients of peerage that are stopped when they have begun to read long answers", model=PEER)
def stopped_clients(attacker):
    clients = [attacker.stack.enter_context(attacker.server.start(
        "generate", "In the beginning", "--max-tokens", "1000", "--ignore-eos", "--logprobs", "20"))
        for _ in range(16)]
    for client in clients:
        attacker.stack.callback(client.kill)
        assert client.stdout.read(1), "a client has nothing to read"
        client.send_signal(signal.SIGSTOP)
    attacker.hold(2)
