"""An Ultralytics pose model on a camera's images: the poses that the reader `coco17` finds in `Results.to_json()`.

Follows Ultralytics' pages "Predict" and "Pose"; written beside the source of ultralytics 8.4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kinemask.recognition.camera import need


class Ultralytics:
    """Keypoints in pixels, y down."""

    def __init__(self, model: Any):
        self._model = model

    def people(self, image: np.ndarray, at: float) -> list[np.ndarray]:
        """Everybody in an image (H, W, 3), blue first: (17, 3) each, or (17, 2) where the model has no confidences."""
        found = self._model.predict(image, verbose=False)[0].keypoints
        return [] if found is None else [*found.data.cpu().numpy().astype(float)]

    def close(self) -> None:
        """Nothing is held open."""


def open_estimator(model: Path, of: str, most: int) -> Ultralytics:
    """The model of a file; it finds as many people as there are."""
    ultralytics = need("ultralytics", "ultralytics")
    try:
        made = ultralytics.YOLO(str(model))
    except Exception as error:  # of whatever the file holds
        raise ValueError(f"Ultralytics cannot use the model {model}: {error}") from None
    if made.task != "pose":
        raise ValueError(f"{model} is a model for the task {made.task}; people's joints take a pose model")
    return Ultralytics(made)
