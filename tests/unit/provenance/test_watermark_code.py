import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portrait_anim.provenance import watermark_code

IDS = st.integers(0, watermark_code.MAX_ID)


def _signs(render_id):
    return (1.0 - 2.0 * watermark_code.encode(render_id)).astype(np.float32)


def test_the_check_is_the_published_crc_24():
    # Check value of CRC-24/OPENPGP is 0x21CF02 for "123456789"; of six bytes, computed by long division here.
    data = bytes.fromhex("0123456789ab")
    remainder = int.from_bytes(data, "big") << 24
    remainder ^= 0xB704CE << 48  # the start value acts on the first 24 bits
    for shift in range(47, -1, -1):
        if remainder >> (shift + 24) & 1:
            remainder ^= 0x1864CFB << shift
    assert watermark_code.crc24(0x0123456789AB) == remainder


@given(IDS)
@settings(max_examples=10, deadline=None)
def test_every_id_comes_back(render_id):
    assert watermark_code.decode(_signs(render_id)) == (render_id, True)


@given(IDS, st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_a_fifth_of_the_bits_may_be_wrong(render_id, seed):
    signs = _signs(render_id)
    wrong = np.random.default_rng(seed).permutation(len(signs))[: len(signs) // 5]
    signs[wrong] *= -1
    assert watermark_code.decode(signs) == (render_id, True)


def test_noise_of_three_decibels_per_bit_is_corrected():
    rng = np.random.default_rng(3)
    render_id = 0x5EED_0F_1234
    signs = _signs(render_id)
    energy = 10**0.3 * watermark_code.ID_BITS / watermark_code.CODED_BITS
    noisy = signs * np.sqrt(2 * energy) + rng.standard_normal(len(signs))
    assert watermark_code.decode(noisy.astype(np.float32)) == (render_id, True)


def test_noise_alone_and_silence_fail_the_check():
    rng = np.random.default_rng(4)
    assert not any(watermark_code.decode(rng.standard_normal(432).astype(np.float32))[1] for _ in range(20))
    assert not watermark_code.decode(np.zeros(432, dtype=np.float32))[1]
    assert not watermark_code.decode(np.ones(432, dtype=np.float32))[1]
    assert not watermark_code.decode(-np.ones(432, dtype=np.float32))[1]


def test_codewords_differ_in_many_places():
    ids = [0, 1, 2, 1 << 47, watermark_code.MAX_ID, 0x555555555555, 0xAAAAAAAAAAAA]
    words = [watermark_code.encode(value) for value in ids]
    for index, word in enumerate(words):
        for other in words[:index]:
            assert (word != other).sum() > 100


@pytest.mark.parametrize("render_id", [-1, 1 << 48])
def test_ids_that_do_not_fit_are_refused(render_id):
    with pytest.raises(ValueError, match="48"):
        watermark_code.encode(render_id)


def test_a_wrong_number_of_soft_bits_is_refused():
    with pytest.raises(ValueError, match="432"):
        watermark_code.decode(np.zeros(431, dtype=np.float32))
