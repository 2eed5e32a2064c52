"""Tests of AdamW without torch's compiler."""

import subprocess
import sys

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from sentifuse.training.optimizer import AdamW


def steps(kind: type[torch.optim.AdamW], *, restored: bool) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)), torch.randn(16, 5)
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters()}]

    def make() -> torch.optim.AdamW:
        return kind(groups, lr=0.01, weight_decay=0.3, fused=True)

    optimizer = make()
    rates = LambdaLR(optimizer, lambda step: 1 / (1 + step))
    for step in range(6):
        if step == 3 and restored:
            state = optimizer.state_dict()
            optimizer = make()
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
        if not restored:
            rates.step()
    return list(model.parameters())


def test_its_steps_are_those_of_torch_to_the_bit() -> None:
    for restored in (False, True):
        ours, theirs = (steps(kind, restored=restored) for kind in (AdamW, torch.optim.AdamW))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert ours[0].requires_grad


def test_training_does_not_import_the_compiler() -> None:
    script = "\n".join(
        [
            "import sys",
            "from tests.sentifuse.training.test_loop import Run",
            "from tests.synthetic import make_parts",
            "before = 'torch._dynamo' in sys.modules",
            "for schedule in ('plateau', 'cosine'):",
            "    Run(make_parts(), epochs=2, schedule=schedule)",
            "print(before, 'torch._dynamo' in sys.modules)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "False False\n"
