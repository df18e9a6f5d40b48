"""YAML with the place of every value, so that a mistake can be pointed at.

Every scalar is given as the text that stands in the file: whether it means a number or a time is for the fields that
read it to say, so `1:30` does not become 90 and an id such as `1e5` stays what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from portrait_anim.errors import SceneScriptError

Location: TypeAlias = tuple[str | int, ...]

_MAX_BYTES: Final = 1_000_000
_MAX_NODES: Final = 50_000
_MAX_DEPTH: Final = 12
_NULLS: Final = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, kw_only=True, slots=True)
class Positions:
    """Where keys and values stand, as 1-based (line, column), by location.

    Attributes:
        values: Place of each value.
        keys: Place of each key of a mapping.
    """

    values: Mapping[Location, tuple[int, int]] = field(default_factory=dict)
    keys: Mapping[Location, tuple[int, int]] = field(default_factory=dict)

    def find(self, location: Location, *, at_key: bool = False) -> tuple[int, int]:
        """Return the place of a location, or of the nearest part around it.

        Args:
            location: Keys and indices from the root.
            at_key: Whether the key itself is meant, not its value.
        """
        if at_key and location in self.keys:
            return self.keys[location]
        for length in range(len(location), -1, -1):
            if location[:length] in self.values:
                return self.values[location[:length]]
        return 1, 1


def read_yaml(path: Path) -> tuple[Any, Positions]:
    """Read a YAML file as texts, lists and mappings, with positions.

    Args:
        path: File in UTF-8.

    Returns:
        The content and where each part stands.

    Raises:
        SceneScriptError: If the file cannot be read or is not valid YAML.
    """
    text = _read_text(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            raise _fault(path, "expected a scene, got an empty file; see demo/samples/scene.yaml for an example", 1, 1)
        reader = _Reader(path)
        content = reader.read(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _fault(path, f"expected valid YAML, got: {error.problem or error.context}", line, column) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise _fault(path, f"expected printable text, got the character U+{error.character:04X}", line, 1) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _fault(path, "expected a plain list of roles and shots, got something nested too deeply", 1, 1) from error
    return content, Positions(values=reader.values, keys=reader.keys)


class _Reader:
    """Turns YAML nodes into values and notes where they stand."""

    def __init__(self, path: Path) -> None:
        self.values: dict[Location, tuple[int, int]] = {}
        self.keys: dict[Location, tuple[int, int]] = {}
        self._path = path

    def read(self, node: Node, location: Location) -> Any:
        """Return the value of a node; aliases are followed, but not without end."""
        place = (node.start_mark.line + 1, node.start_mark.column + 1)
        # setdefault: with an alias, the anchor's own place is where the text stands.
        self.values.setdefault(location, place)
        if len(location) > _MAX_DEPTH or len(self.values) > _MAX_NODES:
            raise _fault(self._path, "expected a plain list of roles and shots, got too many nested parts", *place)
        if isinstance(node, ScalarNode):
            return None if node.style is None and node.value in _NULLS else node.value
        if isinstance(node, SequenceNode):
            return [self.read(child, (*location, index)) for index, child in enumerate(node.value)]
        assert isinstance(node, MappingNode)
        return self._mapping(node, location)

    def _mapping(self, node: MappingNode, location: Location) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in node.value:
            place = (key.start_mark.line + 1, key.start_mark.column + 1)
            if not isinstance(key, ScalarNode):
                raise _fault(self._path, "expected a name before the colon, got a list or mapping", *place)
            if key.value in content:
                raise _fault(self._path, f"expected each key once, got {key.value!r} again; remove one", *place)
            inner: Location = (*location, key.value)
            self.keys[inner] = place
            content[key.value] = self.read(value, inner)
        return content


def _read_text(path: Path) -> str:
    try:
        if not path.is_file():
            raise _fault(path, "expected a scene script, got no such file; check the path", None, None)
        if path.stat().st_size > _MAX_BYTES:
            raise _fault(path, "expected a script of at most 1 MB; is this a script at all?", None, None)
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _fault(path, f"expected a script as UTF-8 text, got something else ({error})", None, None) from error


def _fault(path: Path, message: str, line: int | None, column: int | None) -> SceneScriptError:
    where = path.name if line is None else f"{path.name}, line {line}, column {column}"
    return SceneScriptError(f"{where}: {message}", line=line, column=column)
