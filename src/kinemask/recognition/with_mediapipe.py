"""MediaPipe's Pose Landmarker on a camera's images: poses as the reader `mediapipe` finds them in files of its results.

Follows MediaPipe's guide "Pose landmark detection for Python"; tried with the options of mediapipe 1.2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kinemask.readers.mediapipe import as_joints
from kinemask.recognition.camera import need
from kinemask.skeleton import layout


class MediaPipe:
    """Landmarks of the world for layout mediapipe33, in metres, y up; of the image for coco17, in pixels."""

    def __init__(self, landmarker: Any, image_of: Any, of: str):
        self._landmarker, self._image_of, self._layout, self._last = landmarker, image_of, layout(of), -1

    def people(self, image: np.ndarray, at: float) -> list[np.ndarray]:
        """Everybody in an image (H, W, 3), blue first: (V, C + 1) each."""
        self._last = max(self._last + 1, round(1000 * at))  # milliseconds; MediaPipe wants them to rise
        found = self._landmarker.detect_for_video(self._image_of(np.ascontiguousarray(image[..., ::-1])), self._last)
        world = self._layout.dims == 3
        size = None if world else np.array([image.shape[1], image.shape[0]])
        return [self._person(one, size) for one in (found.pose_world_landmarks if world else found.pose_landmarks)]

    def _person(self, landmarks: Any, size: np.ndarray | None) -> np.ndarray:
        values = np.array([[one.x, one.y, one.z, one.visibility] for one in landmarks], float)  # None is NaN
        joints, score = as_joints(values[:, :3], values[:, 3], self._layout, size)
        return np.column_stack([joints, score])

    def close(self) -> None:
        self._landmarker.close()


def open_estimator(model: Path, of: str, most: int) -> MediaPipe:
    """The landmarker of a .task file, for so many people."""
    mediapipe, tasks = need("mediapipe", "mediapipe"), need("mediapipe.tasks.python", "mediapipe")
    options = tasks.vision.PoseLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(model)),
        running_mode=tasks.vision.RunningMode.VIDEO,
        num_poses=most,
    )
    try:
        landmarker = tasks.vision.PoseLandmarker.create_from_options(options)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"MediaPipe cannot use the model {model}: {error}") from None
    image_of = lambda data: mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=data)
    return MediaPipe(landmarker, image_of, of)
