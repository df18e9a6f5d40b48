from __future__ import annotations

import portrait_anim


def test_public_names_are_sorted_and_all_resolve() -> None:
    assert portrait_anim.__all__ == sorted(portrait_anim.__all__)
    for name in portrait_anim.__all__:
        assert getattr(portrait_anim, name) is not None
    assert set(portrait_anim.__all__) <= set(dir(portrait_anim))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(portrait_anim, "animation")
