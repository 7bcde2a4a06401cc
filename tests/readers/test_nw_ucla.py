"""NW-UCLA's JSON of another shape."""

from __future__ import annotations

import pytest

from kinemask.readers import reader
from readers.samples import PLAIN, item


@pytest.mark.parametrize(
    "content, words",
    [
        ("[1, 2]", "expected a JSON object, found a list"),
        ('{"label": 7}', "expected the key 'skeletons', found 'label'"),
        ('{"skeletons": [], "label": 7}', r"shape \(frames, 20, 3\), found \(0,\)"),
        ('{"skeletons": [[[1, 2, 3]]], "label": 7}', r"found \(1, 1, 3\)"),
        ('{"skeletons": [[[1, 2, 3]], [1]], "label": 7}', "unequal lengths"),
        ('{"skeletons": "none", "label": 7}', "expected numbers"),
        ('{"skeletons": [[["1", "2", "3"]]], "label": 7}', "expected numbers"),
        ('{"skeletons": 1, "label": 8}', "class a08, which is label 7; the file says label 8"),
        ('{"skeletons": 1, "label": "7"}', "the file says label '7'"),
        ("[" * 100000, "not a JSON file"),
    ],
)
def test_json_of_another_shape(tmp_path, content, words):
    path = tmp_path / "a08_s01_e01_v01.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"{path}.*{words}"):
        reader("nw-ucla").read(item(path), PLAIN)
