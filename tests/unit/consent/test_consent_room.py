import ast
from pathlib import Path

import portrait_anim.consent as room


def test_public_names_are_sorted_and_exist():
    assert list(room.__all__) == sorted(room.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert all(hasattr(room, name) for name in room.__all__)


def test_the_room_imports_only_what_lies_below():
    """The gate gets values: it knows nothing of faces, media, provenance or models."""
    for file in Path(room.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.startswith("portrait_anim"):
                    assert name.split(".")[1] in ("consent", "errors", "likeness", "types"), (file.name, name)


def test_the_clock_is_always_an_argument():
    for file in Path(room.__file__).parent.glob("*.py"):
        text = file.read_text()
        assert "datetime.now(" not in text.replace("use datetime.now(timezone.utc)", ""), file.name
        assert "time.time(" not in text, file.name
