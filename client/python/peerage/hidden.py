"""Hidden states as NumPy arrays: what the model makes of chosen tokens behind chosen layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from peerage.packed import array_of
from peerage.v1 import inference_pb2 as pb


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LayerStates:
    """Rows of one layer of the prompt or context, or of a candidate or continuation."""

    #: 0 is the embedding, i what the i-th layer leaves, num_layers + 1 that after the final norm.
    layer: int
    #: Of the candidate or continuation; None: of the prompt or context, which all of them share.
    index: int | None
    #: In prompt and generated tokens, or context and continuation, ascending; uint32.
    positions: npt.NDArray[np.uint32]
    #: [positions, hidden_size]
    values: npt.NDArray[np.float32]


def fill(target: pb.HiddenStatesRequest, wanted: Mapping[str, Any]) -> None:
    """A `HiddenStates` option becomes its message. Errors name the key."""
    unknown = wanted.keys() - {"layers", "positions"}
    if unknown:
        raise TypeError(f"hidden_states: unknown keys: {', '.join(sorted(unknown))}")
    if "layers" not in wanted:
        raise TypeError("hidden_states: layers is missing")
    target.SetInParent()
    _extend(target.layers, "layers", wanted["layers"])
    positions = wanted.get("positions", "all")
    if not isinstance(positions, str):
        return _extend(target.positions, "positions", positions)
    if positions not in ("prompt", "generated", "all"):
        raise ValueError(f"hidden_states: positions is {positions!r}, must be numbers or one of "
                         "prompt, generated and all")
    target.prompt = positions in ("prompt", "all")
    target.generated = positions in ("generated", "all")
    return None


def _extend(field: Any, name: str, numbers: Iterable[int]) -> None:
    try:
        field.extend(sorted(int(n) for n in numbers))
    except (TypeError, ValueError) as error:
        raise type(error)(f"hidden_states: {name}: {error}") from None


def hidden_of(messages: Iterable[pb.HiddenStates]) -> tuple[LayerStates, ...]:
    """Raises DataLoss where values do not fit their positions."""
    return tuple(
        LayerStates(
            m.layer, m.index if m.HasField("index") else None, np.array(m.positions, np.uint32),
            cast("npt.NDArray[np.float32]",
                 array_of(m.values, "f4", (len(m.positions), m.hidden_size))))
        for m in messages)
