"""A Ray cluster as a place to work: a pool of processes that do many small tasks (Ray Data).

A task is a string, and so is its result: what is large stays in files that all nodes see. Ray starts a
process that was killed again, on another node if its own is lost, and does its task again; a task that fails
all the same is given out once more at the end of its round.
"""

import logging
import os
import secrets
import socket
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import sentifuse
from sentifuse.errors import UserError
from sentifuse.runtime import numerics, threads

Work = Callable[[str], str]

# Tasks that Ray is given at a time: it holds them in memory.
_TASKS_A_ROUND = 16_384
# How often a task may lose its process before it has to wait for the end of the round. While Ray finds
# out that a node is lost, each try to reach it counts.
_TRIES = 3
# Processes that share a GPU: one core decodes too slowly for it.
_PROCESSES_A_GPU = 8
_SECONDS_TO_ANSWER = 5.0
_SHARED = (
    "every node must mount the project's folder, the raw data, the store and the backbone's files at "
    "the same path (docs/scale.md)"
)


class Cluster:
    """A connection that is made when there is something to do."""

    def __init__(self, address: str | None) -> None:
        """Remembers the address.

        Args:
            address: `host:port` of a cluster that is there, on one of whose nodes this runs; `auto` for
                that of this node; None to start one on this machine, which ends with this process.
        """
        self._address = address
        self._connected = False

    @property
    def here(self) -> bool:
        """Whether it is this machine alone."""
        return self._address is None

    def cores(self) -> int:
        """The number of cores of all nodes."""
        self._connect()
        import ray

        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *raised: object) -> None:
        if self._connected:
            import ray

            ray.shutdown()

    def run(
        self, make: Callable[..., Work], arguments: Mapping[str, Any], tasks: Iterable[str]
    ) -> Iterator[tuple[int, str]]:
        """Gives every task to one of the cluster's processes, each of which calls `make` once.

        Args:
            make: a class or function of the library; it gives what does a task.
            arguments: of `make`.
            tasks: gone through once, a round at a time.

        Yields:
            Each task's number and its result, as soon as it is done: in any order within a round.

        Raises:
            UserError: no cluster, an error of a worker, a node that does not see the project's folder, or
                a task that ends every process that takes it.
        """
        rest = enumerate(tasks)
        while number_and_task := list(islice(rest, _TASKS_A_ROUND)):
            self._connect()
            left = dict(number_and_task)
            while left:
                before = len(left)
                for row in _round(make, arguments, list(left.items())):
                    number = int(row["number"])
                    if number in left:
                        del left[number]
                        yield number, _result(row)
                if len(left) == before:
                    raise UserError(
                        f"{before} tasks ended every process that took them (out of memory?), or the "
                        "cluster has lost its nodes; what is done is kept: run again"
                    )

    def _connect(self) -> None:
        if self._connected:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray logs as an error what Ray Data always does: it makes a pool's workers from an argument.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        if self._address is None:
            # Ray listens on all interfaces: a secret of this run keeps others out.
            os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"] = "token", secrets.token_hex()
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise UserError(
                f"engine ray: {error}: run `pip install -r requirements-ray.txt`"
            ) from None
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address is None:
            cores = threads.cores()
            with _silent():
                ray.init(address="local", num_cpus=cores, include_dashboard=False, **quiet)
        else:
            # The nodes run the code of this folder, whatever is installed there.
            package = Path(sentifuse.__file__).resolve().parent
            environment = {
                "py_modules": [str(package)],
                "excludes": ["**/__pycache__"],
                "env_vars": numerics.settings(),
            }
            found = _answering(self._address)
            try:
                with _silent():
                    ray.init(address=found, runtime_env=environment, **quiet)
            except (ConnectionError, RuntimeError) as error:
                raise UserError(
                    f"ray.address: {self._address}: {str(error).splitlines()[0]}"
                ) from None
        self._connected = True


@contextmanager
def _silent() -> Iterator[None]:
    """Holds back what the block writes to stderr, also in C++, and shows it only if the block raises."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


def _answering(address: str) -> str:
    """The `host:port` of `address`, if somebody listens there: Ray itself would try for minutes."""
    from ray._private import services

    try:
        found = services.canonicalize_bootstrap_address(address)
        host, _, port = str(found).rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, ValueError):
        raise UserError(
            f"ray.address: {address}: no cluster answers there: start one with `ray start --head`, or give "
            "no address (null) to start Ray on this machine"
        ) from None
    return str(found)


def _round(
    make: Callable[..., Work], arguments: Mapping[str, Any], tasks: Sequence[tuple[int, str]]
) -> Iterator[dict[str, Any]]:
    """Does each task once, unless its process is killed again and again; gives the rows of `_Worker`."""
    import ray
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    size, share = pool(len(tasks))
    given = ray.data.from_items(
        [{"number": number, "task": task} for number, task in tasks],
        override_num_blocks=len(tasks),
    )
    with warnings.catch_warnings():
        # From Ray 2.64 on `max_task_retries` is given in another way, which 2.60 does not know.
        warnings.simplefilter("ignore", DeprecationWarning)
        rows = given.map(
            _Worker,  # type: ignore[arg-type]  # a class, which Ray makes an instance of in each process
            fn_constructor_args=(make, dict(arguments), os.getcwd()),
            compute=ray.data.ActorPoolStrategy(size=size),
            max_task_retries=_TRIES,
            **share,
        )
    try:
        yield from rows.iter_rows()
    except RayError as error:
        raise UserError(
            f"the cluster: {str(error).strip().splitlines()[-1]}; what is done is kept: run again"
        ) from None


def pool(tasks: int) -> tuple[int, dict[str, Any]]:
    """How many processes, and what each takes of its node: a core, or a part of a GPU."""
    import ray

    there = ray.cluster_resources()
    cores, gpus = int(there.get("CPU", 1)), int(there.get("GPU", 0))
    if not gpus:
        return max(1, min(cores, tasks)), {"num_cpus": 1}
    sharing = max(1, min(cores // gpus, _PROCESSES_A_GPU))
    # Ray counts in ten-thousandths.
    return min(gpus * sharing, tasks), {"num_gpus": 10_000 // sharing / 10_000}


class _Worker:
    """One process of the pool. It returns errors, too: Ray would count one that is raised as a lost task."""

    def __init__(self, make: Callable[..., Work], arguments: Mapping[str, Any], cwd: str) -> None:
        self._make, self._arguments, self._cwd = make, arguments, cwd
        self._work: Work | None = None

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        said = {"result": "", "problem": "", "crash": ""}
        try:
            if self._work is None:
                os.chdir(self._cwd)
                self._work = self._make(**self._arguments)
            said["result"] = self._work(row["task"])
        except UserError as error:
            said["problem"] = str(error)
        except OSError as error:
            hint = f": {_SHARED}" if isinstance(error, FileNotFoundError) else ""
            said["problem"] = f"node {_node()}: {error.filename}: {error.strerror or error}{hint}"
        except Exception:
            said["crash"] = traceback.format_exc()
        return {"number": row["number"], **said}


def _result(row: Mapping[str, Any]) -> str:
    if row["problem"]:
        raise UserError(str(row["problem"]))
    if row["crash"]:
        raise RuntimeError(f"on a node of the cluster: {row['crash']}")
    return str(row["result"])


def _node() -> str:
    import ray

    return str(ray.util.get_node_ip_address())
