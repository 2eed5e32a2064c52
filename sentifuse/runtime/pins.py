"""The libraries that results depend on: the versions that are pinned, against those that are at work.

`pins.yaml` stands beside `params.yaml`, and each stage lists in `dvc.yaml` the libraries that it imports. So
a changed pin re-runs the stages that use the library, and no other.
"""

import sys
from importlib import metadata
from pathlib import Path

from sentifuse.config import yaml_file

FILE = Path("pins.yaml")
# Distribution -> its top-level module, where the two have different names.
_MODULES = {
    "opencv-python-headless": "cv2", "pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn",
}  # fmt: skip


def module(distribution: str) -> str:
    """The name by which code imports `distribution`."""
    return _MODULES.get(distribution, distribution.replace("-", "_"))


def warn_if_other(path: Path = FILE) -> None:
    """Names on stderr the libraries that this process has used in another version than `path` pins."""
    if not path.exists():
        return
    other = [
        f"{name} {_installed(name)} (pinned: {version})"
        for name, version in yaml_file.read(path).items()
        if module(name) in sys.modules and _installed(name) != version
    ]
    if other:
        print(
            f"{path}: this stage ran with {', '.join(other)}: what it wrote may differ from what the lock "
            "stands for: `pip install -r requirements.txt -c constraints.txt`",
            file=sys.stderr,
        )


def _installed(distribution: str) -> str:
    """Its version without a build's own mark, as torch's `+cpu`; `unknown` where there is no record of it."""
    try:
        return metadata.version(distribution).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "unknown"
