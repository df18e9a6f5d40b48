import pytest
import torch

from portrait_anim.training.synthetic.motion import Gesture, MotionStatistics, add_lid_coupling, choose, concatenate
from portrait_anim.training.synthetic.motion_tables import EMOTIONS, SHOWN, VISEMES
from portrait_anim.training.synthetic.sequences import MotionSequences, blink_shape

MANY = 4000


@pytest.fixture(scope="module")
def statistics(expression_names: tuple[str, ...]) -> MotionStatistics:
    return MotionStatistics(expression_names, torch.device("cpu"))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_tables_cover_every_named_shape(statistics: MotionStatistics) -> None:
    assert statistics.emotions.shape == (len(EMOTIONS), 53)
    assert statistics.visemes.shape == (len(VISEMES), 53)
    assert statistics.shown.sum() >= len(SHOWN)
    joy = statistics.emotions[list(EMOTIONS).index("joy")]
    assert joy[statistics.names.index("mouthSmile_L")] == joy[statistics.names.index("mouthSmile_R")] > 0.5


def test_a_coefficient_that_does_not_exist_is_refused(statistics: MotionStatistics) -> None:
    with pytest.raises(ValueError, match="noseWiggle"):
        statistics.shape(noseWiggle=1.0)


def test_expressions_are_sparse_correlated_and_in_range(statistics: MotionStatistics) -> None:
    expr = statistics.expression(MANY, generator())
    assert expr.min() >= 0
    assert expr.max() <= 1
    assert 3 < (expr > 0.1).float().sum(1).mean() < 12
    index = statistics.names.index
    pair = torch.stack([expr[:, index("mouthSmile_L")], expr[:, index("mouthSmile_R")]])
    assert 0.7 < torch.corrcoef(pair)[0, 1] < 0.99  # both sides together, but not the same
    closed = (expr[:, index("eyeBlink_L")] > 0.5).float().mean()
    assert 0.05 < closed < 0.2


def test_heads_and_gaze_stay_within_what_can_be_shown(statistics: MotionStatistics) -> None:
    head, gaze = statistics.head(MANY, generator(1)), statistics.gaze(MANY, generator(2))
    assert (head.abs() <= statistics.head_limits).all()
    assert 4 < head[:, 0].std() < 14
    assert (gaze.abs() <= statistics.gaze_limits).all()
    assert 0.12 < (gaze.abs().sum(1) == 0).float().mean() < 0.28
    assert statistics.shift(MANY, generator(3)).abs().max() <= 8


def test_the_same_seed_gives_the_same_motion(statistics: MotionStatistics) -> None:
    assert torch.equal(statistics.expression(9, generator(4)), statistics.expression(9, generator(4)))
    assert not torch.equal(statistics.expression(9, generator(4)), statistics.expression(9, generator(5)))


def test_closing_the_lids_overrides_wide_eyes(statistics: MotionStatistics) -> None:
    wide = statistics.shape(eyeWide=1.0)[None]
    shut = statistics.set_blink(wide, torch.tensor([[1.0, 0.0]]))[0]
    index = statistics.names.index
    assert shut[index("eyeWide_L")] == 0
    assert shut[index("eyeWide_R")] == 1
    assert shut[index("eyeBlink_L")] == 1
    assert wide[0, index("eyeWide_L")] == 1  # the input is not changed


def test_lids_follow_a_downward_gaze(statistics: MotionStatistics) -> None:
    out = add_lid_coupling(torch.zeros(1, 53), torch.tensor([[0.0, 15.0]]), statistics.names)[0]
    assert out[statistics.names.index("eyeLookDown_L")] == pytest.approx(0.5)
    assert out[statistics.names.index("eyeLookUp_L")] == 0


