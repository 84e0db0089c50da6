"""A disk in memory, for tests, which ships with the package: it loses power, fills up, and fails as told.

What was not synced is lost, kept or torn, each on its own for the bytes of files and for the names in folders, as file
systems differ in it. Every operation that changes something is counted, so that a test can die at each of them.
"""

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from accord.files.crash import Crash
from accord.files.port import Space, Status


class PowerCut(BaseException):
    """The power went, before the operation that was asked for; no handler of errors may swallow it."""


OPERATIONS = ("create", "chmod", "write", "truncate", "sync", "rename", "unlink", "mkdir")
"""What changes a disk, and is counted."""


@dataclass(eq=False)
class _File:
    """A file: its bytes, those that were synced, and the writes and cuts since then, in order."""

    mode: int
    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def after(self, how: str) -> bytes:
        """Return what the file holds when the power comes back."""
        if how == "kept" or not self.pending:
            return bytes(self.data)
        if how == "lost":
            return self.durable
        found = bytearray(self.durable)
        for number, (at, part) in enumerate(self.pending, 1):
            if part is None:
                del found[at:]
            else:
                whole = part if number < len(self.pending) else part[: len(part) // 2]
                found[at : at + len(whole)] = whole
        return bytes(found)


@dataclass(eq=False)
class _Folder:
    """A folder: its names, and those that were synced."""

    mode: int
    names: dict[str, "_File | _Folder"] = field(default_factory=dict)
    durable: dict[str, "_File | _Folder"] = field(default_factory=dict)


@dataclass
class _Handle:
    what: _File | _Folder
    flags: int
    at: int = 0


class MemoryFiles:
    """The port `FileSystem` in memory; every path starts at its own root folder.

    Attributes:
        operations: the kinds of changes so far, in order; see `OPERATIONS`.
        cut_at: the number of the change (from 0) before which the power goes, or None.
        capacity: bytes that all files together may hold; then it is full.
        read_only: whether changes are refused.
        failing: kinds of changes, or `read`, that give input/output errors.
    """

    def __init__(self) -> None:
        self.operations: list[str] = []
        self.cut_at: int | None = None
        self.capacity = 1 << 40
        self.read_only = False
        self.failing: frozenset[str] = frozenset()
        self._dead = False
        self._root = _Folder(0o700)
        self._handles: dict[int, _Handle] = {}
        self._next = 3

    def crash(self, how: Crash) -> None:
        """Lose power and come back: what was not synced is gone, kept or torn; nothing is open any more."""
        self._settle(self._root, how)
        self._handles.clear()
        self._dead, self.cut_at = False, None

    def open(self, path: Path, flags: int, mode: int) -> int:
        """Open, and make or empty a file where the flags say so."""
        self._alive()
        folder = self._parent(path)
        what: _File | _Folder | None = folder.names.get(path.name) if path.name else self._root
        writing = flags & (os.O_WRONLY | os.O_RDWR)
        if writing and self.read_only:
            _fail(errno.EROFS)
        if what is None:
            if not flags & os.O_CREAT:
                _fail(errno.ENOENT)
            self._change("create")
            what = folder.names[path.name] = _File(mode)
        if isinstance(what, _Folder) and writing:
            _fail(errno.EISDIR)
        if isinstance(what, _File) and flags & os.O_DIRECTORY:
            _fail(errno.ENOTDIR)
        if flags & os.O_TRUNC and isinstance(what, _File) and what.data:
            self._change("truncate")
            self._cut(what, 0)
        self._next += 1
        self._handles[self._next] = _Handle(what, flags)
        return self._next

    def status(self, what: Path | int) -> Status:
        """Return the status."""
        self._alive()
        found = self._handles[what].what if isinstance(what, int) else self._find(what)
        size = len(found.data) if isinstance(found, _File) else 0
        return Status(folder=isinstance(found, _Folder), mode=found.mode, size=size)

    def chmod(self, handle: int, mode: int) -> None:
        """Set permission bits; they are taken as durable at once."""
        self._change("chmod")
        self._handles[handle].what.mode = mode

    def read(self, handle: int, size: int) -> bytes:
        """Read."""
        self._alive()
        if "read" in self.failing:
            _fail(errno.EIO)
        opened = self._handles[handle]
        data = bytes(self._file(handle).data[opened.at : opened.at + size])
        opened.at += len(data)
        return data

    def seek(self, handle: int, offset: int) -> None:
        """Seek."""
        self._alive()
        self._handles[handle].at = offset

    def write(self, handle: int, data: memoryview) -> int:
        """Write what fits: short writes happen, as on a real disk."""
        self._change("write")
        opened, file = self._handles[handle], self._file(handle)
        part = bytes(data)[: max(0, self.capacity - self._used(self._root))]
        if not part:
            _fail(errno.ENOSPC)
        at = len(file.data) if opened.flags & os.O_APPEND else opened.at
        file.data[at : at + len(part)] = part
        file.pending.append((at, part))
        opened.at = at + len(part)
        return len(part)

    def truncate(self, handle: int, size: int) -> None:
        """Cut."""
        self._change("truncate")
        self._cut(self._file(handle), size)

    def sync(self, handle: int) -> None:
        """Make the bytes of a file, or the names of a folder, durable."""
        self._change("sync")
        what = self._handles[handle].what
        if isinstance(what, _Folder):
            what.durable = dict(what.names)
        else:
            what.durable, what.pending = bytes(what.data), []

    def close(self, handle: int) -> None:
        """Give back; it makes nothing durable, and works without power, as every `finally` calls it."""
        self._handles.pop(handle, None)

    def rename(self, old: Path, new: Path) -> None:
        """Rename within one folder."""
        self._change("rename")
        folder = self._parent(old)
        if self._parent(new) is not folder:
            _fail(errno.EXDEV)
        self._find(old)
        folder.names[new.name] = folder.names.pop(old.name)

    def unlink(self, path: Path) -> None:
        """Unlink."""
        self._alive()
        if isinstance(self._find(path), _Folder):
            _fail(errno.EISDIR)
        self._change("unlink")
        del self._parent(path).names[path.name]

    def mkdir(self, path: Path, mode: int) -> None:
        """Make."""
        self._change("mkdir")
        names = self._parent(path).names
        if path.name in names:
            _fail(errno.EEXIST)
        names[path.name] = _Folder(mode)

    def names(self, folder: Path) -> list[str]:
        """List."""
        self._alive()
        found = self._find(folder)
        if not isinstance(found, _Folder):
            _fail(errno.ENOTDIR)
        return list(found.names)

    def space(self, folder: Path) -> Space:
        """Return the capacity and what is left of it."""
        self._find(folder)
        return Space(total=self.capacity, free=max(0, self.capacity - self._used(self._root)))

    def _alive(self) -> None:
        if self._dead:
            raise PowerCut

    def _change(self, kind: str) -> None:
        self._alive()
        if self.cut_at is not None and len(self.operations) >= self.cut_at:
            self._dead = True
            raise PowerCut
        if self.read_only:
            _fail(errno.EROFS)
        if kind in self.failing:
            _fail(errno.EIO)
        self.operations.append(kind)

    def _find(self, path: Path) -> _File | _Folder:
        self._alive()
        at: _File | _Folder = self._root
        for name in path.parts:
            if name == path.anchor:
                continue
            if not isinstance(at, _Folder):
                _fail(errno.ENOTDIR)
            if name not in at.names:
                _fail(errno.ENOENT)
            at = at.names[name]
        return at

    def _parent(self, path: Path) -> _Folder:
        found = self._find(path.parent)
        if not isinstance(found, _Folder):
            _fail(errno.ENOTDIR)
        return found

    def _file(self, handle: int) -> _File:
        what = self._handles[handle].what
        if not isinstance(what, _File):
            _fail(errno.EISDIR)
        return what

    def _cut(self, file: _File, size: int) -> None:
        del file.data[size:]
        file.pending.append((size, None))

    def _used(self, folder: _Folder) -> int:
        found = folder.names.values()
        return sum(self._used(item) if isinstance(item, _Folder) else len(item.data) for item in found)

    def _settle(self, folder: _Folder, how: Crash) -> None:
        folder.names = dict(folder.durable if how.names == "lost" else folder.names)
        folder.durable = dict(folder.names)
        for item in folder.names.values():
            if isinstance(item, _Folder):
                self._settle(item, how)
            else:
                item.durable = item.after(how.data)
                item.data, item.pending = bytearray(item.durable), []


def _fail(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))
