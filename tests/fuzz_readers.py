"""Mutation fuzz of the image and text readers: no crash, no hang, no memory beyond a bound.

    python -m tests.fuzz_readers --cases 50000 --seed 1

Good files of every format are mutated (bits flipped, bytes overwritten with telling numbers, blocks
dropped, doubled, spliced from another file, ends cut off) and read. A reader either answers or raises its
own error. Cases run in child processes of some hundred, so that a crash is seen and its case is named.
"""

import argparse
import io
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sentifuse.data import images, text
from sentifuse.data.images import ImageError, ImageSpec
from sentifuse.data.text import TextError

MAX_PIXELS = 2_000_000
MAX_SECONDS = 5.0  # a case, on a busy machine
# MiB that the process may grow while it reads: some copies of an image of `MAX_PIXELS`.
MAX_GROWTH = 400
CASES_A_CHILD = 500
_SPEC = ImageSpec(resize=64, crop=56, mean=(0.5,) * 3, std=(0.5,) * 3)
_STATUS = Path("/proc/self/status")
_NUMBERS = (
    b"\0",
    b"\xff",
    b"\x7f\xff",
    b"\xff\xff",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
)


def images_of_every_format() -> list[bytes]:
    """Small files in the formats and modes that people have."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    colour = Image.fromarray(pixels).resize((120, 80))
    made = [
        (colour, "JPEG", {"quality": 60}),
        (colour, "JPEG", {"progressive": True, "optimize": True}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour.convert("L"), "JPEG", {}),
        (colour, "PNG", {}),
        (colour.convert("P"), "PNG", {}),
        (colour.convert("RGBA"), "PNG", {}),
        (Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80)), "PNG", {}),
        (colour.convert("1"), "PNG", {}),
        (colour, "WEBP", {"quality": 50}),
        (colour.convert("RGBA"), "WEBP", {"lossless": True}),
        (colour, "GIF", {"save_all": True, "append_images": [colour.rotate(90)]}),
        (colour, "BMP", {}),
        (colour, "TIFF", {"compression": "tiff_lzw"}),
        (colour, "TIFF", {"compression": "jpeg"}),
        (colour, "AVIF", {"quality": 40}),
    ]
    files = []
    for image, kind, options in made:
        out = io.BytesIO()
        image.save(out, kind, **options)
        files.append(out.getvalue())
    return files


def texts_of_every_encoding() -> list[bytes]:
    """Tweets as they come."""
    written = "RT @bob: déjà vu… 今天 很 开心 😀 http://t.co/x1 #Joy\r\n"
    encodings = ("utf-8", "utf-8-sig", "utf-16", "gb18030")
    return [
        *(written.encode(name) for name in encodings),
        "café “ok”".encode("cp1252"),
        b"@" * 5000,
    ]


def mutate(raw: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """`raw` with one to eight of the changes that the module names."""
    out = bytearray(raw)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        at = draw.randrange(len(out) + 1)
        length = draw.choice((1, 4, 16, 64, 512))
        change = draw.randrange(6)
        if change == 0 and at < len(out):
            out[at] ^= 1 << draw.randrange(8)
        elif change == 1:
            number = draw.choice(_NUMBERS)
            # Most of what matters stands in the header.
            at = min(at, draw.choice((at, 32, 256)))
            out[at : at + len(number)] = number
        elif change == 2:
            del out[at : at + length]
        elif change == 3:
            out[at:at] = out[at : at + length] * draw.choice((1, 2, 50))
        elif change == 4:
            other = draw.choice(others)
            start = draw.randrange(len(other))
            out[at : at + length] = other[start : start + length]
        else:
            del out[at:]
    return bytes(out)


def read_image(raw: bytes) -> str:
    """What became of it."""
    try:
        images.centre(images.decode(images.open_image(raw, MAX_PIXELS)), _SPEC)
    except ImageError as error:
        return f"image: {error.reason}"
    return "image: read"


def read_text(raw: bytes) -> str:
    """What became of it."""
    try:
        text.clean(text.read(raw))
    except TextError as error:
        text.clean(text.decode(raw))
        return f"text: {error.reason}"
    return "text: read"


def cases(seed: int, start: int, count: int) -> Iterator[tuple[int, Callable[[bytes], str], bytes]]:
    """Number, reader and input of the cases `start` to `start + count`: each by its own number alone."""
    files, texts = images_of_every_format(), texts_of_every_encoding()
    for number in range(start, start + count):
        draw = random.Random(f"{seed} {number}")
        reader, sources = (read_text, texts) if number % 4 == 0 else (read_image, files)
        yield number, reader, mutate(draw.choice(sources), sources, draw)


def run(seed: int, start: int, count: int) -> dict[str, Any]:
    """Runs cases in this process.

    Raises:
        AssertionError: one took too long, or the process grew too much.
    """
    found: Counter[str] = Counter()
    slowest = 0.0
    before = _peak()
    for number, reader, raw in cases(seed, start, count):
        print(number, file=sys.stderr)
        began = time.monotonic()
        found[reader(raw)] += 1
        took = time.monotonic() - began
        slowest = max(slowest, took)
        assert took < MAX_SECONDS, f"seed {seed}, case {number}: {took:.1f} s"
        assert _peak() - before < MAX_GROWTH, (
            f"seed {seed}, case {number}: {_peak() - before} MiB more"
        )
    return {"found": found, "slowest": slowest, "growth": _peak() - before}


def _peak() -> float:
    """The most memory that this process has had, in MiB."""
    # `getrusage` would count what the parent had when it forked, too.
    [line] = [each for each in _STATUS.read_text().splitlines() if each.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        print(json.dumps(run(arguments.seed, arguments.child, arguments.cases)))
        return
    total: Counter[str] = Counter()
    slowest = growth = 0.0
    for start in range(0, arguments.cases, CASES_A_CHILD):
        count = min(CASES_A_CHILD, arguments.cases - start)
        command = [sys.executable, "-m", "tests.fuzz_readers", "--child", str(start)]
        command += ["--cases", str(count), "--seed", str(arguments.seed)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1]
            sys.exit(
                f"seed {arguments.seed}: exit status {done.returncode} after or in case {last}"
            )
        result = json.loads(done.stdout)
        total.update(result["found"])
        slowest, growth = max(slowest, result["slowest"]), max(growth, result["growth"])
    for outcome, times in sorted(total.items()):
        print(f"{times:8} {outcome}")
    print(
        f"{total.total():8} cases; slowest {slowest:.2f} s; a child grew by {growth:.0f} MiB at most"
    )


if __name__ == "__main__":
    main()
