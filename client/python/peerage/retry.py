"""When a refused call is tried again. Policy only: nothing here sends or sleeps."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable

from peerage.errors import PeerageError


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """Calls are tried again when, and as late as, the server asks for it: when its refusal carries
    a RetryInfo (the queue is full, the server loads or drains): nothing was computed, then.

    A stream of one candidate that breaks goes on where it was, as if nothing had happened: with the
    tokens that would have followed, at this server or at another one of the same build and weights.

    A call whose timeout would pass while waiting fails at once with the refusal.
    """

    #: Tries of one call, the first included; 1 never tries again. A stream that went on, and
    #: brought tokens, has as many anew.
    max_attempts: int = 6
    #: Seconds: a server that asks for more is not waited for. A full queue asks for at most 60.
    max_delay: float = 60.0
    #: Each wait is longer by a random share of at most this, so that clients do not return at once.
    jitter: float = 0.5
    #: Of the jitter: the same seed waits the same times.
    seed: int | None = None
    #: Whether a stream that broke goes on.
    resume: bool = True
    #: Seconds after which it does, unless the server asks for others; twice as many each time that
    #: there is no server.
    resume_delay: float = 0.25

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts is {self.max_attempts}, must be at least 1")
        if not (self.max_delay >= 0 and self.jitter >= 0 and self.resume_delay >= 0):
            raise ValueError("max_delay, jitter and resume_delay must be at least 0")


class Attempts:
    """The tries of one call, and the time that is left for them."""

    def __init__(self, policy: RetryPolicy, jitter: random.Random, timeout: float | None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._jitter = jitter
        self._clock = clock
        self._deadline = None if timeout is None else clock() + timeout
        self._failed = 0

    def remaining(self) -> float | None:
        """Seconds for the next try; None without a limit."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock())

    def begin_anew(self) -> None:
        """Forgets the tries, not the time: some of the work was done."""
        self._failed = 0

    def delay_after(self, error: PeerageError) -> float:
        """Seconds to wait before the next try. Raises `error` when there is none."""
        if error.retry_delay is None:
            raise error
        return self._delay(error, error.retry_delay)

    def delay_after_break(self, error: PeerageError) -> float:
        """Seconds to wait before a stream that broke goes on. Raises `error` when it does not."""
        if not self._policy.resume:
            raise error
        delay = min(self._policy.resume_delay * 2.0**self._failed, self._policy.max_delay)
        return self._delay(error, delay if error.retry_delay is None else error.retry_delay)

    def _delay(self, error: PeerageError, least: float) -> float:
        self._failed += 1
        if least > self._policy.max_delay or self._failed >= self._policy.max_attempts:
            raise error
        wait = least * (1 + self._policy.jitter * self._jitter.random())
        remaining = self.remaining()
        if remaining is not None and wait >= remaining:
            raise error
        return wait
