"""The page of a recogniser: nothing of data raw in it; and in a real browser, where there is one, the same label.

The second needs Chromium and, in the folder that KINEMASK_ORT_WEB names, the files of onnxruntime-web (`make browser`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import kinemask
from html_pages import HOSTILE, Structure
from kinemask import Recogniser
from kinemask.reports.browser import browser_page
from kinemask.skeleton import layout
from recognition_clips import clips

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ORT = os.environ.get("KINEMASK_ORT_WEB", "")


@pytest.mark.parametrize("name", ["sbu15", "coco17", "mediapipe33"])
def test_the_page_holds_the_model_and_escapes_its_classes(name):
    page = browser_page(HOSTILE[0], b"\0model", layout(name), "metres", HOSTILE)
    found = Structure(page)
    assert found.scripts == 3
    assert not found.addresses
    assert not found.handlers
    data = re.findall(r'id="model">(.*?)</script>', page, re.DOTALL)[0]
    assert all(text not in page.replace(data, "") for text in HOSTILE)
    held = json.loads(data)
    assert (held["classes"], held["layout"], held["onnx"]) == (list(HOSTILE), name, "AG1vZGVs")
    assert held["scene"]["joints"] == layout(name).num_joints
    assert ("pose_world_landmarks." in page) == (name == "mediapipe33")
    assert ("Drag to turn" in page) == (layout(name).dims == 3)


@pytest.fixture
def served(tmp_path):
    """A folder, and the address at which it is served on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM or not ORT, reason="needs Chromium and KINEMASK_ORT_WEB: `make browser`")
@pytest.mark.parametrize("kind", ["npy", "json"])
def test_a_browser_finds_the_same_label(kind, served):
    folder, address = served
    x, y, _ = clips(24)
    made = Recogniser("sbu15", features="convolutions", kernels=40, align="heading").fit(x, y)
    made.save(folder / "recogniser.safetensors")
    kinemask.export(folder / "recogniser.safetensors", folder / "page.html")
    shutil.copytree(Path(ORT), folder / "ort")
    clip = np.array(clips(1, seed=9)[0][0], np.float32)
    clip[3:5, 2] = np.nan
    name = f"take.{kind}"
    if kind == "npy":
        np.save(folder / name, clip)
    else:
        (folder / name).write_text(re.sub("NaN", "null", json.dumps(clip.tolist())))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000", "--dump-dom"]
    shown = subprocess.run([*command, f"{address}/page.html?clip={name}"], check=True, capture_output=True, text=True)
    said = re.findall(r'id="said"[^>]*>([^<]*)<', shown.stdout)[0]
    assert f"{name}: {len(clip)} frames, 1 person; recognised" in said
    (label,) = re.findall(r'<h2 id="label">([^<]*)</h2>', shown.stdout)
    probabilities = made.predict_proba([clip])[0]
    assert label == made.classes_[probabilities.argmax()]
    values = re.findall(r"<span>([\d.]+) %</span>", shown.stdout)
    assert [float(v) for v in values] == pytest.approx(sorted(100 * probabilities, reverse=True), abs=0.06)
    assert "<canvas" in shown.stdout
