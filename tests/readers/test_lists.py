"""`clips.csv` as spreadsheets write it, and lists of clips to leave out."""

from __future__ import annotations

import numpy as np
import pytest

from kinemask.preparation.prepare import prepare
from kinemask.readers import reader
from kinemask.readers.sheets import read_sheet
from kinemask.store.opening import open_store

ARRAYS = reader("arrays")
PLAIN = "clip,label,split\nwalk,go,train\ndeep/jump,hop,test\n"


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("walk.npy", "deep/jump.npy", "wave.NPY", "turn.npy"):
        path = tmp_path / "rec" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.save(file, 200 + 50 * rng.normal(size=(12, 17, 2)))
    return tmp_path / "rec"


def scan(folder, content):
    (folder / "clips.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return ARRAYS.scan(folder)


def told(found):
    return [(item.name, found.classes[item.label], item.fields.get("split:default", "")) for item in found.items]


VARIANTS = {
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "Excel's separator": "sep=;\r\n" + PLAIN.replace(",", ";"),
    "index": ",clip,label,split\n0,walk,go,train\n1,deep/jump,hop,test\n",
    "index of pandas": "Unnamed: 0,clip,label,split\n3,walk,go,train\n4,deep/jump,hop,test\n",
    "empty columns": "clip,label,split,,\nwalk,go,train,,\ndeep/jump,hop,test,,\n",
    "empty column within": "clip,,label,split\nwalk,,go,train\ndeep/jump,,hop,test\n",
    "capitals": "CLIP,Label, Split \nwalk,go,Train\ndeep/jump,hop,TEST\n",
    "blank rows": "\n,,\nclip,label,split\n\nwalk,go,train\n,,\n  , ,\ndeep/jump,hop,test\n,,\n",
    "carriage returns": PLAIN.replace("\n", "\r\n"),
    "old Mac": PLAIN.replace("\n", "\r"),
    "utf-8 with mark": PLAIN.encode("utf-8-sig"),
    "utf-16": PLAIN.encode("utf-16"),
    "utf-16 big": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "utf-16 without mark": PLAIN.encode("utf-16-le"),
    "quotes": 'clip, "label", split\n"walk", "go", train\n"deep/jump", "hop", "test"\n',
    "windows": PLAIN.replace("/", "\\"),
    "windows, absolute": PLAIN.replace("deep/jump", r"C:\Users\anna\rec\deep\jump.npy"),
    "of another computer": PLAIN.replace("deep/jump", "/home/anna/rec/deep/jump.npy"),
    "dot": PLAIN.replace("deep/jump", "./deep/jump.npy"),
    "training": PLAIN.replace("train", "training").replace(",test", ",Testing"),
    "validation": PLAIN.replace(",test", ",validation"),
}


@pytest.mark.parametrize("content", VARIANTS.values(), ids=VARIANTS)
def test_a_list_as_spreadsheets_write_it(folder, content):
    found = scan(folder, content)
    assert told(found) == [("walk", "go", "train"), ("deep/jump", "hop", "test")]
    assert (found.splits, found.unlisted) == ({"default"}, ())


@pytest.mark.parametrize("column", ["filename", "File", "file name", "path", "name", "Video"])
def test_other_names_of_columns_are_taken_and_said(folder, column):
    found = scan(folder, f"{column},Action\nwalk.npy,go\n")
    assert [(item.name, item.label) for item in found.items] == [("walk", 0)]
    assert len(found.unlisted) == 2
    assert f"its column {column} is taken for clip" in found.unlisted[0]


def test_latin_1_is_read_and_said(folder):
    found = scan(folder, "clip,label\nwalk,hüpfen\n".encode("latin-1"))
    assert found.classes == ("hüpfen",)
    assert "read as Windows-1252" in found.unlisted[0]


def test_labels_that_a_spreadsheet_made_floats(folder):
    found = scan(folder, "clip,label\nwalk,10.0\nturn,2.0\ndeep/jump,\n")
    assert found.classes == ("2", "10")
    assert [item.label for item in found.items] == [1, 0, None]
    assert scan(folder, "clip,label\nwalk,1.5\nturn,2.0\n").classes == ("1.5", "2.0")


def test_train_val_and_test(folder):
    found = scan(folder, "clip,split\nwalk,train\nturn,Val\ndeep/jump,test\n")
    sides = [(item.fields["split:default"], item.fields["split:default-val"]) for item in found.items]
    assert sides == [("train", "train"), ("", "test"), ("test", "")]
    assert found.splits == {"default", "default-val"}
    store = open_store(prepare("arrays", folder, folder / "store", layout="coco17", progress=False).path)
    assert [len(part) for part in store.split("default-val")] == [1, 1]


def test_endings_in_capitals_and_absolute_paths(folder, tmp_path):
    assert [item.path.name for item in scan(folder, "clip\nwave.NPY\n").items] == ["wave.NPY"]
    assert [item.path.name for item in scan(folder, "clip\nwave\n").items] == ["wave.NPY"]
    inside, outside = folder / "deep" / "jump.npy", tmp_path / "else.npy"
    (folder / "turn.npy").rename(outside)
    assert [item.name for item in scan(folder, f"clip\n{inside}\n{outside}\n").items] == ["deep/jump", "else"]


@pytest.mark.parametrize(
    "name, words",
    [
        ("a.bvh", r"is there, but is a file \.bvh, not a file \.npy, \.npz, \.csv; for BVH files, see the reader bvh"),
        ("a.JSON", r"is there, but is a file \.JSON.*for JSON of pose estimators"),
        ("a.xlsx", r"is there, but is a file \.xlsx, not"),
        ("deep", "is there, but is a folder"),
    ],
)
def test_what_is_there_but_not_read(folder, name, words):
    (folder / name).touch() if "." in name else None
    with pytest.raises(ValueError, match=f"line 2: clip {name} {words}"):
        scan(folder, f"clip\n{name}\n")


@pytest.mark.parametrize(
    "content, words",
    [
        (b"clip,label\nwalk\0,go\n", "not a text file"),
        (b"\xff\xfec\0l\0i", "not a text file|expected a column clip"),
        (b"\x93NUMPY\x01\x00v\x00", "not a text file"),
        ("filename,path\nwalk,walk\n", "expected a column clip"),
        (",clip\nb,walk\na,turn\n", "expected a name for each column"),
        (r"clip" + "\n" + r"..\walk.npy" + "\n", "lies outside"),
    ],
)
def test_bad_lists(folder, content, words):
    with pytest.raises(ValueError, match=f"clips.csv.*({words})"):
        scan(folder, content)


def test_separators_are_those_of_the_header(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('"a,b";c\n1,5;2\n')
    sheet = read_sheet(path)
    assert (sheet.columns, sheet.separator, list(sheet.rows())) == (("a,b", "c"), ";", [(2, ["1,5", "2"])])


def test_remarks_on_a_list_of_clips_to_leave_out(folder):
    scan(folder, PLAIN)
    names = folder / "missing.txt"
    names.write_text("1 of the samples has no skeleton.\nPlease leave it out when you train.\n\nwalk\n")
    summary = prepare("arrays", folder, folder / "store", layout="coco17", exclude=names, progress=False)
    assert (summary.excluded, summary.clips) == (1, 1)
    assert not any("names in" in line for line in summary.warnings)
    names.write_text("walk\nrun\n")
    summary = prepare("arrays", folder, folder / "other", layout="coco17", exclude=names, progress=False)
    assert any("1 of the 2 names" in line for line in summary.warnings)
