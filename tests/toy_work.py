"""Work for a cluster that shows who did it, and how it fails."""

import os
import time
from pathlib import Path


class Toy:
    """Does what a task says: `sleep`, `raise`, `die`, `die once`, or nothing; answers with its node."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __call__(self, task: str) -> str:
        import ray

        if task == "raise":
            raise ZeroDivisionError("no such thing")
        if task == "sleep":
            time.sleep(0.2)
        if task == "die" or (task == "die once" and not self.marker.exists()):
            self.marker.touch()
            os._exit(9)
        return str(ray.get_runtime_context().get_node_id())
