"""Debian's PostgreSQL as a subprocess on a free port, in a temporary folder, as a user that is not root."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psycopg


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


PROGRAMS = _programs()


class Postgres:
    """One server; each test makes a database of its own in it."""

    def __init__(self) -> None:
        assert PROGRAMS is not None
        self._folder = Path(tempfile.mkdtemp(prefix="accord-postgres-", dir="/tmp"))
        self._as: list[str] = []
        if os.geteuid() == 0:  # postgres refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._as = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        data = self._folder / "data"
        words = ["-D", data, "-U", "accord", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(
            [*self._as, PROGRAMS / "initdb", *words], check=True, cwd=self._folder, stdout=subprocess.DEVNULL
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        settings = [f"-cunix_socket_directories={self._folder}", "-clisten_addresses=127.0.0.1", "-cfsync=off"]
        log = self._folder / "log"
        # The server ends with the process that runs the tests, however that ends.
        bound = ["setpriv", "--pdeathsig=INT", *self._as[1:]]
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                [*bound, PROGRAMS / "postgres", "-D", data, "-p", str(self._port), *settings],
                cwd=self._folder,
                stderr=said,
            )
        pause, end = threading.Event(), time.monotonic() + 60
        while b"ready to accept connections" not in log.read_bytes():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            pause.wait(0.02)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://accord@127.0.0.1:{self._port}/{database}"

    def new(self, database: str) -> str:
        """Make an empty database and return its URL."""
        address = f"host=127.0.0.1 port={self._port} user=accord dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"'.encode())
        return self.url(database)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # fast: open connections are cut
        assert self._process.wait(60) == 0
        shutil.rmtree(self._folder)
