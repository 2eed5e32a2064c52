"""Tests of how often garbage is collected."""

import subprocess
import sys

# Counts the collections of a stage, and tells what the collector would not look at when the process ends.
_SCRIPT = """
import atexit, gc
from sentifuse.runtime import process

seen = []
atexit.register(lambda: print(len(seen), gc.get_freeze_count() > {objects}))

def main():
    gc.collect()
    gc.callbacks.append(lambda phase, info: seen.append(phase))
    global many
    many = [[] for _ in range({objects})]

process.run(main)
"""


def told(objects: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(objects=objects)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_stage_neither_collects_for_a_few_objects_nor_when_it_ends() -> None:
    assert told(20_000) == "0 True\n"


def test_garbage_that_piles_up_is_collected() -> None:
    collections, _ = told(200_000).split()
    assert int(collections) >= 2
