"""One contract of good and bad input for all readers."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from kinemask.readers import NAMES, Rejected, reader
from readers.samples import FORMATS, OF_THEIR_OWN, PLAIN, files_of, item, write_penn


@pytest.fixture(params=FORMATS)
def sample(request, tmp_path):
    """(reader, write(joints) -> path, valid joints (T, V, C), options) of every reader and format."""
    name, write, joints, channels, options = FORMATS[request.param]
    data = np.random.default_rng(0).normal(1, 0.2, (14, joints, channels))
    return reader(name), lambda data: write(tmp_path, data), data, options


def test_every_reader_is_in_the_contract():
    assert {name for name, *_ in FORMATS.values()} | OF_THEIR_OWN == set(NAMES)
    with pytest.raises(ValueError, match="unknown data set 'ntu61'; did you mean ntu60"):
        reader("ntu61")
    with pytest.raises(ValueError, match=r"unknown data set 'xyz'; known: ntu60, .*arrays"):
        reader("xyz")


class TestContract:
    def test_reads_a_clip_in_the_store_convention(self, sample):
        source, write, joints, options = sample
        path = write(joints)
        clip = source.read(item(path), options)
        own = source.choose_layout(options.layout)
        assert clip.data.shape[1:] == (14, own.num_joints, own.dims)
        assert clip.data.dtype == np.float32
        assert not np.isnan(clip.data).any()
        assert np.allclose(clip.data[0, 0, list(own.origin)].mean(0), 0, atol=1e-6)
        assert clip.label is None or 0 <= clip.label < len(source.classes)
        assert all(rule.side(clip.fields) in ("train", "test", "") for rule in source.splits.values())
        pickle.loads(pickle.dumps(source.read))  # it travels to worker processes

    def test_finds_files_at_any_depth_and_says_what_it_looked_for(self, sample, tmp_path):
        source, write, joints, _ = sample
        if source.is_format:
            pytest.skip("its clips are listed, or all files are")
        path = write(joints)
        (tmp_path / "._hidden.skeleton").write_text("")
        assert files_of(source, tmp_path) == [path]
        path.unlink()
        with pytest.raises(ValueError, match=r"holds no files .*, at any depth"):
            files_of(source, tmp_path)
        with pytest.raises(ValueError, match="does not exist"):
            files_of(source, tmp_path / "absent")

    def test_nan_and_zero_joints_are_missing(self, sample):
        source, write, joints, options = sample
        joints[3, 4], joints[5, 6, 1] = 0, np.nan
        clip = source.read(item(write(joints)), options)
        assert np.array_equal(np.argwhere(np.isnan(clip.data[0]).all(-1)), [[3, 4], [5, 6]])
        assert np.isnan(clip.data[0]).sum() == 2 * joints.shape[-1]

    def test_infinity_is_an_error_that_names_the_file(self, sample):
        source, write, joints, options = sample
        joints[3, 4, 1] = -np.inf
        path = write(joints)
        with pytest.raises(ValueError, match=f"{path}.*finite") as caught:
            source.read(item(path), options)
        assert not isinstance(caught.value, Rejected)

    def test_zero_throughout_is_rejected_by_rule(self, sample):
        source, write, joints, options = sample
        with pytest.raises(Rejected, match=r"is seen in any frame"):
            source.read(item(write(joints * 0)), options)

    @pytest.mark.parametrize(
        "content",
        [b"", b"\n\n", np.random.default_rng(5).bytes(4000), b"\x00" * 4000],
        ids=["empty", "blank", "binary", "zeros"],
    )
    def test_no_such_file_at_all(self, sample, content):
        source, write, joints, options = sample
        path = write(joints)
        path.write_bytes(content)
        with pytest.raises(ValueError, match=str(path)) as caught:
            source.read(item(path), options)
        assert not isinstance(caught.value, Rejected)

    def test_truncated_anywhere(self, sample):
        source, write, joints, options = sample
        path = write(joints)
        whole = path.read_bytes()
        text = path.suffix in (".txt", ".csv")  # a table is as long as it is: cut inside a line
        for size in range(0, len(whole) - 8, 1 + len(whole) // 60):
            if text and (whole[size - 1 : size + 1].count(b"\n") or whole[:size].rpartition(b"\n")[2].count(b",") > 3):
                continue
            path.write_bytes(whole[:size])
            with pytest.raises(ValueError, match=str(path)):
                source.read(item(path), options)

    def test_wrong_number_of_joints(self, sample):
        source, write, joints, options = sample
        path = write(joints[:, :-1])
        if path.suffix == ".csv":
            pytest.skip("a joint without a line in a table is missing")
        with pytest.raises(ValueError, match=str(path)):
            source.read(item(path), options)


def test_flipped_bytes_are_errors_or_other_numbers_never_worse(sample):
    source, write, joints, options = sample
    path = write(joints)
    whole, rng = path.read_bytes(), np.random.default_rng(6)
    for _ in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(0, rng.choice([min(400, len(whole)), len(whole)]), rng.choice([1, 3, 20])):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            found = source.read(item(path), options).data
        except ValueError as error:
            found = str(error)
        assert str(path) in found if isinstance(found, str) else not np.isinf(found).any()


def test_readers_need_neither_torch_nor_scipy_to_be_listed():
    code = (
        "import sys; from kinemask import readers as r; r.readers(); assert not {'torch', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_classes(tmp_path):
    for name, source in (
        ("a07_s01_e01_v01.json", "nw-ucla"),
        ("a28_s1_t1_skeleton.mat", "utd-mhad"),
        ("s01s02/09/001/skeleton_pos.txt", "sbu"),
    ):
        with pytest.raises(ValueError, match="no class"):
            reader(source).read(item(tmp_path / name), PLAIN)
    path = write_penn(tmp_path, np.ones((5, 13, 2)), action="yoga")
    with pytest.raises(ValueError, match="no class 'yoga'"):
        reader("penn-action").read(item(path), PLAIN)
