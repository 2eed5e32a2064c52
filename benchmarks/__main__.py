"""Measures speed and memory beside plain reference implementations, all in one run.

    python -m benchmarks                    # some twenty minutes on two cores, which it wants for itself
    python -m benchmarks --only extraction  # one topic; the lines of the others stay
    python -m benchmarks --only gpu         # on a machine with a GPU
    python -m benchmarks --short            # every line of it once, on a handful of samples: no figures

Writes `results.json`, `results.md` (the tables) and `results.png` to `benchmarks/`, or to the folder that
`--out` names; a short run writes to a temporary one. Weights are random where no real ones are at hand: speed
does not depend on them.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from benchmarks import measurement
from benchmarks.measurement import Measurement
from sentifuse.evaluation import plots
from sentifuse.runtime import precision, process
from sentifuse.runtime.files import write_json, write_text

# Topic -> the module with its `measure(work, *, short) -> list[Measurement]`.
TOPICS = {
    "extraction": "benchmarks.extraction",
    "training": "benchmarks.training",
    "scaling": "benchmarks.scaling",
    "ray": "benchmarks.ray_engine",
    "pipeline": "benchmarks.pipeline",
    "export": "benchmarks.export",
    "serve": "benchmarks.serve",
    "gpu": "benchmarks.gpu",
}
# What a plain run measures: the last one wants a GPU.
USUAL = [topic for topic in TOPICS if topic != "gpu"]
OUT = Path(__file__).parent
RESULTS = "results.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the topics, each in a process of its own, and writes the three files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=str(__doc__).split("\n")[0]
    )
    parser.add_argument("--only", nargs="+", choices=list(TOPICS), default=USUAL)
    parser.add_argument("--short", action="store_true", help="see that it works; no figures")
    parser.add_argument("--out", type=Path, help="folder of the results")
    args = parser.parse_args(arguments)
    out = args.out or (Path(tempfile.mkdtemp(prefix="benchmarks-")) if args.short else OUT)
    process.one_thread()  # as stages have it; the references take all threads
    for topic in args.only:
        print(f"{topic} ...", file=sys.stderr, flush=True)
        start = time.monotonic()
        found = run(TOPICS[topic], short=args.short)
        print(f"{topic}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        write({**read(out), topic: Run(machine(), found)}, out)
        print(measurement.table(found))
    print(f"written to {out}")


def run(module: str, *, short: bool) -> list[Measurement]:
    """Runs one topic in a fresh process: neither its threads nor its memory meet the next one's."""
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as work,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        return pool.submit(measurement.of, module, Path(work), short).result()


@dataclass(frozen=True)
class Run:
    """One run of a topic: what it was measured on, and its lines."""

    on: Mapping[str, object]
    measurements: Sequence[Measurement]


def write(runs: Mapping[str, Run], out: Path) -> None:
    """Writes the three files of the last run of each topic to `out`."""
    ordered = {topic: runs[topic] for topic in TOPICS if topic in runs}
    told = {
        topic: {
            "on": dict(each.on),
            "measurements": [{**asdict(line), "met": line.met} for line in each.measurements],
        }
        for topic, each in ordered.items()
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RESULTS, told)
    write_text(out / "results.md", results(ordered))
    every = [line for each in ordered.values() for line in each.measurements]
    plots.save(measurement.figure(every), out / "results.png")


def results(runs: Mapping[str, Run]) -> str:
    """The text of `results.md`: of each topic what it was measured on, and its table."""
    found = ["# Benchmarks\n"]
    for topic, each in runs.items():
        on = ", ".join(f"{name}: {value}" for name, value in each.on.items() if value is not None)
        found += [f"## {topic}\n", f"Measured by `python -m benchmarks --only {topic}` on: {on}.\n"]
        found.append(measurement.table(each.measurements))
    return "\n".join(found)


def read(out: Path) -> dict[str, Run]:
    """Topic -> its last run, as `write` wrote them; empty if there is no such file."""
    if not (out / RESULTS).exists():
        return {}
    told = json.loads((out / RESULTS).read_text(encoding="utf-8"))
    return {
        topic: Run(
            each["on"],
            [
                Measurement(**{key: value for key, value in line.items() if key != "met"})
                for line in each["measurements"]
            ],
        )
        for topic, each in told.items()
    }


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    import torch
    import transformers

    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "instructions": "bf16"
        if precision.resolve("auto") == "bf16"
        else "AVX2 or AVX-512 without bf16",
        "held to": os.environ.get("ONEDNN_MAX_CPU_ISA"),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    process.run(main)
