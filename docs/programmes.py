"""Draws docs/figures/programmes.png: moments of a few motion programmes.

python docs/programmes.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from kinemask.skeleton import layout
from kinemask.synthetic.programmes import programme

FIGURE = Path(__file__).parent / "figures" / "programmes.png"
NUMBERS, MOMENTS = (1, 4, 6, 11, 13, 16), 9
LEFT, REST = "#d9772b", "#0a7ea4"


def main() -> None:
    of = layout("ntu25")
    figure, axes = plt.subplots(len(NUMBERS), MOMENTS, figsize=(11, 9), dpi=100)
    for row, number in zip(axes, NUMBERS, strict=True):
        joints = programme(np.random.default_rng([7, number]))
        hips = joints[0, of.index("left_hip")] - joints[0, of.index("right_hip")]
        angle = np.arctan2(hips[2], hips[0])
        across, towards = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        tall = float(np.ptp(joints[..., 1]))
        for ax, frame in zip(row, np.linspace(0, len(joints) - 1, MOMENTS).astype(int), strict=True):
            flat = joints[frame][:, [0, 2]] - joints[frame, of.root, [0, 2]]
            depth = flat @ towards
            x, y = flat @ across + 0.35 * depth, joints[frame][:, 1] - 0.2 * depth
            for a, b in of.edges:
                left = of.joints[b].startswith("left") or of.joints[a].startswith("left")
                ax.plot(x[[a, b]], y[[a, b]], color=LEFT if left else REST, lw=1.8, solid_capstyle="round")
            ax.set(xlim=(-0.6 * tall, 0.6 * tall), ylim=(-0.15 * tall, 1.1 * tall), aspect="equal")
            ax.axis("off")
    figure.tight_layout(pad=0.2)
    figure.savefig(FIGURE, facecolor="white")


if __name__ == "__main__":
    main()
