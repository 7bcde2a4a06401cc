"""Stores of motion programmes in several layouts, for pre-training without a recording.

    python benchmarks/programmes.py --clips 8000 --layouts kinect20 sbu15 --out stores/programmes

writes stores/programmes-kinect20 and stores/programmes-sbu15, of different programmes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np

from kinemask.nn.places import carried
from kinemask.progress import progress
from kinemask.skeleton import Layout, layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.synthetic.programmes import programme


def clips(target: Layout, first: int, count: int) -> Iterator[Clip]:
    """Programmes of these numbers; a number is a programme, whatever the layout."""
    weights = carried(layout("ntu25"), target)
    with progress(target.name, count) as report:
        for number in range(first, first + count):
            rng = np.random.default_rng([7, number])
            joints = programme(rng)
            points = np.einsum("uv,tvc->tuc", weights, joints)
            points += rng.normal(0.0, 0.01, (1, target.num_joints, 3))  # where a sensor takes a joint to be
            points -= points[0, list(target.origin)].mean(0)
            yield Clip(f"p{number:07d}", points[None].astype(np.float32), None, {})
            report(number + 1 - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=8000, help="of each layout")
    parser.add_argument("--layouts", nargs="+", default=["kinect20", "ntu25", "sbu15", "mediapipe33", "h36m17"])
    parser.add_argument("--first", type=int, default=0, help="number of the first programme")
    parser.add_argument("--out", required=True, help="the stores' paths, to which their layouts are added")
    args = parser.parse_args()
    begun = time.perf_counter()
    for n, name in enumerate(args.layouts):
        target = layout(name)
        made = clips(target, args.first + n * args.clips, args.clips)
        print(write_store(f"{args.out}-{name}", made, target, [], meta={"name": f"programmes-{name}"}))
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
