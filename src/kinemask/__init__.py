"""kinemask: masked self-supervised pre-training on human skeleton sequences, and using the result."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kinemask.version import __version__

if TYPE_CHECKING:
    from kinemask.api import (
        compare,
        embed,
        ensemble,
        evaluate,
        export,
        import_released,
        info,
        live,
        predict,
        prepare,
        pretrain,
        report,
        train,
        view,
    )
    from kinemask.models.classifiers import load_classifier
    from kinemask.models.encoders import load_encoder
    from kinemask.recognition.recogniser import Recogniser
    from kinemask.skeleton import layout, layouts
    from kinemask.store.opening import open_store
    from kinemask.windows.window import Window

_HOME = {
    "Recogniser": "recognition.recogniser",
    "Window": "windows.window",
    "compare": "api",
    "embed": "api",
    "ensemble": "api",
    "evaluate": "api",
    "export": "api",
    "import_released": "api",
    "info": "api",
    "layout": "skeleton",
    "layouts": "skeleton",
    "live": "api",
    "load_classifier": "models.classifiers",
    "load_encoder": "models.encoders",
    "open_store": "store.opening",
    "predict": "api",
    "prepare": "api",
    "pretrain": "api",
    "report": "api",
    "train": "api",
    "view": "api",
}
__all__ = [
    "Recogniser",
    "Window",
    "__version__",
    "compare",
    "embed",
    "ensemble",
    "evaluate",
    "export",
    "import_released",
    "info",
    "layout",
    "layouts",
    "live",
    "load_classifier",
    "load_encoder",
    "open_store",
    "predict",
    "prepare",
    "pretrain",
    "report",
    "train",
    "view",
]


def __getattr__(name: str) -> Any:
    """Public names, imported when first used, so that `import kinemask` costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'kinemask' has no attribute {name!r}")
    return getattr(import_module(f"kinemask.{_HOME[name]}"), name)
