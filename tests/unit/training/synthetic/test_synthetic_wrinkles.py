"""Folds appear where an expression throws them, on its side, as deep as the person's are."""

import torch

from portrait_anim.training.synthetic.wrinkles import fold_depth, fold_shade, map_folds


def shade(names: tuple[str, ...], x: float, y: float, depth: float = 1.0, **change: float) -> float:
    """Brightness at a place of the average head."""
    expr = torch.zeros(1, len(names))
    for name, value in change.items():
        expr[0, names.index(name)] = value
    place = torch.tensor([x, y]).view(1, 2, 1, 1)
    return float(fold_shade(map_folds(names, torch.device("cpu")), expr, torch.tensor([depth]), place))


def test_a_smile_folds_its_own_side(expression_names: tuple[str, ...]) -> None:
    assert shade(expression_names, 2.6, -1.0, mouthSmile_L=1.0) < 0.92
    assert abs(shade(expression_names, -2.6, -1.0, mouthSmile_L=1.0) - 1) < 0.01
    assert shade(expression_names, -2.6, -1.0, mouthSmile_R=1.0) < 0.92
    assert shade(expression_names, 2.6, -1.0) == 1


def test_brows_draw_lines_on_the_forehead_or_between_them(expression_names: tuple[str, ...]) -> None:
    raised = {"browInnerUp_L": 1.0, "browInnerUp_R": 1.0, "browOuterUp_L": 1.0, "browOuterUp_R": 1.0}
    lowered = {"browDown_L": 1.0, "browDown_R": 1.0}
    assert shade(expression_names, 1.8, 7.2, **raised) < 0.92
    assert abs(shade(expression_names, 1.8, 7.2, **lowered) - 1) < 0.01
    assert shade(expression_names, 0.55, 4.9, **lowered) < 0.92
    assert shade(expression_names, 1.8, 7.6, **raised) > shade(expression_names, 1.8, 7.2, **raised) + 0.05


def test_folds_are_as_deep_as_the_persons(expression_names: tuple[str, ...]) -> None:
    shallow, deep = (1 - shade(expression_names, 2.6, -1.0, d, mouthSmile_L=1.0) for d in (0.5, 1.5))
    assert abs(deep / shallow - 3) < 0.01
    depths = fold_depth(torch.arange(1, 500))
    assert depths.min() > 0.3
    assert depths.std() > 0.3
    assert torch.equal(depths, fold_depth(torch.arange(1, 500)))
