"""Many Score requests over one call after another, until each is answered or refused for good."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

from peerage import errors, requests
from peerage.answers import Scores
from peerage.errors import DataLoss, PeerageError
from peerage.options import ScoreItem
from peerage.reading import scores_of
from peerage.retry import Attempts
from peerage.v1 import inference_pb2 as pb


class ScoreBatch:
    """What of many requests is answered, and what is still to be sent. It sends nothing itself: a
    client sends `messages()` over a ScoreStream, hands every answer to `add`, and begins anew with
    what the server refused for now, after `next_delay()` seconds, until that is None.

    Answers come out in the order of the items. The items are read as they are sent, so they may be
    made on the way; an item is kept until it is answered for good.
    """

    def __init__(self, items: Iterable[ScoreItem], options: Mapping[str, Any], attempts: Attempts,
                 return_exceptions: bool) -> None:
        self._items = enumerate(items)
        self._options = options
        self._attempts = attempts
        self._return_exceptions = return_exceptions
        self._open: dict[int, pb.ScoreRequest] = {}  # sent, not answered
        self._refused: dict[int, pb.ScoreRequest] = {}  # for now
        self._refusal: PeerageError | None = None
        self._answers: dict[int, Scores | PeerageError] = {}  # not given out yet
        self._given = 0
        self._input_error: Exception | None = None
        self._progress = False  # since the last refusal

    def messages(self) -> Iterator[pb.ScoreStreamRequest]:
        """What to send over the next stream. gRPC reads it on a thread of its own."""
        again, self._refused = self._refused, {}
        for index, request in again.items():
            yield self._message(index, request)
        try:
            for index, item in self._items:
                yield self._message(index, requests.score(item, self._options))
        except Exception as error:  # gRPC would keep it to itself
            self._input_error = error

    def _message(self, index: int, request: pb.ScoreRequest) -> pb.ScoreStreamRequest:
        self._open[index] = request
        return pb.ScoreStreamRequest(id=str(index), request=request)

    def add(self, message: pb.ScoreStreamResponse) -> Iterator[Scores | PeerageError]:
        """Takes an answer, and gives those whose turn has come."""
        index = int(message.id)
        request = self._open.pop(index)
        if message.WhichOneof("result") == "error":
            error = errors.from_status(message.error)
            if error.retry_delay is not None:
                self._refused[index] = request
                self._refusal = error
                return
            if not self._return_exceptions:
                error.add_note(f"of item {index}")
                raise error
            self._answers[index] = error
        else:
            self._answers[index] = scores_of(message.response)
        self._progress = True
        while self._given in self._answers:
            yield self._answers.pop(self._given)
            self._given += 1

    def stream_failed(self, error: PeerageError) -> None:
        """The stream ended with an error. What was not answered is asked again if the server says
        so; else raises the error, or what went wrong with the items."""
        if self._input_error is not None:
            raise self._input_error
        if error.retry_delay is None:
            raise error
        self._refused.update(self._open)
        self._open.clear()
        self._refusal = error

    def next_delay(self) -> float | None:
        """After a stream: seconds to wait before the next one; None when all is answered. Raises
        the refusal when there are no tries left, and what went wrong with the items."""
        if self._input_error is not None:
            raise self._input_error
        if self._open:
            raise DataLoss(f"{len(self._open)} items have no answer", code="DATA_LOSS")
        if self._progress:
            self._attempts.begin_anew()
            self._progress = False
        if self._refusal is None:
            return None
        refusal, self._refusal = self._refusal, None
        return self._attempts.delay_after(refusal)


Progress = bool | Callable[[int, int | None], None] | None


class Counter:
    """Tells someone how many items are done: a bar of tqdm (True), or a function of how many are
    and how many there will be, if that is known."""

    def __init__(self, progress: Progress, items: Iterable[Any], unit: str) -> None:
        self._done = 0
        self._total = len(items) if isinstance(items, Sized) else None
        self._tell = progress if callable(progress) else None
        self._bar: Any = None
        if progress is True:
            from tqdm.auto import tqdm  # only for those who ask: it is no dependency

            self._bar = tqdm(total=self._total, unit=unit)

    def count(self) -> None:
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, self._total)
        if self._bar is not None:
            self._bar.update()

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
