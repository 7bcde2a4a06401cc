"""Golden values: what a refactoring must not change by a single bit. `--write` records them, else they are compared.

Every method for 30 steps on synthetic recordings, features of its encoder, protocols on it and a fine-tuning, under a
seed, in float32, on one thread. Bits depend on processor and PyTorch: record them on the machine that compares.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import kinemask

METHODS = ("mae", "mamp", "hacm", "skeleton2vec", "masksem", "skeletonmae", "graphcl", "mosaic")
TRANSFORMER = {
    "sampling.frames": 36,
    "sampling.min_crop_frames": 16,
    "encoder.layers": 2,
    "encoder.width": 32,
    "encoder.heads": 2,
    "decoder.layers": 1,
    "decoder.width": 32,
    "decoder.heads": 2,
    "training.warmup_epochs": 1,
}
GRAPH = {"sampling.frames": 16, "encoder.width": 32, "training.warmup_epochs": 1}
RECIPES = {
    "mae": "mae-nw-ucla-small",
    "mamp": "mamp-nw-ucla-small",
    "hacm": "hacm-nw-ucla-small",
    "skeleton2vec": "skeleton2vec-nw-ucla-small",
    "masksem": "masksem-nw-ucla-small",
    "skeletonmae": "skeletonmae-penn-action",
    "graphcl": "graphcl-penn-action",
    "mosaic": "mosaic-nw-ucla-small",
}


def digest(*arrays: Any) -> str:
    found = hashlib.sha256()
    for array in arrays:
        a = np.ascontiguousarray(array.numpy() if isinstance(array, torch.Tensor) else array)
        found.update(repr((a.shape, a.dtype.str)).encode() + a.tobytes())
    return found.hexdigest()[:16]


def scores(folder: Path) -> str:
    """Of the newest evaluation in a run's folder."""
    newest = max((folder / "evaluations").glob("*-scores.npz"), key=lambda p: p.stat().st_mtime_ns)
    with np.load(newest) as a:
        return digest(a["scores"])


def baselines(result: Any) -> list[float]:
    """Accuracies of the untrained encoder and of raw coordinates, percent."""
    return [result.baselines[name].accuracy for name in ("untrained_encoder", "raw_coordinates_knn")]


def log(run: Path, *names: str) -> list[list[float]]:
    """These numbers of every line of a run's log."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [[line[name] for name in names] for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="JSON file of golden values")
    parser.add_argument("--write", action="store_true", help="record instead of comparing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.cpu._is_avx512_bf16_supported = torch.cpu._is_amx_tile_supported = lambda: False  # protocols in float32
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    if given.write:
        given.file.write_text(json.dumps(found, indent=1) + "\n")
        return
    wanted = json.loads(given.file.read_text())
    differ = [
        f"{k}: {wanted.get(k)} recorded, {found.get(k)} now" for k in wanted | found if wanted.get(k) != found.get(k)
    ]
    print(f"{len(wanted) - len(differ)} of {len(wanted)} golden values as recorded")
    if differ:
        raise SystemExit("\n".join(differ))


def measure(folder: Path) -> dict[str, Any]:
    from kinemask.synthetic.recordings import write_recordings

    write_recordings(folder / "recordings", subjects=5, repetitions=1)
    store_path = folder / "store"
    kinemask.prepare("synthetic", folder / "recordings", store_path)
    store = kinemask.open_store(store_path)
    clips = [store.clip(i) for i in range(0, len(store), 29)]
    found: dict[str, Any] = {"store": digest(np.nan_to_num(np.asarray(store.frames), nan=-9.0))}
    for name in METHODS:
        small = GRAPH if name in ("skeletonmae", "graphcl") else TRANSFORMER
        run = folder / name
        settings = small | {"training.batch_size": 16, "training.epochs": 3, "training.log_every": 1}
        settings |= {"training.precision": "fp32", "training.device": "cpu", "seed": 3}
        kinemask.pretrain(RECIPES[name], store_path, "xview", run, quiet=True, **settings)
        found[f"{name}/losses"] = log(run, "loss", "lr")
        for path in sorted(run.glob("encoder*.safetensors")):
            encoder = kinemask.load_encoder(path)
            state = encoder.encoder.state_dict()
            found[f"{name}/{path.stem}/weights"] = sorted(digest(v) for v in state.values())
            found[f"{name}/{path.stem}/features"] = digest(encoder.encode(clips))
        for protocol, options in (("linear", {"epochs": 5, "views": 2}), ("knn", {})):
            done = kinemask.evaluate(protocol, run, store_path, "xview", device="cpu", seed=1, **options)
            found[f"{name}/{protocol}"] = scores(run)
            found[f"{name}/{protocol}/baselines"] = baselines(done[0])
        out = folder / f"{name}-finetuned"
        small_head = {"head.hidden": 32, "test_every": 1, "epochs": 2, "warmup_epochs": 0}
        kinemask.evaluate(
            "finetune", run, store_path, "xview", out=out, device="cpu", seed=2, baselines=False, **small_head
        )
        found[f"{name}/finetune"] = scores(run)
        found[f"{name}/finetune/losses"] = log(out, "loss", "test_accuracy")
    run = folder / "mamp"
    for protocol, options in (
        ("retrieval", {}),
        (
            "robustness",
            {
                "epochs": 2,
                "views": 1,
                "joints": [0.5],
                "parts": [],
                "noise": [0.1],
                "dropped": [],
                "rate": [0.5],
                "camera": [1.0],
            },
        ),
        ("semi", {"fraction": 0.3, "epochs": 1, "head.hidden": 32}),
    ):
        kinemask.evaluate(protocol, run, store_path, "xview", device="cpu", seed=1, baselines=False, **options)
        found[f"mamp/{protocol}"] = scores(run)
    return found


if __name__ == "__main__":
    main()
