"""What the command line does, as short calls: `kinemask.pretrain(...)`, `kinemask.evaluate(...)`.

The commands' parsers are made from these signatures and docstrings. Nothing here imports PyTorch before it is needed.
"""

from __future__ import annotations

from kinemask.api.evaluation import compare, ensemble, evaluate, report
from kinemask.api.pretraining import default_run, import_released, pretrain
from kinemask.api.recognition import embed, export, live, predict, train
from kinemask.api.recordings import info, prepare, view

__all__ = [
    "compare",
    "default_run",
    "embed",
    "ensemble",
    "evaluate",
    "export",
    "import_released",
    "info",
    "live",
    "predict",
    "prepare",
    "pretrain",
    "report",
    "train",
    "view",
]
