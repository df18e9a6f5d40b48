import pytest
import torch

from portrait_anim.training.synthetic.curves import Performance, curve, perform
from portrait_anim.training.synthetic.motion import MotionStatistics
from portrait_anim.training.synthetic.performances import CHALLENGE_ACTIONS, DRIVING, DRIVING_B, challenge_performance


@pytest.fixture(scope="module")
def statistics(expression_names: tuple[str, ...]) -> MotionStatistics:
    return MotionStatistics(expression_names, torch.device("cpu"))


def test_a_curve_meets_its_keys_and_never_overshoots() -> None:
    keys = ((0.5, 0.0), (1.0, 2.0), (2.0, -1.0))
    time_s = torch.linspace(0, 3, 301)
    values = curve(keys, time_s)
    for at, value in keys:
        assert values[(time_s - at).abs().argmin()] == pytest.approx(value, abs=1e-3)
    assert values[0] == 0
    assert values[-1] == -1
    assert values.min() >= -1
    assert values.max() <= 2


def test_no_keys_and_one_key_are_constants() -> None:
    time_s = torch.arange(5) / 5
    assert (curve((), time_s) == 0).all()
    assert (curve(((0.3, 4.0),), time_s) == 4).all()


def test_keys_must_be_in_order() -> None:
    with pytest.raises(ValueError, match="in order of time"):
        curve(((1.0, 0.0), (0.5, 1.0)), torch.zeros(1))


def test_a_performance_becomes_curves(statistics: MotionStatistics) -> None:
    jaw = ({"jawOpen": 0.5}, ((0.0, 1.0),))
    still = Performance(duration_s=2.0, yaw=((0.0, 10.0),), blinks=(1.0,), expression=(jaw,))
    curves = perform(statistics, still, 20.0)
    assert curves.expr.shape == (40, 53)
    assert (curves.head[:, 0] == 10).all()
    assert curves.expr[:, statistics.names.index("jawOpen")].unique().tolist() == [0.5]
    lid = curves.expr[:, statistics.names.index("eyeBlink_L")]
    assert lid[:20].max() == 0
    assert lid[20:27].max() > 0.9


def test_unrest_is_small_and_seeded(statistics: MotionStatistics) -> None:
    alive = Performance(duration_s=2.0, unrest=1.0, seed=3)
    once, again = perform(statistics, alive, 25.0), perform(statistics, alive, 25.0)
    assert torch.equal(once.head, again.head)
    assert 0.1 < once.head.abs().mean() < 3


@pytest.mark.parametrize("performance", [DRIVING, DRIVING_B, challenge_performance()])
def test_sample_performances_stay_within_what_can_be_rendered(
    statistics: MotionStatistics, performance: Performance
) -> None:
    curves = perform(statistics, performance, 25.0)
    assert (curves.head[:, 0].abs() < 30).all()
    assert (curves.head[:, 1].abs() < 22).all()
    assert curves.expr.min() >= 0
    assert curves.expr.max() <= 1
    assert curves.head.diff(dim=0).abs().max() < 4  # deg per frame


def test_challenge_performs_its_actions_one_at_a_time(statistics: MotionStatistics) -> None:
    curves = perform(statistics, challenge_performance(), 50.0)
    index = statistics.names.index
    shown = {
        "turn_left": curves.head[:, 0] / 25,
        "open_mouth": curves.expr[:, index("jawOpen")] / 0.6,
        "smile": curves.expr[:, index("mouthSmile_L")] / 0.9,
        "look_up": -(curves.head[:, 1] - curves.head[:, 1].median()) / 15,
        "raise_brows": curves.expr[:, index("browOuterUp_L")],
        "blink_twice": curves.expr[:, index("eyeBlink_L")],
    }
    ends = [0.0] + [end for _, _, end in CHALLENGE_ACTIONS]
    for (action, start, end), before in zip(CHALLENGE_ACTIONS, ends, strict=False):
        assert start - before > 0.5  # a pause
        inside = slice(round(50 * start), round(50 * end))
        assert shown[action][inside].max() > 0.85
        for other, values in shown.items():
            if other not in (action, "blink_twice"):
                assert values[inside].abs().max() < 0.35
    closing = curves.expr[:, index("eyeBlink_L")] > 0.5
    start, end = next((s, e) for a, s, e in CHALLENGE_ACTIONS if a == "blink_twice")
    part = closing[round(50 * start) : round(50 * end)].int()
    assert (part.diff() == 1).sum() == 2
