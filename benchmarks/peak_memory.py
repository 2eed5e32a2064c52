"""Time and peak memory of a command with its children; its own pages and those of mapped files apart.

Pages of a memory-mapped file are the kernel's to drop when memory is short; anonymous pages are not.
"""

import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SECONDS_BETWEEN_LOOKS = 0.05
_KIB_A_MIB = 1024


@dataclass(frozen=True)
class Run:
    """What a command took.

    Attributes:
        seconds: from start to end.
        own: MiB of anonymous pages, the largest sum over all processes at one moment.
        mapped: the same of pages of files: libraries, once for each process, and memory maps.
    """

    seconds: float
    own: float
    mapped: float


def measure(command: Sequence[str], cwd: Path, env: dict[str, str]) -> Run:
    """Runs `command` and looks at it twenty times a second. Linux only.

    Raises:
        RuntimeError: it failed; with what it printed.
    """
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=output, stderr=subprocess.STDOUT
        )
        peaks = [0.0, 0.0]
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks, ended))
        watcher.start()
        status = process.wait()
        seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
        if status:
            output.seek(0)
            printed = output.read().decode(errors="replace")
            raise RuntimeError(f"{' '.join(command)} ended with {status}:\n{printed}")
    return Run(seconds, *peaks)


def _watch(root: int, peaks: list[float], ended: threading.Event) -> None:
    while not ended.wait(_SECONDS_BETWEEN_LOOKS):
        found = [_pages(process) for process in _tree(root)]
        for place, total in enumerate(map(sum, zip(*found, strict=True))):
            peaks[place] = max(peaks[place], total)


def _tree(root: int) -> list[int]:
    """`root` and its descendants."""
    try:
        tasks = list(Path(f"/proc/{root}/task").iterdir())
        children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    except OSError:
        return [root]  # it has just ended
    return [root, *(pid for child in children for pid in _tree(child))]


def _pages(process: int) -> tuple[float, float]:
    """MiB that a process has: anonymous and shared ones, and those of files."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    kib = {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in lines)
        if name in ("RssAnon", "RssShmem", "RssFile")
    }
    own = kib.get("RssAnon", 0) + kib.get("RssShmem", 0)
    return own / _KIB_A_MIB, kib.get("RssFile", 0) / _KIB_A_MIB