def test_choosing_and_joining_gestures(statistics: MotionStatistics) -> None:
    one = Gesture(expr=torch.ones(2, 53), head=torch.ones(2, 3), shift=torch.ones(2, 3), gaze=torch.ones(2, 2))
    none = Gesture(expr=torch.zeros(2, 53), head=torch.zeros(2, 3), shift=torch.zeros(2, 3), gaze=torch.zeros(2, 2))
    mixed = choose(torch.tensor([True, False]), one, none)
    assert mixed.head[:, 0].tolist() == [1, 0]
    assert len(concatenate([one, mixed])) == 4


@pytest.mark.parametrize("fps", [15.0, 25.0, 60.0])
def test_sequences_are_smooth_at_every_rate(statistics: MotionStatistics, fps: float) -> None:
    curves = MotionSequences(statistics, fps=fps).sample(6, round(8 * fps), generator(6))
    assert curves.expr.shape == (6, round(8 * fps), 53)
    head_speed = curves.head.diff(dim=1).abs() * fps  # deg/s
    assert 2 < head_speed.mean() < 40
    assert head_speed.max() < 260
    jerk = curves.head.diff(n=2, dim=1).abs().mean() / curves.head.diff(dim=1).abs().mean()
    assert jerk < 0.8
    assert (curves.head.abs() <= statistics.head_limits).all()


def test_people_blink_at_a_natural_rate(statistics: MotionStatistics) -> None:
    lids = MotionSequences(statistics).blinks(20, 25 * 60, generator(7))
    blinks = ((lids[:, 1:] > 0.5) & (lids[:, :-1] <= 0.5)).float().sum(1)
    assert 9 < blinks.mean() < 22  # per minute


def test_a_blink_closes_faster_than_it_opens() -> None:
    phase = torch.linspace(-0.5, 1.5, 201)
    closure = blink_shape(phase)
    assert closure[0] == 0
    assert closure[-1] == 0
    assert closure.max() == 1
    assert phase[closure.argmax()] < 0.5


def test_statistics_of_living_faces(expression_names: tuple[str, ...]) -> None:
    statistics = MotionStatistics(expression_names, torch.device("cpu"))
    g = torch.Generator().manual_seed(7)
    expr, gaze = statistics.expression(8000, g), statistics.gaze(8000, g)
    k = {name: i for i, name in enumerate(expression_names)}
    share = (expr > 0.3).float().mean(0)
    assert 2 < float((expr > 0.1).sum(1).float().mean()) < 12  # sparse: few of 53 at once
    for name in ("mouthPucker", "mouthFunnel", "mouthPress_L", "mouthRollLower", "browOuterUp_L", "browDown_R"):
        assert 0.02 < share[k[name]] < 0.4, name
    for name in ("cheekPuff_L", "jawLeft", "jawRight", "mouthLeft", "mouthRight"):
        assert 0.008 < share[k[name]] < 0.2, name
    corner = torch.corrcoef(expr[:, [k["mouthSmile_L"], k["mouthSmile_R"], k["cheekSquint_L"]]].T)
    assert 0.7 < corner[0, 1] < 0.98  # the sides move together, but not as one
    assert corner[0, 2] > 0.4  # a smile lifts the cheek
    uneven = (expr[:, k["browOuterUp_L"]] - expr[:, k["browOuterUp_R"]]).abs() > 0.3
    assert 0.02 < uneven.float().mean() < 0.25
    down_and_open = (gaze[:, 1] > 8) & (expr[:, k["eyeBlink_L"]] < 0.2)
    assert 0.08 < down_and_open.float().mean() < 0.35
    assert 0.05 < (gaze[:, 0].abs() > 15).float().mean() < 0.3


def test_mirrored_actions_use_the_other_side(expression_names: tuple[str, ...]) -> None:
    statistics = MotionStatistics(expression_names, torch.device("cpu"))
    only = statistics.table({"aside": {"mouthLeft": 1.0, "noseSneer_L": 1.0}})
    drawn = statistics.actions(torch.Generator().manual_seed(0), only, 400) > 0
    left = drawn[:, expression_names.index("mouthLeft")]
    assert torch.equal(left, drawn[:, expression_names.index("noseSneer_L")])
    assert torch.equal(~left, drawn[:, expression_names.index("mouthRight")])
    assert 0.4 < left.float().mean() < 0.6


