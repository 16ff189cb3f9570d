"""Which of the harness's requests belong together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

#: The texts (None for a window of a text), the context's ids and the continuation's.
Pair = tuple[tuple[str, str] | None, list[int], list[int]]

# What one Score may have: the wire's limit of continuations, and few enough tokens that windows of
# long texts, which all begin with one context, become many requests that run side by side.
_MOST_CONTINUATIONS = 1024
_MOST_TOKENS = 8192


@dataclasses.dataclass(slots=True)
class Document:
    """A context, continuations of it, and where each of them stood among the requests."""

    context: list[int]
    continuations: list[list[int]] = dataclasses.field(default_factory=list)
    positions: list[int] = dataclasses.field(default_factory=list)
    tokens: int = 0

    def has_room_for(self, continuation: list[int]) -> bool:
        return (len(self.continuations) < _MOST_CONTINUATIONS
                and self.tokens + len(continuation) <= _MOST_TOKENS)

    def add(self, continuation: list[int], position: int) -> None:
        self.continuations.append(continuation)
        self.positions.append(position)
        self.tokens += len(continuation)


def group(requests: Sequence[Pair], context_length: int) -> list[Document]:
    """The requests by context, in the order in which each context first comes. What is longer than
    `context_length` loses the beginning of its context.

    Raises ValueError for a continuation that has no tokens, or more than fit."""
    documents: list[Document] = []
    last: dict[tuple[int, ...], Document] = {}
    for position, (texts, context, continuation) in enumerate(requests):
        room = context_length - len(continuation)
        if not continuation or room < 1:
            raise ValueError(f"a continuation has {len(continuation)} tokens, must have 1 to "
                             f"{context_length - 1}: {str(texts):.200}")
        context = context[max(0, len(context) - room):]
        key = tuple(context)
        document = last.get(key)
        if document is None or not document.has_room_for(continuation):
            document = last[key] = Document(context)
            documents.append(document)
        document.add(continuation, position)
    return documents
