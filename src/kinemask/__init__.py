"""kinemask: masked self-supervised pre-training on human skeleton sequences, and using the result."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinemask.api import evaluate, pretrain
    from kinemask.data.prepare import info, prepare
    from kinemask.data.store import open_store
    from kinemask.evaluation.compare import compare
    from kinemask.evaluation.ensemble import ensemble
    from kinemask.evaluation.report import report
    from kinemask.skeleton import layout, layouts
    from kinemask.train.classifiers import load_classifier
    from kinemask.train.encoders import load_encoder

__version__ = "0.1.0"

_HOME = {
    "compare": "evaluation.compare",
    "ensemble": "evaluation.ensemble",
    "evaluate": "api",
    "info": "data.prepare",
    "layout": "skeleton",
    "layouts": "skeleton",
    "load_classifier": "train.classifiers",
    "load_encoder": "train.encoders",
    "open_store": "data.store",
    "prepare": "data.prepare",
    "pretrain": "api",
    "report": "evaluation.report",
}
__all__ = [
    "__version__",
    "compare",
    "ensemble",
    "evaluate",
    "info",
    "layout",
    "layouts",
    "load_classifier",
    "load_encoder",
    "open_store",
    "prepare",
    "pretrain",
    "report",
]


def __getattr__(name: str) -> Any:
    """Public names, imported when first used, so that `import kinemask` costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'kinemask' has no attribute {name!r}")
    return getattr(import_module(f"kinemask.{_HOME[name]}"), name)
