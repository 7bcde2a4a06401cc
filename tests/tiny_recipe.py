"""Recipe files of runs that take some seconds."""

from __future__ import annotations

from pathlib import Path

import yaml

TINY = {
    "sampling": {"frames": 24, "min_crop_frames": 8},
    "encoder": {"layers": 1, "width": 16, "heads": 2, "segment_frames": 3},
    "decoder": {"layers": 1, "width": 16, "heads": 2},
    "training": {"epochs": 1, "warmup_epochs": 0, "batch_size": 12, "log_every": 2, "precision": "fp32"},
}


def recipe_file(folder: Path, name: str, method: str = "mamp", **changes) -> str:
    """Write FOLDER/NAME.yaml; changes: sections in place of the tiny ones."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"method": method, **TINY, **changes}))
    return str(path)
