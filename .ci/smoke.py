"""What kinemask does where nothing but its own dependencies is installed: from recordings to a result.

    python .ci/smoke.py

Run by `make smoke`, in an environment without any extra and from the installed package, so that a file which is left
out of the package is noticed as well.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

EXTRAS = (
    "pandas",
    "pyarrow",
    "tensorboard",
    "submitit",
    "matplotlib",
    "PIL",
    "onnx",
    "onnxruntime",
    "mkdocs",
    "pytest",
    "hypothesis",
    "jaxtyping",
    "beartype",
)
NETWORK = {
    "encoder.layers": 1,
    "encoder.width": 16,
    "encoder.heads": 2,
    "decoder.layers": 1,
    "decoder.width": 16,
    "decoder.heads": 2,
    "sampling.frames": 24,
    "sampling.min_crop_frames": 12,
    "training.epochs": 1,
    "training.warmup_epochs": 0,
    "training.batch_size": 16,
}


def refusal(call: Callable[[], object]) -> str:
    """What the ValueError of a call says."""
    try:
        return f"no error, but {call()}"
    except ValueError as error:
        return str(error)


def main() -> None:
    started = time.perf_counter()
    present = [name for name in EXTRAS if find_spec(name)]
    assert not present, f"this environment is to hold no extras, but it has {', '.join(present)}"
    import kinemask
    from kinemask.synthetic.recordings import write_recordings

    assert "torch" not in sys.modules, "import kinemask imports torch"
    for words in ("--help", "--version", "recipes", "datasets", "layouts"):
        shown = subprocess.run(["kinemask", words], check=True, capture_output=True, text=True).stdout
        assert shown.strip(), words
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_recordings(folder / "recordings", subjects=2, cameras=2, repetitions=1)
        summary = kinemask.prepare("synthetic", folder / "recordings", folder / "store", progress=False)
        print(summary)
        assert kinemask.info(folder / "store")["clips"] > 0
        assert kinemask.view(folder / "store", save=folder / "view.html").stat().st_size > 0
        assert kinemask.open_store(folder / "store")[0]._repr_html_()
        run = kinemask.pretrain("hacm-demo", folder / "store", "xsub", folder / "run", quiet=True, **NETWORK)
        for protocol, settings in (("knn", {}), ("linear", {"epochs": 2, "views": 1})):
            results = kinemask.evaluate(protocol, run, **settings)
            print(results)
            assert 0 <= results[0].accuracy <= 100
            assert "kinemask[tables]" in refusal(results.to_frame)
        assert kinemask.report(run).stat().st_size > 0
        assert "kinemask[figures]" in refusal(lambda: kinemask.report(run, figures=folder / "figures"))
        trained = kinemask.train(folder / "store", folder / "recogniser", kernels=100)
        print(trained)
        labels = kinemask.predict(folder / "recogniser", [folder / "store"], out=folder / "labels.csv")
        assert len(labels) == summary.clips
        assert kinemask.Recogniser.load(folder / "recogniser").score(kinemask.open_store(folder / "store")) > 0.5
        assert len(kinemask.embed(run, [folder / "store"], out=folder / "features.npz").features) == summary.clips
        told = refusal(lambda: kinemask.embed(run, [folder / "store"], out=folder / "features.parquet"))
        assert "kinemask[tables]" in told
    print(f"smoke test: passed in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
