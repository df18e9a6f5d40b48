"""The probe finds identities where they were planted, and nothing where there are none."""

import dataclasses

import torch

from portrait_anim.training.identity_probe import ProbeSet, describe, leak, probe, unexplained_part

PEOPLE, GESTURES, WIDTH = 10, 40, 24


def planted(identity):
    """Latents = a linear law of motion + `identity` times a code per person + a little noise."""
    g = torch.Generator().manual_seed(0)
    randn = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    person = torch.arange(PEOPLE).repeat_interleave(GESTURES)
    gesture = torch.arange(GESTURES).repeat(PEOPLE)
    motion = randn(GESTURES, 6)[gesture]
    latent = motion @ randn(6, WIDTH) + identity * randn(PEOPLE, WIDTH)[person] + 0.1 * randn(len(person), WIDTH)
    pixels = randn(PEOPLE, WIDTH)[person] + 0.1 * randn(len(person), WIDTH)
    return ProbeSet(latent=latent, motion=motion, pixels=pixels, person=person, gesture=gesture)


def test_nothing_is_found_where_nothing_is():
    report = probe(planted(0.0))
    assert report.chance == 0.1
    for found in (report.latent, report.unexplained, report.centred):
        assert found.nearest < 0.2
        assert found.linear < 0.2
    assert report.pixels.nearest > 0.9
    assert report.identity_share < 0.01


def test_a_faint_identity_is_found_once_motion_is_taken_out():
    report = probe(planted(0.3))
    assert report.unexplained.nearest > 0.9
    assert report.centred.linear > 0.9
    assert report.unexplained.nearest > report.latent.nearest
    assert 0.002 < report.identity_share < 0.05
    assert "chance 10.0%" in describe(report)


def test_a_linear_probe_sees_what_neighbours_do_not():
    found = planted(0.0)
    code = torch.zeros(len(found.person), WIDTH)
    code[:, 0] = found.person.float()
    strong = dataclasses.replace(found, latent=5 * found.latent + code)
    gallery = found.gesture % 2 == 0
    marked = leak(code + 1e-3 * found.latent, found.person, gallery)
    assert marked.linear > leak(found.latent, found.person, gallery).linear
    assert probe(strong).latent.nearest < 0.4


def test_the_unexplained_part_does_not_follow_motion():
    found = planted(0.3)
    gallery = found.gesture % 2 == 0
    rest = unexplained_part(found.latent, found.motion, gallery)
    left = torch.linalg.lstsq(found.motion.double(), rest).solution
    assert left.abs().max() < 0.1
    assert rest.var() < 0.1 * found.latent.var()
