"""kinemask: masked self-supervised pre-training on human skeleton sequences, and using the result."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinemask.api import evaluate, pretrain
    from kinemask.comparison.compare import compare
    from kinemask.models.classifiers import load_classifier
    from kinemask.models.encoders import load_encoder
    from kinemask.preparation.info import info
    from kinemask.preparation.prepare import prepare
    from kinemask.protocols.ensemble import ensemble
    from kinemask.reports import report
    from kinemask.skeleton import layout, layouts
    from kinemask.store.opening import open_store

__version__ = "0.1.0"

_HOME = {
    "compare": "comparison.compare",
    "ensemble": "protocols.ensemble",
    "evaluate": "api",
    "info": "preparation.info",
    "layout": "skeleton",
    "layouts": "skeleton",
    "load_classifier": "models.classifiers",
    "load_encoder": "models.encoders",
    "open_store": "store.opening",
    "prepare": "preparation.prepare",
    "pretrain": "api",
    "report": "reports",
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
