"""What a run tells about itself: metrics as JSON lines, sample sheets, a summary per stage.

Metrics stay on the device until they are flushed, so that a step does not wait for the step before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image

METRICS_FILE: Final = "metrics.jsonl"


@dataclass(kw_only=True, slots=True)
class Journal:
    """Collects the metrics of one stage.

    Attributes:
        run: Folder of the run.
        stage: Name of the stage.
        writes: Whether this process writes; with several processes one does.
        mean: Averages a tensor over the processes, in place.
    """

    run: Path
    stage: str
    writes: bool = True
    mean: Callable[[torch.Tensor], None] = lambda _: None
    _waiting: list[tuple[dict[str, Any], dict[str, torch.Tensor]]] = field(default_factory=list)

    def rewind(self, step: int) -> None:
        """Drop rows of this stage that lie behind `step`, of a run that died after its last save; all for step 0."""
        path = self.run / METRICS_FILE
        if not self.writes or not path.is_file():
            return
        rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        kept = [line for line in rows if not _is_behind(json.loads(line), self.stage, step)]
        if len(kept) < len(rows):
            path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def add(self, facts: Mapping[str, Any], metrics: Mapping[str, torch.Tensor]) -> None:
        """Remember the metrics of a step.

        Args:
            facts: Plain values, such as the step.
            metrics: Scalars on any one device.
        """
        self._waiting.append((dict(facts), {k: v.detach().float() for k, v in metrics.items()}))

    def flush(self) -> dict[str, float]:
        """Read and write what was added.

        Returns:
            Mean of every metric over what was written; empty when nothing was added.
        """
        if not self._waiting:
            return {}
        names = list(self._waiting[0][1])
        table = torch.stack([torch.stack([metrics[name] for name in names]) for _, metrics in self._waiting])
        self.mean(table)
        values = table.tolist()  # the one moment at which the host waits
        rows = [
            facts | dict(zip(names, row, strict=True)) for (facts, _), row in zip(self._waiting, values, strict=True)
        ]
        self._waiting.clear()
        self.write(rows)
        return dict(zip(names, table.mean(0).tolist(), strict=True))

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Append rows of plain values."""
        if not self.writes:
            return
        with (self.run / METRICS_FILE).open("a", encoding="utf-8") as file:
            for row in rows:
                rounded = {k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}
                file.write(json.dumps({"stage": self.stage, **rounded}) + "\n")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """All rows that a run wrote, oldest first; held-out rows have `held_out` true."""
    path = run / METRICS_FILE
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def summarise(run: Path, stage: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write `summary_<stage>.json`: the given facts, training means at both ends, held-out rows at both ends.

    Returns:
        What was written.
    """
    rows = [row for row in read_metrics(run) if row.get("stage") == stage]
    trained = [row for row in rows if not row.get("held_out")]
    held_out = [row for row in rows if row.get("held_out")]
    tenth = max(1, len(trained) // 10)
    summary = {
        "stage": stage,
        **facts,
        "first": _means(trained[:tenth]),
        "last": _means(trained[-tenth:]),
        "held_out_first": held_out[0] if held_out else {},
        "held_out_last": held_out[-1] if held_out else {},
    }
    (run / f"summary_{stage}.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


def write_sheet(path: Path, pictures: Mapping[str, torch.Tensor], rows: int = 8) -> None:
    """Write a sheet with one sample per row and one column per picture, `(B, 3 or 1, S, S)` in [0, 1]."""
    rows = min(rows, *(len(p) for p in pictures.values()))
    columns = [p[:rows].float().cpu().expand(-1, 3, -1, -1) for p in pictures.values()]
    sheet = torch.cat([torch.cat(list(c), dim=1) for c in columns], dim=2)  # (3, rows S, columns S)
    array = (sheet.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(array).save(path)


def _is_behind(row: dict[str, Any], stage: str, step: int) -> bool:
    return row.get("stage") == stage and (step == 0 or int(row.get("step", 0)) > step)


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    names = [k for k, v in rows[0].items() if isinstance(v, float)] if rows else []
    return {name: round(sum(row[name] for row in rows) / len(rows), 5) for name in names}
