"""Contact sheets and side-by-side pictures."""

import numpy as np
import pytest

from portrait_anim.sheet import COLUMNS, SIDE_PX, ContactSheet, fit, side_by_side


def flat(height, width, value):
    return np.full((height, width, 3), value, np.uint8)


def test_fitting_keeps_the_whole_picture_in_the_middle():
    out = fit(flat(50, 100, 200), (80, 80))
    assert out.shape == (80, 80, 3)
    assert (out[20:60] == 200).all()
    assert not out[:19].any()


def test_sheet_shows_first_and_last_frame_and_spreads_the_rest():
    sheet = ContactSheet(101, flat(64, 64, 90))
    shown = [k for k in range(101) if sheet.wants(k)]
    assert shown[0] == 0
    assert shown[-1] == 100
    assert len(shown) == COLUMNS
    assert np.ptp(np.diff(shown)) <= 1
    for k in range(101):
        sheet.add(k, flat(40, 40, 10), flat(40, 40, k + 100))
    assert sheet.image.shape == (2 * SIDE_PX, (COLUMNS + 1) * SIDE_PX, 3)
    assert (sheet.image[SIDE_PX, 0] == 90).all()  # the portrait, halfway down the first column
    assert (sheet.image[0, SIDE_PX:] == 10).all()
    assert [int(v) for v in sheet.image[-1, SIDE_PX + 1 :: SIDE_PX, 0]] == [k + 100 for k in shown]


@pytest.mark.parametrize("frames", [1, 3])
def test_a_short_clip_gives_a_narrow_sheet(frames):
    sheet = ContactSheet(frames, flat(8, 8, 1))
    assert sheet.image.shape[1] == (frames + 1) * SIDE_PX
    sheet.add(0, None, flat(8, 8, 7))
    assert not sheet.image[:SIDE_PX, SIDE_PX:].any()  # no driver to show for motion from a file


def test_side_by_side_has_the_height_of_the_result():
    assert side_by_side(flat(30, 60, 1), flat(90, 45, 2), flat(60, 60, 3)).shape == (60, 60 + 30 + 60, 3)
    assert side_by_side(flat(30, 60, 1), None, flat(60, 60, 3)).shape == (60, 120, 3)
