"""Arrays of bytes in the idx format of MNIST and its heirs, from gzip files. Knows nothing of what they mean."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError

MAX_BYTES = 1 << 28
"""Bytes in one array; the largest file of Fashion-MNIST has 47 million."""


def read_idx(path: Path, dims: int, rows: int | None) -> npt.NDArray[np.uint8]:
    """Return the first rows of an idx file (format: http://yann.lecun.com/exdb/mnist).

    Args:
        path: a gzip file of the Debian package dataset-fashion-mnist.
        dims: number of dimensions of the array: 3 for images, 1 for labels.
        rows: how many rows to read, 1 or more; None reads all.

    Returns:
        (N, ...) uint8.

    Raises:
        UsageError: the file is missing or broken; the sentence has the command that installs it.
    """
    try:
        with gzip.open(path) as stream:
            header = np.frombuffer(stream.read(4 + 4 * dims), ">u4")
            if len(header) != 1 + dims or header[0] != 0x0800 + dims or math.prod(map(int, header[1:])) > MAX_BYTES:
                raise UsageError(f"{path} is not an idx file of images: reinstall dataset-fashion-mnist")
            shape = [int(d) for d in header[1:]]
            shape[0] = shape[0] if rows is None else min(rows, shape[0])
            data = stream.read(math.prod(shape))
    except FileNotFoundError:
        raise UsageError(f"{path} is missing: apt-get install -y dataset-fashion-mnist, or use --data digits") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} is broken ({error}): apt-get install --reinstall dataset-fashion-mnist") from None
    if len(data) != math.prod(shape):
        raise UsageError(f"{path} is cut short: apt-get install --reinstall dataset-fashion-mnist")
    return np.frombuffer(data, np.uint8).reshape(shape)
