"""Draws docs/figures/report-*.png: what the report of a recogniser shows, of synthetic recordings, in light and dark.

python docs/gallery.py [--work FOLDER] [--browser chromium]

Each section of the page is shown alone to a headless Chromium, and cut out. FOLDER keeps the recordings and the
recogniser; what is there is not made again.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageChops

from kinemask.preparation.prepare import prepare
from kinemask.recognition.train import train
from kinemask.synthetic.recordings import write_recordings

FIGURES = Path(__file__).parent / "figures"
WIDTH, HEIGHT, MARGIN = 1000, 1600, 20
SECTIONS = {  # name of the picture: what of the page is shown
    "headline": "header",
    "baselines": "main > section:nth-of-type(1)",
    "confusion": "main > section:nth-of-type(2)",
    "unsure": "main > section:nth-of-type(3)",
    "about": "main > section:nth-of-type(4)",
}
DARK = "(prefers-color-scheme: dark)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--browser", default="chromium")
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        report = make_report(work)
        for name, shown in SECTIONS.items():
            for scheme in ("light", "dark"):
                page = work / f"{name}-{scheme}.html"
                page.write_text(alone(report, shown, scheme), encoding="utf-8")
                picture(given.browser, page, FIGURES / f"report-{name}-{scheme}.png")


def make_report(work: Path) -> str:
    """The page of a recogniser of 14 actions, by twelve people before one camera."""
    if not (work / "store").is_dir():
        write_recordings(work / "recordings", subjects=12, cameras=1, repetitions=2)
        prepare("synthetic", work / "recordings", work / "store", progress=False)
    if not (work / "recogniser" / "report.html").is_file():
        train(work / "store", work / "recogniser", kernels=500, overwrite=True)
    return (work / "recogniser" / "report.html").read_text(encoding="utf-8")


def alone(page: str, shown: str, scheme: str) -> str:
    """The page with one part of it, in a colour scheme, whatever the browser's own."""
    assert DARK in page
    page = page.replace(DARK, "(min-width: 0)" if scheme == "dark" else "(max-width: 0)")
    hide = f"header, main > section, footer {{ display: none !important }} {shown} {{ display: block !important }}"
    return page.replace("</head>", f"<style>{hide} body {{ margin-block: 0 }}</style></head>")


def picture(browser: str, page: Path, path: Path) -> None:
    """What the browser shows of a page, less what is empty below and beside it."""
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=2000"]
    words += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={path}", page.resolve().as_uri()]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    image = Image.open(path).convert("RGB")
    empty = Image.new("RGB", image.size, image.getpixel((0, 0)))
    found = ImageChops.difference(image, empty).getbbox()
    assert found is not None, f"{page} is empty"
    left, top, right, bottom = found
    box = (max(left - MARGIN, 0), max(top - MARGIN, 0), min(right + MARGIN, WIDTH), min(bottom + MARGIN, HEIGHT))
    image.crop(box).quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main()
