from __future__ import annotations

import pytest

from portrait_anim.provenance.envelope import _check_signature_padding


def cose(header: bytes) -> bytes:
    """A COSE signature with an unprotected header of this content."""
    return b"\xd2\x84" + b"\x43abc" + header + b"\xf6" + b"\x44sign"


PAD = b"\x63pad" + b"\x43" + bytes(3)
STAMP = b"\x67sigTst2" + b"\xa1" + b"\x69tstTokens" + b"\x81\xa1" + b"\x63val" + b"\x45token"


@pytest.mark.parametrize("header", [b"\xa0", b"\xa1" + PAD, b"\xa1" + STAMP, b"\xa2" + STAMP + PAD])
def test_padding_and_time_stamps_are_known(header: bytes) -> None:
    _check_signature_padding(cose(header))


@pytest.mark.parametrize(
    "data",
    [
        cose(b"\xa1" + b"\x63pad" + b"\x43" + b"\0\1\0"),
        cose(b"\xa1" + b"\x64hide" + b"\x43" + bytes(3)),
        cose(b"\xa2" + STAMP + b"\x64hide" + b"\x43abc"),
        cose(b"\xa1" + PAD) + b"x",
        cose(b"\xa1" + STAMP)[:-8],
        cose(b"\xa1" + b"\x67sigTst2" + b"\x9b" + b"\xff" * 8),
        cose(b"\xa1" + b"\x67sigTst2" + b"\x81" * 50),
        cose(b"\xa1" + b"\x67sigTst2" + b"\xfb" + bytes(8)),
        b"",
        b"\xd2\x84",
    ],
)
def test_anything_else_is_unusual(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"signature|time stamp"):
        _check_signature_padding(data)
