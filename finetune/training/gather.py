"""Rows of all processes as one batch, with gradient. The identity where there is one process.

    video, text = gather(video), gather(text)          # (B, D) of each process -> (sum of B, D) in the order of the ranks
    info_nce(video, text, scale).backward()
    average_gradients(model.parameters())

Every process computes the loss of the whole batch, and its backward pass sends each row's gradient home, added up over the
processes; with W processes a parameter's gradient is W times its share, so that the mean over processes is the gradient of
the whole batch in one process. That is what open_clip's `ClipLoss(gather_with_grad=True)` does under
DistributedDataParallel, and the tests hold it to both. We differ in that processes may have batches of different sizes (the
end of an epoch): still exact.

It does not start processes (torchrun, accelerate), choose a backend (gloo and nccl both do) or split data.

Costs a process sends and receives, W processes with B rows: W B D numbers forward, as many backward, and one (W,) exchange
of sizes.
"""

import os
from collections.abc import Iterable

import torch
from torch import Tensor, distributed
from torch.nn.functional import pad


def ranks() -> tuple[int, int]:
    """(rank, how many processes); (0, 1) without a process group."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def joined() -> tuple[int, int]:
    """`ranks` of the group that the launcher's variables describe, which is joined if it was not; (0, 1) without a
    launcher.

    nccl where there is CUDA, else gloo; the process takes the device `LOCAL_RANK`.
    """
    if ranks()[1] == 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if cuda else "gloo")
    return ranks()


def gather(rows: Tensor) -> Tensor:
    """(B, ...) of each process -> all rows (sum of B, ...), in the order of the ranks, with gradient where rows have one.

    All processes must call it together. B may differ, what follows may not.
    """
    rank, world = ranks()
    if world == 1:
        return rows
    from torch.distributed.nn.functional import all_gather

    sizes = torch.zeros(world, dtype=torch.int64, device=rows.device)
    sizes[rank] = len(rows)
    distributed.all_reduce(sizes)
    counts = sizes.tolist()
    padded = pad(rows, (0, 0) * (rows.ndim - 1) + (0, max(counts) - len(rows)))
    # Booleans travel as bytes: gloo knows no others.
    parts = all_gather(padded.to(torch.uint8) if rows.dtype == torch.bool else padded)  # type: ignore[no-untyped-call]
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]).to(rows.dtype)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """`.grad` becomes the mean over all processes, as under DistributedDataParallel; in place.

    All processes must give the same parameters in the same order. A gradient that one of them lacks counts as 0. Needed
    because DistributedDataParallel cannot go with `backward_cached`: it would exchange gradients once a chunk.
    """
    world = ranks()[1]
    if world == 1:
        return
    for parameter in parameters:
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        distributed.all_reduce(parameter.grad)
        parameter.grad /= world


def same_everywhere(parameters: Iterable[Tensor]) -> None:
    """Every process takes the values of rank 0, in place: once, before training."""
    if ranks()[1] > 1:
        for parameter in parameters:
            distributed.broadcast(parameter.detach(), 0)
