import pytest

from portrait_anim.errors import ProfileUnavailable, WeightsCorrupt, WeightsMissing
from portrait_anim.face.passive_liveness import InsightFaceLiveness


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises((WeightsMissing, ProfileUnavailable), match="expected"):
        InsightFaceLiveness(tmp_path)


def test_another_file_than_the_published_one_is_refused(tmp_path):
    pytest.importorskip("insightface.addons.catalog")
    (tmp_path / "addons").mkdir()
    (tmp_path / "addons" / "liveness.onnx").write_bytes(b"no network")
    with pytest.raises(WeightsCorrupt):
        InsightFaceLiveness(tmp_path)
