"""Measures speed and memory beside plain reference implementations, all in one run.

    python -m benchmarks                       # some twenty minutes on two cores, which it wants for itself
    python -m benchmarks --only extraction     # one topic
    python -m benchmarks --only gpu            # on a machine with a GPU
    python -m benchmarks --short --out /tmp/b  # every line of it once, on a handful of samples: no figures

Writes `results.json`, `results.md` (the table) and `results.png` to `benchmarks/`, or to the folder that
`--out` names. Weights are random where no real ones are at hand: speed does not depend on them.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the topics, each in a process of its own, and writes the three files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=str(__doc__).split("\n")[0]
    )
    parser.add_argument("--only", nargs="+", choices=list(TOPICS), default=USUAL)
    parser.add_argument("--short", action="store_true", help="see that it works; no figures")
    parser.add_argument("--out", type=Path, help="folder of the results")
    args = parser.parse_args(arguments)
    if args.out is None and (args.short or args.only != USUAL):
        # The committed results hold all topics of one full run.
        args.out = Path(tempfile.mkdtemp(prefix="benchmarks-"))
    process.one_thread()  # as stages have it; the references take all threads
    measurements: list[Measurement] = []
    for topic in args.only:
        print(f"{topic} ...", file=sys.stderr, flush=True)
        start = time.monotonic()
        measurements += run(TOPICS[topic], short=args.short)
        print(f"{topic}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    write(measurements, args.out or OUT)
    print(measurement.table(measurements))
    print(f"written to {args.out or OUT}")


def run(module: str, *, short: bool) -> list[Measurement]:
    """Runs one topic in a fresh process: neither its threads nor its memory meet the next one's."""
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as work,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        return pool.submit(measurement.of, module, Path(work), short).result()


def write(measurements: Sequence[Measurement], out: Path) -> None:
    """Writes the three files to `out`."""
    lines = [{**asdict(each), "met": each.met} for each in measurements]
    write_json(out / "results.json", {"machine": machine(), "measurements": lines})
    write_text(out / "results.md", results(out / "results.json"))
    plots.save(measurement.figure(measurements), out / "results.png")


def results(path: Path) -> str:
    """The text of `results.md`: what a `results.json` was measured on, and its table."""
    on = json.loads(path.read_text(encoding="utf-8"))["machine"]
    told = ", ".join(f"{name}: {value}" for name, value in on.items() if value is not None)
    head = f"# Benchmarks\n\nMeasured by `python -m benchmarks` on: {told}.\n\n"
    return head + measurement.table(read(path))


def read(path: Path) -> list[Measurement]:
    """The measurements of a `results.json`."""
    lines = json.loads(path.read_text(encoding="utf-8"))["measurements"]
    return [
        Measurement(**{key: value for key, value in line.items() if key != "met"}) for line in lines
    ]


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    import torch
    import transformers

    return {
        "processor": _processor(),
        "instructions": "bf16"
        if precision.resolve("auto") == "bf16"
        else "AVX2 or AVX-512 without bf16",
        "held to": os.environ.get("ONEDNN_MAX_CPU_ISA"),
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
