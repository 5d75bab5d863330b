"""Image data on the disk of the user: IDX files (MNIST, Fashion-MNIST) and the binary version of CIFAR-10.

A file that is not exactly in its format raises ValueError, with its name and what is wrong with it.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from simulations.problems.data import Data, digits

CLASSES = 10  # labels of all these data sets
IDX_NAMES = {  # of images and labels, for training and for testing; also with ".idx" for "-idx", and with ".gz"
    "training": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
CIFAR_NAMES = tuple(f"data_batch_{batch}.bin" for batch in range(1, 6))
CIFAR_TEST_NAME = "test_batch.bin"
CIFAR_PIXELS = 3 * 32 * 32  # red, green and blue of each pixel
BLOCK_BYTES = 1 << 20  # read at once, so that memory follows the content of a file, not the size in its header


def load(source: str | Path) -> Data:
    """The data named "digits", or those in a folder with IDX files or the binary files of CIFAR-10.

    Raises ValueError if the folder holds neither, or if a file is not in the format that its name promises.
    """
    if source == "digits":
        return digits()
    try:
        folder = Path(source)
        names = {path.name for path in folder.iterdir()}
    except (OSError, ValueError, TypeError) as failure:
        raise ValueError(f'data must be "digits" or a folder with data files; {_why(source, failure)}') from failure
    if names & {*CIFAR_NAMES, CIFAR_TEST_NAME}:
        return cifar10(folder)
    if any(names.intersection(_spellings(name)) for pair in IDX_NAMES.values() for name in pair):
        return idx(folder)
    raise ValueError(
        f"{folder} holds neither IDX files ({IDX_NAMES['training'][0]}, ..., plain or .gz) nor the binary version of "
        f"CIFAR-10 ({CIFAR_NAMES[0]}, ...): unpack them into it first"
    )


# ---------------------------------------------------------------- IDX


def idx(folder: str | Path) -> Data:
    """MNIST, Fashion-MNIST or other images of ten classes, in four IDX files, plain or .gz.

    Raises ValueError unless all four files are complete, agree in number and size, and all labels are in 0..9.
    """
    folder = Path(folder)
    (x, y), (x_test, y_test) = (
        _images_and_labels(*(_find(folder, name) for name in names)) for names in IDX_NAMES.values()
    )
    if x.shape[1:] != x_test.shape[1:]:
        raise ValueError(f"{folder}: training images are {x.shape[1:]} pixels, test images {x_test.shape[1:]}")
    flat, flat_test = (images.reshape(len(images), -1) for images in (x, x_test))
    return Data(flat, y, flat_test, y_test, scale=1 / 255, classes=CLASSES, name=f"IDX files in {folder.name}")


def read_idx(path: str | Path, ndim: int) -> np.ndarray:
    """The ``ndim``-dimensional array of unsigned bytes in an IDX file, plain or compressed with gzip.

    Format: two zero bytes, the code 8 of unsigned bytes, the number of dimensions, each size as a big-endian integer of
    4 bytes, then the entries, where the last index changes fastest.  Raises ValueError for any other file.
    Source: LeCun, Cortes & Burges (1998), the MNIST database.
    """
    path = Path(path)
    try:
        with _opened(path) as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            return _parse_idx(path, gzip.GzipFile(fileobj=raw) if compressed else raw, ndim)
    except (OSError, EOFError, zlib.error) as failure:
        raise ValueError(_why(path, failure)) from failure


def _parse_idx(path: Path, file: BinaryIO | gzip.GzipFile, ndim: int) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(f"{path} is no IDX file: it must begin with two zero bytes and two codes, got {magic!r}")
    if magic[2] != 8:
        raise ValueError(f"{path}: entries must be unsigned bytes (code 8), got an IDX file with code {magic[2]}")
    if magic[3] != ndim:
        raise ValueError(f"{path} must have {ndim} dimensions (1 for labels, 3 for images), got {magic[3]}")
    sizes = np.frombuffer(_exactly(path, file, 4 * ndim, "the sizes in its header"), ">u4").tolist()
    if 0 in sizes:
        raise ValueError(f"{path} is empty: its sizes are {sizes}")
    entries = _exactly(path, file, math.prod(sizes), f"{' x '.join(map(str, sizes))} entries")
    if file.read(1):
        raise ValueError(f"{path}: nothing must follow the {len(entries)} bytes that the header announces")
    return np.frombuffer(entries, np.uint8).reshape(sizes)


def _images_and_labels(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    x, y = read_idx(images, 3), read_idx(labels, 1)
    if len(x) != len(y):
        raise ValueError(f"there must be a label for each image, got {len(y)} in {labels} and {len(x)} in {images}")
    return x, _checked_labels(labels, y)


def _spellings(name: str) -> list[str]:
    dotted = ".idx".join(name.rsplit("-idx", 1))
    return [name, dotted, f"{name}.gz", f"{dotted}.gz"]


def _find(folder: Path, name: str) -> Path:
    """The file of this name; if it is there both plain and compressed, the plain one."""
    try:
        there = [spelling for spelling in _spellings(name) if (folder / spelling).exists()]
    except OSError as failure:
        raise ValueError(_why(folder / name, failure)) from failure
    if not there:
        raise ValueError(f"{folder / name} is missing, plain or .gz")
    return folder / there[0]


# ---------------------------------------------------------------- CIFAR-10


def cifar10(folder: str | Path) -> Data:
    """CIFAR-10 in its binary version: data_batch_1.bin to data_batch_5.bin for training, test_batch.bin for testing.

    Raises ValueError unless all six files are there and complete, with labels in 0..9.
    """
    folder = Path(folder)
    parts = [read_cifar10(folder / name) for name in CIFAR_NAMES]
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    x_test, y_test = read_cifar10(folder / CIFAR_TEST_NAME)
    return Data(x, y, x_test, y_test, scale=1 / 255, classes=CLASSES, name=f"CIFAR-10 in {folder.name}")


def read_cifar10(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Images, shape (N, 3072), and labels, shape (N,), of one file of CIFAR-10: records of a label and 3072 pixels.

    Raises ValueError for any other file.  Source: Krizhevsky (2009), the CIFAR-10 data set.
    """
    path = Path(path)
    try:
        with _opened(path) as file:
            content = file.read()
    except OSError as failure:
        raise ValueError(_why(path, failure)) from failure
    if not content or len(content) % (1 + CIFAR_PIXELS):
        raise ValueError(
            f"{path} must hold whole records of {1 + CIFAR_PIXELS} bytes, a label and 32 x 32 pixels in 3 colours, "
            f"got {len(content)} bytes: it is cut short, or not the binary version of CIFAR-10"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + CIFAR_PIXELS)
    return records[:, 1:], _checked_labels(path, records[:, 0])


# ---------------------------------------------------------------- any file


def _opened(path: Path) -> BinaryIO:
    try:
        special = path.exists() and not path.is_file()
        if not special:
            return path.open("rb")
    except (OSError, ValueError) as failure:
        raise ValueError(_why(path, failure)) from failure
    raise ValueError(f"{path} must be a file, but is a folder or a device")


def _exactly(path: Path, file: BinaryIO | gzip.GzipFile, size: int, what: str) -> bytearray:
    content = bytearray()
    while len(content) < size:
        block = file.read(min(BLOCK_BYTES, size - len(content)))
        if not block:
            raise ValueError(f"{path} is cut short: {what} take {size} bytes, there are {len(content)}")
        content += block
    return content


def _checked_labels(path: Path, labels: np.ndarray) -> np.ndarray:
    if labels.max() >= CLASSES:
        first = int((labels >= CLASSES).argmax())
        raise ValueError(f"{path}: labels must be 0..{CLASSES - 1}, got {labels[first]} for sample {first}")
    return labels.astype(np.intp)


def _why(path: str | Path, failure: Exception) -> str:
    return f"{path} cannot be read: {getattr(failure, 'strerror', None) or failure}"
