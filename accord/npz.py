"""The arrays of one .npz file, read without trusting it: no pickle, and no byte inflated that was not bounded first."""

import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError

MAX_BYTES = 4 << 30
"""Inflated bytes of all arrays that are read from one file together."""

_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, EOFError, OSError, RuntimeError)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_arrays(path: Path, names: Iterable[str], how: str, *, limit: int = MAX_BYTES) -> dict[str, npt.NDArray[Any]]:
    """Return those of the named arrays that the file has, as they are stored. Other members are not inflated.

    Args:
        path: a file that numpy.savez or numpy.savez_compressed wrote.
        names: names of arrays, without ".npy".
        how: what an error ends with: the call that writes such a file.
        limit: inflated bytes of these arrays together that may be read.

    Raises:
        UsageError: the file is missing or broken, is too large, or an array holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len({m.filename for m in members}) != len(members):
                raise UsageError(f"{path} holds one name twice: {how}")
            chosen = {m.filename[:-4]: m for m in members if m.filename in {f"{name}.npy" for name in names}}
            # zipfile never inflates past the size in the directory, so a bound on that is a bound on memory.
            size = sum(m.file_size for m in chosen.values())
            if size > limit:
                raise UsageError(f"{path} inflates to {size:,} bytes, more than the {limit:,} allowed: use fewer rows")
            return {name: _read_array(archive, member, path, how) for name, member in chosen.items()}
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: give the path of a .npz file") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder: give the path of a .npz file") from None
    except PermissionError:
        raise UsageError(f"{path} may not be read by this user: change its permissions") from None
    except _BROKEN as error:
        raise UsageError(f"{path} is not a whole .npz file ({error}): {how}") from None
    except (ValueError, SyntaxError, tokenize.TokenError, TypeError, MemoryError) as error:
        raise UsageError(f"{path} is not a .npz file of plain arrays ({error}): {how}") from None


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, how: str) -> npt.NDArray[Any]:
    """Return one array, after its header was held against the member's size."""
    with archive.open(member) as stream:
        shape, fortran, dtype = _read_header(stream)
        where = f"{member.filename[:-4]} in {path}"
        if dtype.hasobject:
            raise UsageError(f"{where} holds Python objects, which are never unpickled: convert it with .astype(...)")
        # Python integers: a header that claims 2**40 rows must not overflow into a small number.
        size = dtype.itemsize
        for dim in shape:
            size *= dim
        if size < 0 or dtype.itemsize == 0 or size != member.file_size - stream.tell():
            raise UsageError(f"{where} says {shape} of {dtype}, which is not what it holds: {how}")
        data = stream.read(size)
        if len(data) != size or stream.read(1):
            raise UsageError(f"{where} is cut short: {how}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, "np.dtype[Any]"]:
    """Return shape, order and dtype. numpy bounds the header and parses it as a literal."""
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"array format {version} is unknown")
    shape, fortran, dtype = _HEADERS[version](stream)
    return shape, fortran, dtype
