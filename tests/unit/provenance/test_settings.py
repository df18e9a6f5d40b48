from __future__ import annotations

import os
from pathlib import Path

import pytest

from portrait_anim.errors import ProvenanceError
from portrait_anim.provenance.settings import SETTINGS_FILE, ProvenanceSettings, load_settings


def test_without_a_file_the_strict_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "nowhere")
    assert settings == ProvenanceSettings()
    assert settings.ingestion.foreign_mark == "refuse"
    assert settings.ingestion.do_not_animate == "refuse"
    assert settings.signing.certificate_chain is None
    assert not (tmp_path / "nowhere").exists()


def test_everything_can_be_said(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text(
        "signing:\n  certificate_chain: chain.pem\n  callback: my.kms:sign\n  algorithm: ps256\n"
        "  time_stamp_url: http://tsa.example\n  trusted: [other.pem]\n"
        "ingestion: {foreign_mark: allow, do_not_animate: allow, do_not_train: refuse}\n"
        "label: {language: pl, smallest: large}\n"
    )
    settings = load_settings(tmp_path)
    assert settings.signing.certificate_chain == tmp_path / "chain.pem"
    assert settings.signing.trusted == (tmp_path / "other.pem",)
    assert settings.signing.callback == "my.kms:sign"
    assert settings.label.language == "pl"
    assert settings.ingestion.do_not_train == "refuse"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    chain = (tmp_path / "a" / "chain.pem").as_posix()
    text = f"signing: {{certificate_chain: '{chain}', private_key: key.pem}}\n"
    (tmp_path / SETTINGS_FILE).write_text(text)
    settings = load_settings(tmp_path)
    assert settings.signing.certificate_chain == Path(chain)
    assert settings.signing.private_key == tmp_path / "key.pem"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("signing: {certificat: x}", "certificat"),
        ("labels: {}", "labels"),
        ("label: {language: xx}", "language"),
        ("label: {smallest: none}", "smallest"),
        ("watermark: false", "watermark"),
        ("signing: {certificate_chain: a.pem}", "exactly one"),
        ("signing: {certificate_chain: a.pem, private_key: b, callback: 'm:f'}", "exactly one"),
        ("signing: {callback: 'm:f'}", "certificate_chain"),
        ("signing: {certificate_chain: a.pem, callback: 'os.system'}", "module:function"),
        ("signing: {time_stamp_url: 'file:///etc'}", "http"),
        ("signing: {algorithm: md5}", "algorithm"),
        ("ingestion: {foreign_mark: maybe}", "foreign_mark"),
        ("- a\n- b", "the file"),
        ("a: [", "expected known settings"),
        ("!!python/object/apply:os.system ['true']", "expected known settings"),
        ("\xff", "expected known settings"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / SETTINGS_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(ProvenanceError, match=message):
        load_settings(tmp_path)


def test_a_huge_or_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text("#" * 70_000)
    with pytest.raises(ProvenanceError, match="64 KiB"):
        load_settings(tmp_path)
    (tmp_path / SETTINGS_FILE).unlink()
    os.mkdir(tmp_path / SETTINGS_FILE)
    with pytest.raises(ProvenanceError, match="permissions"):
        load_settings(tmp_path)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text("# nothing yet\n")
    assert load_settings(tmp_path) == ProvenanceSettings()
