"""Image data from disk: whole files give exactly what was written, anything else a ValueError that names the file."""

import gzip
import io
import os
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simulations.problems import image_files, perceptron, softmax
from simulations.problems.data import digits
from simulations.problems.image_files import CIFAR_NAMES, CIFAR_TEST_NAME, cifar10, idx, load, read_cifar10, read_idx

TRAIN_X, TRAIN_Y = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_X, TEST_Y = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(256, size=(12, 4, 3)), RNG.integers(10, size=12)
TEST_IMAGES, TEST_LABELS = RNG.integers(256, size=(5, 4, 3)), RNG.integers(10, size=5)


def idx_bytes(array, code=8, zeros=b"\0\0", sizes=None):
    sizes = array.shape if sizes is None else sizes
    return zeros + bytes([code, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + array.astype("u1").tobytes()


def idx_folder(folder, ending="", pack=lambda content: content):
    contents = zip((TRAIN_X, TRAIN_Y, TEST_X, TEST_Y), (IMAGES, LABELS, TEST_IMAGES, TEST_LABELS), strict=True)
    for name, array in contents:
        (folder / (name + ending)).write_bytes(pack(idx_bytes(array)))
    return folder


def record(label, seed=0):
    return bytes([label]) + np.random.default_rng([label, seed]).integers(256, size=3072).astype("u1").tobytes()


def cifar_folder(folder):
    for batch, name in enumerate((*CIFAR_NAMES, CIFAR_TEST_NAME)):
        (folder / name).write_bytes(record(batch) + record(9 - batch))
    return folder


# ---------------------------------------------------------------- whole files


def check_idx(data):
    assert np.array_equal(data.x, IMAGES.reshape(12, 12))
    assert np.array_equal(data.y, LABELS)
    assert np.array_equal(data.x_test, TEST_IMAGES.reshape(5, 12))
    assert np.array_equal(data.y_test, TEST_LABELS)
    assert data.x.dtype == np.uint8  # one byte a pixel
    np.testing.assert_allclose(data.features(data.x, "float64"), IMAGES.reshape(12, 12) / 255, rtol=1e-15)


@pytest.mark.parametrize("ending, pack", [("", bytes), (".gz", gzip.compress)], ids=["plain", "gz"])
def test_idx_files_are_read_as_written(tmp_path, ending, pack):
    check_idx(load(idx_folder(tmp_path, ending, pack)))


def test_idx_files_whose_names_have_a_dot(tmp_path):
    for path in list(idx_folder(tmp_path).iterdir()):
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    check_idx(load(str(tmp_path)))


def test_compression_is_seen_in_the_file_not_in_its_name(tmp_path):
    check_idx(load(idx_folder(tmp_path, "", gzip.compress)))


def test_cifar10_is_read_as_written(tmp_path):
    data = load(cifar_folder(tmp_path))
    assert data.y.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert data.y_test.tolist() == [5, 4]
    assert data.x[2].tobytes() == record(1)[1:]
    assert data.x_test[1].tobytes() == record(4)[1:]
    assert data.x.shape == (10, 3072)
    assert data.x.dtype == np.uint8


def test_digits_need_no_folder():
    assert load("digits") is digits()


@pytest.mark.parametrize("folder", [idx_folder, cifar_folder], ids=["idx", "cifar"])
def test_classifiers_train_on_files(tmp_path, folder):
    data = load(folder(tmp_path))
    for problem in (softmax(data, 2, batch_size=4), perceptron(data, 3, hidden=4, split="all")):
        params, rng = problem.initial, np.random.default_rng(1)
        for update in range(60):
            losses, gradients = problem.gradients(params[None], [update % 2], [rng])
            assert np.isfinite(losses).all()
            params = params - np.float32(0.001) * gradients[0]
        assert problem.loss(params) < problem.loss(problem.initial)
        assert 0 <= problem.metrics(params)["test_accuracy"] <= 1


# ---------------------------------------------------------------- anything else

GOOD = idx_bytes(IMAGES)
BAD_IDX = {  # name of the case: the file at fault, what it holds
    "nothing": (TRAIN_X, b""),
    "one byte": (TRAIN_X, b"\0"),
    "only a magic number": (TRAIN_X, GOOD[:4]),
    "cut within the sizes": (TRAIN_X, GOOD[:14]),
    "cut before the entries": (TRAIN_X, GOOD[:16]),
    "cut within the entries": (TRAIN_X, GOOD[:-1]),
    "one byte too many": (TRAIN_X, GOOD + b"\0"),
    "twice": (TRAIN_X, GOOD + GOOD),
    "first byte not zero": (TRAIN_X, b"\1" + GOOD[1:]),
    "second byte not zero": (TRAIN_X, b"\0\1" + GOOD[2:]),
    "little-endian": (TRAIN_X, struct.pack("<4I", 0x803, *IMAGES.shape) + GOOD[16:]),
    "signed bytes": (TRAIN_X, idx_bytes(IMAGES, code=9)),
    "floats": (TRAIN_X, idx_bytes(IMAGES, code=13)),
    "no such code": (TRAIN_X, idx_bytes(IMAGES, code=0)),
    "labels as images": (TRAIN_X, idx_bytes(LABELS)),
    "images as labels": (TRAIN_Y, GOOD),
    "two dimensions": (TRAIN_X, idx_bytes(IMAGES.reshape(12, 12))),
    "no dimension": (TRAIN_X, idx_bytes(IMAGES, sizes=())),
    "255 dimensions": (TRAIN_X, idx_bytes(np.zeros(1), sizes=(1,) * 255)),
    "no images": (TRAIN_X, idx_bytes(np.zeros((0, 4, 3)))),
    "images without rows": (TRAIN_X, idx_bytes(np.zeros((12, 0, 3)))),
    "a forged size": (TRAIN_X, idx_bytes(IMAGES, sizes=(2**32 - 1,) * 3)),
    "a forged number of labels": (TRAIN_Y, idx_bytes(LABELS, sizes=(2**31,))),
    "a label too few": (TRAIN_Y, idx_bytes(LABELS[:-1])),
    "a label too many": (TEST_Y, idx_bytes(np.append(TEST_LABELS, 1))),
    "label 10": (TRAIN_Y, idx_bytes(np.append(LABELS[:-1], 10))),
    "label 255": (TEST_Y, idx_bytes(np.append(255, TEST_LABELS[1:]))),
    "other test images": (TEST_X, idx_bytes(np.zeros((5, 3, 4)))),
    "text": (TRAIN_X, b"<html><body>404 Not Found</body></html>"),
    "a picture": (TRAIN_X, b"\x89PNG\r\n\x1a\n" + bytes(100)),
    "a zip archive": (TRAIN_X, b"PK\x03\x04" + bytes(100)),
    "gzip of nothing": (TRAIN_X, gzip.compress(b"")),
    "gzip of text": (TEST_Y, gzip.compress(b"not here")),
    "gzip twice": (TEST_Y, gzip.compress(gzip.compress(GOOD))),
    "gzip cut short": (TRAIN_X, gzip.compress(GOOD)[:-20]),
    "gzip cut before its checksum": (TRAIN_X, gzip.compress(GOOD)[:-8]),
    "gzip with a wrong checksum": (TRAIN_X, gzip.compress(GOOD)[:-8] + bytes(8)),
    "gzip with a flipped bit": (TRAIN_X, gzip.compress(GOOD)[:40] + b"\xff" + gzip.compress(GOOD)[41:]),
    "gzip with an impossible block": (TRAIN_X, gzip.compress(GOOD)[:10] + b"\x07" + gzip.compress(GOOD)[11:]),
    "gzip header only": (TRAIN_X, b"\x1f\x8b"),
    "gzip of an unknown kind": (TRAIN_X, b"\x1f\x8b\x09" + gzip.compress(GOOD)[3:]),
    "something after gzip": (TRAIN_X, gzip.compress(GOOD) + b"more"),
    "a forged size in gzip": (TRAIN_X, gzip.compress(idx_bytes(IMAGES, sizes=(2**32 - 1,) * 3))),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_malformed_idx_files_are_refused(tmp_path, case):
    name, content = BAD_IDX[case]
    (idx_folder(tmp_path) / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"must|cut|read|no IDX|empty|pixels") as refusal:
        idx(tmp_path)
    assert str(tmp_path if case == "other test images" else tmp_path / name) in str(refusal.value)


BAD_CIFAR = {
    "nothing": b"",
    "one byte": b"\0",
    "cut short": (record(1) * 3)[:-1],
    "one byte too many": record(1) * 3 + b"\0",
    "label 10": record(1) + record(10),
    "two labels each, CIFAR-100": (b"\1" + record(1)) * 3,
    "a pickle, the Python version": b"\x80\x02}q\x01(U\x0bbatch_labelq\x02",
    "gzip": gzip.compress(record(1)),
    "an IDX file": GOOD,
}


@pytest.mark.parametrize("name", [CIFAR_NAMES[0], CIFAR_NAMES[4], CIFAR_TEST_NAME])
@pytest.mark.parametrize("case", BAD_CIFAR)
def test_malformed_cifar_files_are_refused(tmp_path, case, name):
    (cifar_folder(tmp_path) / name).write_bytes(BAD_CIFAR[case])
    with pytest.raises(ValueError, match="must") as refusal:
        cifar10(tmp_path)
    assert str(tmp_path / name) in str(refusal.value)


def remove(path):
    path.unlink()


def make_folder(path):
    path.unlink()
    path.mkdir()


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


def make_broken_link(path):
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def make_circular_link(path):
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize("damage", [remove, make_folder, make_pipe, make_broken_link, make_circular_link])
@pytest.mark.parametrize("folder, name", [(idx_folder, TRAIN_Y), (cifar_folder, CIFAR_NAMES[2])], ids=["idx", "cifar"])
def test_what_is_no_file_is_refused(tmp_path, folder, name, damage):
    damage(folder(tmp_path) / name)
    with pytest.raises(ValueError, match=r"missing|read|file") as refusal:
        load(tmp_path)
    assert str(tmp_path / name) in str(refusal.value)


@pytest.mark.parametrize("folder, name", [(idx_folder, TEST_X), (cifar_folder, CIFAR_TEST_NAME)], ids=["idx", "cifar"])
def test_a_file_that_may_not_be_opened(tmp_path, monkeypatch, folder, name):
    folder(tmp_path)

    def refuse(path, mode):
        raise PermissionError(13, "Permission denied", str(path))

    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: (refuse if path.name == name else opened)(path, mode))
    with pytest.raises(ValueError, match=f"{name} cannot be read: Permission denied"):
        load(tmp_path)


@pytest.mark.parametrize("folder, name", [(idx_folder, TEST_X), (cifar_folder, CIFAR_TEST_NAME)], ids=["idx", "cifar"])
def test_a_disk_that_fails_while_reading(tmp_path, monkeypatch, folder, name):
    folder(tmp_path)

    class Failing(io.BytesIO):
        def read(self, size=-1):
            if size < 0 or self.tell():
                raise OSError(5, "Input/output error")
            return super().read(size)

    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: Failing(GOOD) if path.name == name else opened(path, mode))
    with pytest.raises(ValueError, match=f"{name} cannot be read: Input/output error"):
        load(tmp_path)


@pytest.mark.parametrize("source", ["nowhere", "", "no\0name", "x" * 300, None, 7])
def test_what_is_no_folder_is_refused(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"folder|holds neither"):
        load(source)


def test_a_file_instead_of_a_folder_and_a_folder_of_other_files(tmp_path):
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(gzip.compress(b"tar"))
    with pytest.raises(ValueError, match="unpack"):
        load(tmp_path)
    with pytest.raises(ValueError, match="folder with data files"):
        load(tmp_path / "cifar-10-binary.tar.gz")


@pytest.mark.parametrize("name", ["no\0name", "x" * 300])
@pytest.mark.parametrize(
    "read",
    [lambda path: read_idx(path, 1), idx, read_cifar10, cifar10],
    ids=["IDX file", "IDX folder", "CIFAR file", "CIFAR folder"],
)
def test_names_that_no_file_can_have(read, name):
    with pytest.raises(ValueError, match=r"cannot be read|missing") as refusal:
        read(name)
    assert name in str(refusal.value)


# ---------------------------------------------------------------- any bytes whatever

HEADERS = st.builds(
    lambda zeros, code, sizes: zeros + bytes([code, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes),
    st.sampled_from([b"\0\0", b"\0\1"]),
    st.sampled_from([8, 8, 8, 9, 13]),
    st.lists(st.one_of(st.integers(0, 4), st.integers(0, 2**32 - 1)), max_size=4),
)
CONTENTS = st.one_of(
    st.binary(max_size=60),
    st.builds(bytes.__add__, HEADERS, st.binary(max_size=70)),
)
COMPRESSED = CONTENTS.map(gzip.compress)
FILES = st.one_of(CONTENTS, COMPRESSED, st.builds(lambda content, end: content[:end], COMPRESSED, st.integers(0, 60)))


def read_or_refused(read, content):
    """What ``read`` makes of a file with this content; None if it refuses it and names the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some-file"
        path.write_bytes(content)
        try:
            return read(path)
        except ValueError as refusal:
            if str(path) not in str(refusal):
                raise
            return None


@given(content=FILES, ndim=st.sampled_from([1, 3]))
@example(content=GOOD, ndim=3)
def test_any_bytes_are_an_array_or_a_clear_refusal(content, ndim):
    array = read_or_refused(lambda path: read_idx(path, ndim), content)
    if array is not None:
        plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        assert idx_bytes(array) == plain


@given(
    content=st.one_of(
        st.binary(max_size=50),
        st.builds(
            lambda labels, end: b"".join(map(record, labels)) + end,
            st.lists(st.integers(0, 11), max_size=3),
            st.sampled_from([b"", b"", b"\0", bytes(3072)]),
        ),
    )
)
def test_any_bytes_are_cifar_records_or_a_clear_refusal(content):
    records = read_or_refused(read_cifar10, content)
    if records is not None:
        x, y = records
        assert b"".join(bytes([label]) + image.tobytes() for label, image in zip(y, x, strict=True)) == content
        assert y.max() <= 9


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_a_forged_header_costs_no_memory(tmp_path, pack):
    path = tmp_path / TRAIN_X
    path.write_bytes(pack(idx_bytes(IMAGES, sizes=(2**32 - 1,) * 3)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="cut short"):
        read_idx(path, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * image_files.BLOCK_BYTES
