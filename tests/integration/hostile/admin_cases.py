"""Attacks on the admin port: HTTP/1.1."""

from attack import case

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def drip(attacker, connections, content, seconds):
    """A byte each, five times a second."""
    for i in range(int(5 * seconds)):
        for one in connections:
            one.send(content[i % len(content):][:1])
        attacker.hold(0.2)


def each(attacker, contents, seconds=0.5):
    for content in contents:
        attacker.raw(admin=True).send(content)
    attacker.hold(seconds)


@case("three requests that come byte by byte", quick=True, without_door=False)
def three_dripped_requests(attacker):
    drip(attacker, [attacker.raw(admin=True) for _ in range(3)], b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * 100, 2)


@case("100 requests that come byte by byte, of one who stays", stays=True, ended=True, without_door=False)
def many_dripped_requests(attacker):
    drip(attacker, [attacker.raw(admin=True) for _ in range(100)], b"GET /" + b"a" * 100, 4)


@case("8 forms that come byte by byte", without_door=False)
def dripped_forms(attacker):
    opened = [attacker.raw(admin=True) for _ in range(8)]
    for one in opened:
        one.send(b"POST /playground HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    drip(attacker, opened, b"x", 4)


@case("2,000 idle connections to the admin port", without_door=False)
def idle_admin_connections(attacker):
    for _ in range(2000):
        attacker.raw(admin=True)
    attacker.hold(3)


@case("1,000 connections to the admin port that have their answers and stay, of one who stays", stays=True, ended=True)
def answered_and_kept(attacker):
    for _ in range(5):
        for _ in range(200):
            attacker.raw(admin=True).send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        attacker.hold(0.3)


@case("8 connections kept alive without a request", without_door=False)
def kept_alive(attacker):
    each(attacker, [b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"] * 8, 3)


@case("a request line of 10 MB, 100,000 headers, a header of 10 MB")
def endless_admin_requests(attacker):
    each(attacker, [b"GET /" + b"a" * 10_000_000, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000,
                    b"GET / HTTP/1.1\r\nx: " + b"a" * 10_000_000, b"\r\n" * 100_000])


@case("lengths: negative, beyond 2^64, two of them, chunks of wrong and huge sizes")
def broken_lengths_of_forms(attacker):
    head = b"POST /playground HTTP/1.1\r\nHost: x\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    each(attacker, [head + b"Content-Length: -1\r\n\r\nabc", head + b"Content-Length: 99999999999999999999\r\n\r\n",
                    head + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nabc", head + b"Content-Length: x\r\n\r\n",
                    chunked + b"ffffffffffffffffffff\r\nabc", chunked + b"-1\r\n", chunked + b"5\r\nab",
                    chunked + b"3\r\nabc\r\n" * 100_000, head + b"\r\n"])


@case("a form of 100 MB", without_door=False)
def large_form(attacker):
    one = attacker.raw(admin=True)
    one.send(b"POST /playground HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
    one.flood(b"a" * 100_000, 1000, batch=1)
    attacker.hold(0.5)


@case("no HTTP: random bytes, a TLS hello, HTTP/2, zeros")
def not_http(attacker):
    each(attacker, [attacker.random.randbytes(1000) for _ in range(20)] +
         [b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(154), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(1000),
          b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G" * 100_000])


@case("10,000 requests in one write")
def pipelined_requests(attacker):
    each(attacker, [b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000], 1)


@case("100 pages of metrics that nobody reads, of one who stays", stays=True, ended=True, without_door=False)
def unread_metrics(attacker):
    for _ in range(20):
        attacker.raw(admin=True, reads=False, receive_buffer=4096).send(REQUEST * 5)
    attacker.hold(3)


@case("paths out of the folder, with zeros, with escapes")
def odd_paths(attacker):
    each(attacker, [b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" for path in (
        b"/../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"/static/%00", b"//etc/passwd", b"*", b"", b"/%", b"/%zz",
        b"http://other/metrics", b"/experts?layer=99999999999999999999", b"/experts?layer=-1&window=%ff",
        b"/?" + b"a=b&" * 2000)])


@case("2,000 connections to the admin port that are reset in the middle of a request")
def reset_admin_requests(attacker):
    for _ in range(2000):
        one = attacker.raw(admin=True)
        one.send(REQUEST[:20])
        one.hang_up()
    attacker.connections.clear()


@case("500 requests for metrics of one who leaves before the answer")
def left_metrics(attacker):
    for _ in range(500):
        one = attacker.raw(admin=True)
        one.send(REQUEST)
        one.hang_up()
    attacker.connections.clear()
