"""Where encoders and training run: on NVIDIA GPUs where there are some, else on the processor."""

from typing import Literal

from sentifuse.errors import UserError
from sentifuse.runtime.numerics import Numerics

Device = Literal["auto", "cpu", "cuda"]

# What each worker process takes: CUDA's context, the encoders (ViT-L/14 in float32: 1.7 GB), a batch.
_BYTES_PER_WORKER = 4 * 2**30


def kind() -> str:
    """`cuda` where there is a GPU that torch can use, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def choose(wanted: Device, numerics: Numerics) -> str:
    """What the key `device` means here: `cpu` or `cuda`.

    What is to be the same bytes everywhere is computed on the processor: `auto` takes a GPU with
    `numerics: native` only.

    Raises:
        UserError: `cuda` where there is no GPU, or where portable numerics are asked for.
    """
    if wanted == "cuda" and numerics == "portable":
        raise UserError(
            "device: cuda: no GPU gives the bytes that `numerics: portable` promises: set numerics=native, "
            "or device=auto"
        )
    if wanted == "cpu" or numerics == "portable":
        return "cpu"
    found = kind()
    if wanted == "cuda" and found == "cpu":
        raise UserError(
            "device: cuda: torch finds no GPU here: set device=auto, or install the build of torch for "
            "your GPU and its driver"
        )
    return found


def of_workers(kind: str, workers: int) -> list[str]:
    """The device of each worker process: every GPU in turn, as often as its free memory allows.

    On GPUs (`kind` is `cuda`) there may be fewer than `workers`.

    Raises:
        UserError: no GPU has room for one.
    """
    if kind == "cpu":
        return ["cpu"] * workers
    import torch

    free = [torch.cuda.mem_get_info(gpu)[0] for gpu in range(torch.cuda.device_count())]
    places = sorted(
        (turn, gpu) for gpu, room in enumerate(free) for turn in range(room // _BYTES_PER_WORKER)
    )
    if not places:
        raise UserError(
            f"GPU: {max(free, default=0) / 2**30:.1f} GiB are free, a worker takes "
            f"{_BYTES_PER_WORKER / 2**30:.0f}: end what uses it, or set CUDA_VISIBLE_DEVICES= to do without"
        )
    return [f"cuda:{gpu}" for _, gpu in places[:workers]]


def ready(wanted: Device, numerics: Numerics) -> str:
    """As `choose`, and this process is prepared to compute there."""
    device = choose(wanted, numerics)
    prepare(device)
    return device


def prepare(device: str) -> None:
    """Makes this process compute on `device` in the precision asked for, and the same every time.

    Of several GPUs it is the one that `cuda` then stands for.
    """
    if device == "cpu":
        return
    import torch

    # By default cuDNN rounds float32 to 10 bits, and takes whichever algorithm it likes.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    if ":" in device:
        torch.cuda.set_device(device)
