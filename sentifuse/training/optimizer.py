"""AdamW without torch's compiler.

torch's optimizers import `torch._dynamo` to tell it that they are not to be compiled. Nothing is compiled
here, and the import takes longer than a run of stage 1 on small data.
"""

from inspect import unwrap

import torch


class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW` (Loshchilov and Hutter 2019, arXiv:1711.05101), its methods as they are beneath
    the wrappers that import the compiler."""

    add_param_group = unwrap(torch.optim.AdamW.add_param_group)
    load_state_dict = unwrap(torch.optim.AdamW.load_state_dict)
    state_dict = unwrap(torch.optim.AdamW.state_dict)
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
    zero_grad = unwrap(torch.optim.AdamW.zero_grad)
