"""The payload of the invisible watermark: 48 bits, a 24-bit check, and a strong convolutional code.

The code is the one that carried the pictures of the Cassini probe (constraint length 15, rate 1/6; "DSN
Telecommunications Link Design Handbook", module 207), closed to a ring ("tail-biting") so that no bit is spent on
an ending. Decoding is soft: every received value counts by how sure it is.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from portrait_anim.types import Float32Array

ID_BITS: Final = 48
CHECK_BITS: Final = 24
INFO_BITS: Final = ID_BITS + CHECK_BITS
RATE: Final = 6
CODED_BITS: Final = INFO_BITS * RATE
MAX_ID: Final = (1 << ID_BITS) - 1

_GENERATORS: Final = (0o46321, 0o51271, 0o63667, 0o70535, 0o73277, 0o76513)
_MEMORY: Final = 14
_NUM_STATES: Final = 1 << _MEMORY
_CRC24_POLYNOMIAL: Final = 0x864CFB  # RFC 4880, section 6.1
_CRC24_START: Final = 0xB704CE

BitArray = npt.NDArray[np.uint8]


def _branch_outputs() -> npt.NDArray[np.uint8]:
    """Six output bits as one number, for each content of the 15-bit register."""
    register = np.arange(1 << (_MEMORY + 1), dtype=np.uint32)
    outputs = np.zeros(len(register), dtype=np.uint8)
    for position, generator in enumerate(_GENERATORS):
        parity = register & generator
        for shift in (8, 4, 2, 1):
            parity = parity ^ (parity >> shift)
        outputs |= ((parity & 1) << position).astype(np.uint8)
    return outputs


_OUTPUTS: Final = _branch_outputs()
_SIGNS: Final = 1 - 2.0 * ((np.arange(1 << RATE)[:, None] >> np.arange(RATE)) & 1).astype(np.float32)  # (64, 6)


def crc24(render_id: int) -> int:
    """Check of a 48-bit number by the CRC-24 of RFC 4880.

    Args:
        render_id: 0 to 2**48 - 1.

    Returns:
        24-bit check.
    """
    check = _CRC24_START
    for byte in render_id.to_bytes(ID_BITS // 8, "big"):
        check ^= byte << 16
        for _ in range(8):
            check <<= 1
            if check & 0x1000000:
                check ^= 0x1000000 | _CRC24_POLYNOMIAL
    return check


def encode(render_id: int) -> BitArray:
    """Code a number with its check.

    Args:
        render_id: 0 to 2**48 - 1.

    Returns:
        `(432,)` uint8 of 0 and 1.

    Raises:
        ValueError: If the number has more than 48 bits or is negative.
    """
    if not 0 <= render_id <= MAX_ID:
        raise ValueError(f"Expected a render id of 0 to 2**48 - 1, got {render_id}.")
    word = (render_id << CHECK_BITS) | crc24(render_id)
    bits = [(word >> (INFO_BITS - 1 - index)) & 1 for index in range(INFO_BITS)]
    register = 0
    for bit in bits[-_MEMORY:]:  # the ring: the state before the first bit is the one after the last
        register = ((register << 1) | bit) & (_NUM_STATES - 1)
    coded = np.empty((INFO_BITS, RATE), dtype=np.uint8)
    for index, bit in enumerate(bits):
        register = (register << 1) | bit
        coded[index] = (int(_OUTPUTS[register]) >> np.arange(RATE)) & 1
        register &= _NUM_STATES - 1
    return coded.reshape(-1)


def decode(soft: Float32Array) -> tuple[int, bool]:
    """Find the most likely number and test its check.

    Args:
        soft: `(432,)` log likelihood ratios, up to a factor: positive means 0, negative means 1.

    Returns:
        The number, and whether its check holds. Of random input, one in 2**24 passes.

    Raises:
        ValueError: If there are not 432 values.
    """
    render_id, check = decode_with_check(soft)
    return render_id, crc24(render_id) == check


def decode_with_check(soft: Float32Array) -> tuple[int, int]:
    """Find the most likely number and the 24-bit check that came with it; see `decode`."""
    if soft.shape != (CODED_BITS,):
        raise ValueError(f"Expected {CODED_BITS} soft bits, got {soft.shape}.")
    word = 0
    for bit in _most_likely(soft.reshape(INFO_BITS, RATE).astype(np.float32)):
        word = (word << 1) | int(bit)
    return word >> CHECK_BITS, word & ((1 << CHECK_BITS) - 1)


def _most_likely(soft: Float32Array) -> list[int]:
    """Viterbi's algorithm twice around the ring; the middle of the path no longer knows where it began."""
    branches = soft @ _SIGNS.T  # (72, 64) metric per step and output
    metric = np.zeros(_NUM_STATES, dtype=np.float32)
    num_steps = 2 * INFO_BITS
    older = np.empty((num_steps, _NUM_STATES), dtype=np.bool_)
    for step in range(num_steps):
        candidate = np.repeat(metric, 2) + branches[step % INFO_BITS].take(_OUTPUTS)
        zero, one = candidate[:_NUM_STATES], candidate[_NUM_STATES:]  # bit that leaves the register
        np.greater(one, zero, out=older[step])
        metric = np.maximum(zero, one)
        if step % INFO_BITS == 0:
            metric -= metric.max()
    state = int(metric.argmax())
    path = np.empty(num_steps, dtype=np.uint8)
    for step in range(num_steps - 1, -1, -1):
        path[step] = state & 1
        state = (state >> 1) | (int(older[step, state]) << (_MEMORY - 1))
    begin = INFO_BITS // 2
    return [int(bit) for bit in np.roll(path[begin : begin + INFO_BITS], begin)]
