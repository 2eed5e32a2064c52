"""Servers on loopback that a DVC remote can be on; each stops with its context."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

HOST = "127.0.0.1"
_SECONDS_TO_START = 20


@dataclass(frozen=True)
class Remote:
    """What `dvc remote add` and `dvc remote modify` take."""

    url: str
    options: tuple[tuple[str, str], ...] = ()


@contextmanager
def folder(scratch: Path) -> Iterator[Remote]:
    """A folder, by its absolute path."""
    yield Remote(str(scratch / "store"))


@contextmanager
def s3(scratch: Path) -> Iterator[Remote]:
    """A bucket of moto's S3, which keeps everything in memory."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT")).close()
        yield Remote(
            "s3://bucket/store",
            (
                ("endpointurl", endpoint),
                ("region", "us-east-1"),
                ("access_key_id", "testing"),
                ("secret_access_key", "testing"),
            ),
        )
    finally:
        server.stop()


@contextmanager
def ssh(scratch: Path) -> Iterator[Remote]:
    """OpenSSH's server with a host key and an authorized key of its own; skips where none can start."""
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if not (sshd and shutil.which("ssh-keygen")):
        pytest.skip("no sshd: install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # the empty folder that it confines itself to
    for name in ("host", "user"):
        path = scratch / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    port = _free_port()
    config = scratch / "sshd_config"
    config.write_text(
        f"ListenAddress {HOST}:{port}\n"
        f"HostKey {scratch / 'host'}\n"
        f"AuthorizedKeysFile {scratch / 'user.pub'}\n"
        f"PidFile {scratch / 'sshd.pid'}\n"
        "StrictModes no\n"
        "PasswordAuthentication no\n"
        "PermitRootLogin prohibit-password\n"
        "Subsystem sftp internal-sftp\n",
        encoding="utf-8",
    )
    log = scratch / "sshd.log"
    server = subprocess.Popen([sshd, "-D", "-f", config, "-E", log])
    try:
        if not _answers(server, port):
            pytest.skip(f"sshd does not start: {log.read_text(encoding='utf-8').strip()}")
        yield Remote(
            f"ssh://{_user()}@{HOST}:{port}{scratch / 'store'}",
            (("keyfile", str(scratch / "user")),),
        )
    finally:
        server.terminate()
        server.wait()


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def _answers(server: "subprocess.Popen[bytes]", port: int) -> bool:
    """Whether something greets on `port` before `server` ends or time is up."""
    end = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < end and server.poll() is None:
        try:
            with socket.create_connection((HOST, port), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            time.sleep(0.1)
    return False
