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

    A call whose timeout would pass while waiting fails at once with the refusal. A generation whose
    first message has come is never begun again.
    """

    #: Tries of one call, the first included; 1 never tries again.
    max_attempts: int = 6
    #: Seconds: a server that asks for more is not waited for. A full queue asks for at most 60.
    max_delay: float = 60.0
    #: Each wait is longer by a random share of at most this, so that clients do not return at once.
    jitter: float = 0.5
    #: Of the jitter: the same seed waits the same times.
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts is {self.max_attempts}, must be at least 1")
        if not (self.max_delay >= 0 and self.jitter >= 0):
            raise ValueError("max_delay and jitter must be at least 0")


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
        self._failed += 1
        if (error.retry_delay is None or error.retry_delay > self._policy.max_delay
                or self._failed >= self._policy.max_attempts):
            raise error
        wait = error.retry_delay * (1 + self._policy.jitter * self._jitter.random())
        remaining = self.remaining()
        if remaining is not None and wait >= remaining:
            raise error
        return wait
