"""Packed numbers of messages as NumPy arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from peerage.errors import DataLoss


def array_of(packed: bytes, kind: str, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
    """A read-only array of packed little-endian numbers, in this machine's order."""
    values = np.frombuffer(packed, np.dtype(kind).newbyteorder("<"))
    if values.size != int(np.prod(shape, dtype=np.int64)):
        raise DataLoss(f"{len(packed)} bytes are not {shape} numbers of {values.itemsize} bytes",
                       code="DATA_LOSS")
    result = values.astype(kind, copy=False).reshape(shape)
    result.flags.writeable = False
    return result
