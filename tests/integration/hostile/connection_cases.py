"""Attacks by connections: their number, and what is not said on them."""

import socket
import time

from attack import case
from call_cases import calls
from frames import PREFACE, call, settings
from wellformed import one_token


@case("ten times as many connections as descriptors, in 20 cycles", quick=True, without_door=False, descriptors=256)
def more_connections_than_descriptors(attacker):
    for _ in range(20):
        opened = [attacker.raw() for _ in range(2560)]
        for one in opened:
            one.hang_up()
        attacker.connections.clear()


@case("ten times as many connections as descriptors, from 200 hosts", without_door=False, descriptors=256)
def more_hosts_than_descriptors(attacker):
    for cycle in range(5):
        opened = [attacker.raw(host=1 + i % 200) for i in range(2560)]
        for one in opened:
            one.hang_up()
        attacker.connections.clear()


@case("all connections, which 1,500 hosts want to have and do nothing with, of those who stay", quick=True, stays=True,
      ended=True, without_door=False)
def idle_connections_of_many_hosts(attacker):
    for i in range(1500):
        attacker.raw(host=1 + i)
    attacker.hold(2)


@case("1,200 idle connections to the admin port of a server with 1,024 descriptors", without_door=False,
      descriptors=1024)
def idle_admin_connections_for_all_descriptors(attacker):
    for _ in range(1200):
        attacker.raw(admin=True)
    attacker.hold(1)


@case("1,200 idle connections to both ports of a server with 1,024 descriptors, of one who stays", stays=True, ended=True,
      without_door=False, descriptors=1024)
def idle_connections_for_all_descriptors(attacker):
    for i in range(1200):
        attacker.raw(admin=i % 2 == 1)
    attacker.hold(1)


@case("2,000 connections on which nothing is said, of one who stays", stays=True, ended=True, without_door=False)
def silent_connections(attacker):
    for _ in range(2000):
        attacker.raw()
    attacker.hold(1)


@case("1,000 connections that say hello and nothing more, of one who stays", stays=True, ended=True, without_door=False)
def connections_without_calls(attacker):
    for _ in range(1000):
        attacker.raw(reads=False).send(PREFACE + settings())
    attacker.hold(1)


@case("200 connections whose preface comes byte by byte", stays=True, ended=True, without_door=False)
def dripped_prefaces(attacker):
    opened = [attacker.raw() for _ in range(200)]
    for byte in PREFACE[:20]:
        for one in opened:
            one.send(bytes([byte]))
        attacker.hold(0.1)


@case("10,000 connections that are closed at once")
def closed_at_once(attacker):
    for _ in range(10_000):
        attacker.raw().close()
    attacker.connections.clear()


@case("10,000 connections that are reset at once")
def reset_at_once(attacker):
    for _ in range(10_000):
        attacker.raw().hang_up()
    attacker.connections.clear()


@case("2,000 connections that ask for one token and are gone", without_door=False)
def gone_with_a_call(attacker):
    for _ in range(2000):
        one = attacker.raw()
        one.send(PREFACE + settings())
        calls(one, 1, one_token())
        one.hang_up()
    attacker.connections.clear()


@case("200 connections that send their end and stay to read", stays=True)
def half_closed(attacker):
    for one in attacker.many(200):
        calls(one, 1, one_token())
        if not one.ended:
            one.socket.shutdown(socket.SHUT_WR)
    attacker.hold(1)


@case("300 connections with an ordinary call each, again and again", without_door=False)
def busy_connections(attacker):
    opened = attacker.many(300)
    end = time.monotonic() + 3
    number = 1
    while time.monotonic() < end:
        for one in opened:
            one.send(call(number, one_token()))
        attacker.hold(0.05)
        number += 2
