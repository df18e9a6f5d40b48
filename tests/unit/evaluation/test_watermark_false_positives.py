import numpy as np
import pytest

from portrait_anim.evaluation import watermark_false_positives
from portrait_anim.evaluation.unmarked_pictures import drawn, photographs
from portrait_anim.evaluation.watermark_false_positives import Block, main, measure_block, summary
from portrait_anim.media.image import write_image


def test_photographs_are_cut_at_random(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    write_image(tmp_path / "one.png", picture)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    crops = photographs([tmp_path], np.random.default_rng(1))
    seen = [next(crops) for _ in range(20)]
    assert len({crop.shape for crop in seen}) > 5
    assert all(128 <= side <= 256 for crop in seen for side in crop.shape[:2])
    assert next(photographs([], np.random.default_rng(1)), None) is None


def test_drawings_are_pictures():
    rng = np.random.default_rng(2)
    seen = [drawn(rng) for _ in range(40)]
    assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in seen)
    assert len({int(picture.mean()) for picture in seen}) > 10


def test_a_block_is_the_same_every_time(monkeypatch):
    monkeypatch.setattr(watermark_false_positives, "BLOCK_FRAMES", 5)
    block = measure_block(3, seed=1, thorough_every=4)
    assert block == measure_block(3, seed=1, thorough_every=4)
    assert block.found == 0
    assert block.thorough == 1
    assert len(block.pilots) == 5
    assert all(0 <= bits <= 24 for bits in block.check_bits)
    assert 6 < np.mean(block.check_bits) < 18  # by chance 12


def test_a_run_goes_on_with_the_same_choices_only(monkeypatch, tmp_path, capsys):
    def known_block(number, **choices):
        return Block(number=number, thorough=1, found=0, pilots=[0.5], check_bits=[12])

    monkeypatch.setattr(watermark_false_positives, "summary", lambda blocks: f"{len(blocks)} blocks")
    monkeypatch.setattr(watermark_false_positives, "measure_block", known_block)
    resume = ["--frames", "250", "--resume", str(tmp_path / "run.jsonl")]
    main([*resume, "--seed", "1"])
    kept = (tmp_path / "run.jsonl").read_bytes()
    for other in (["--seed", "2"], ["--seed", "1", "--thorough-every", "3"], ["--seed", "1", "--photographs", "x"]):
        with pytest.raises(SystemExit):
            main([*resume, *other])
        assert "run.jsonl" in capsys.readouterr().err
    main([*resume, "--seed", "1"])
    assert (tmp_path / "run.jsonl").read_bytes() == kept  # nothing was measured again
    main([*resume, "--seed", "1", "--frames", "500"])
    assert "2 blocks" in capsys.readouterr().out


def _blocks(pilots):
    return [Block(number=0, thorough=10, found=0, pilots=pilots, check_bits=[12] * 10)]


def test_extreme_values_are_told():
    rng = np.random.default_rng(0)
    as_promised = summary(_blocks(list(np.log10(rng.random(20_000)))))
    assert "0 found in 20000 unmarked frames" in as_promised
    best = float(as_promised.split("extrapolated: 10^")[1].split(" ")[0])
    assert best == pytest.approx(-6, abs=1)  # one in a million uniform values is below a millionth
    heavy = summary(_blocks(list(-np.abs(rng.standard_cauchy(20_000)))))
    assert float(heavy.split("extrapolated: 10^")[1].split(" ")[0]) < -20  # would show that the bound is wrong