def test_strong_emotion_is_drawn_with_closed_and_with_open_mouth(statistics: MotionStatistics) -> None:
    expr = statistics.expression(MANY, generator(11))
    k = statistics.names.index
    strong = {
        "joy": expr[:, k("mouthSmile_L")] > 0.75,
        "anger": (expr[:, k("browDown_L")] > 0.75) & (expr[:, k("noseSneer_L")] > 0.3),
        "fear": (expr[:, k("eyeWide_L")] > 0.6) & (expr[:, k("browInnerUp_L")] > 0.6),
        "disgust": (expr[:, k("noseSneer_L")] > 0.7) & (expr[:, k("mouthUpperUp_L")] > 0.4),
        "sadness": (expr[:, k("mouthFrown_L")] > 0.5) & (expr[:, k("browInnerUp_L")] > 0.5),
        "surprise": (expr[:, k("browOuterUp_L")] > 0.6) & (expr[:, k("jawOpen")] > 0.4),
    }
    assert {name: bool(m.float().mean() > 0.004) for name, m in strong.items()} == dict.fromkeys(strong, True)
    wide_open = expr[:, k("jawOpen")] > 0.6
    assert 0.01 < (wide_open & (expr[:, k("mouthStretch_L")] > 0.3)).float().mean() < 0.1
    assert (expr > 0.3).float().mean(1).max() < 0.6  # nobody moves everything at once


def test_blinks_have_natural_lengths_and_depths(statistics: MotionStatistics) -> None:
    fps = 100.0
    lids = MotionSequences(statistics, fps=fps).blinks(40, round(60 * fps), generator(12))
    closed = lids > 0.5
    starts = (closed[:, 1:] & ~closed[:, :-1]).sum()
    half_width_s = closed.sum() / fps / starts
    assert 0.05 < half_width_s < 0.2
    peaks = (lids[:, 1:-1] > 0.3) & (lids[:, 1:-1] >= lids[:, :-2]) & (lids[:, 1:-1] > lids[:, 2:])
    depth = lids[:, 1:-1][peaks]
    assert 0.08 < (depth < 0.9).float().mean() < 0.3
    assert (depth > 0.95).float().mean() > 0.6
    times = [row.nonzero()[:, 0] / fps for row in peaks]
    gaps = torch.cat([t.diff() for t in times])
    assert 2.5 < gaps.mean() < 5
    assert 0.05 < (gaps < 0.7).float().mean() < 0.25  # double blinks


def test_curves_of_expression_are_smooth_sparse_and_uneven(statistics: MotionStatistics) -> None:
    curves = MotionSequences(statistics, fps=25.0).sample(24, 25 * 12, generator(13))
    k = statistics.names.index
    lids = [k("eyeBlink_L"), k("eyeBlink_R")]
    rest = [i for i in range(53) if i not in lids and not statistics.names[i].startswith(("eyeWide", "eyeSquint"))]
    speed = curves.expr[..., rest].diff(dim=1).abs()
    assert speed.max() < 0.45  # per frame of 40 ms: a mouth opens in no less than 0.1 s
    assert speed.mean() > 0.002
    turns = curves.expr[..., rest].diff(n=2, dim=1).abs().mean() / speed.mean()
    assert turns < 0.7  # white noise would give 1.7
    assert 2 < (curves.expr > 0.1).float().sum(-1).mean() < 14
    left, right = curves.expr[..., k("mouthSmile_L")], curves.expr[..., k("mouthSmile_R")]
    assert 0.8 < torch.corrcoef(torch.stack([left.flatten(), right.flatten()]))[0, 1] < 0.999
    assert (left - right).abs().max() > 0.1
    assert (curves.expr[..., lids[0]] - curves.expr[..., lids[1]]).abs().max() > 0.02
    assert curves.expr[..., k("jawOpen")].amax(1).max() > 0.6
