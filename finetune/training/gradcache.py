"""Gradients of a large batch in the memory of a small one: the embeddings' gradients are kept, the activations are not.

    loss = backward_cached(encode, rows, lambda video, text: info_nce(video, text, head.factor), chunk=256)
    optimizer.step()

Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (arXiv 2101.06983), 3.2: (1) all
chunks are encoded without gradient; (2) the loss and its gradient with respect to the embeddings; (3) each chunk is encoded
once more, and goes backward with its part of that. The sum is the gradient of the whole batch, exactly; adding up
the gradients of small batches (accumulation) is something else, because each would have few negatives.

It does not know what a loss is: one that gathers over processes works, as do several embeddings a row. It is no help with
losses that are not a function of embeddings alone, or networks whose rows know each other (batch norm): these see chunks.

Costs one more forward pass: a third more operations. Memory for activations is that of `chunk` rows in place of B: a
transformer head (4 layers, 12 frames of 512 numbers) at a batch of 4,096 took 9.0 GB without and 0.33 GB in chunks of 64, and
no more time on one core (87 s and 73 s). `benchmarks/infonce.py` measures it.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from ...extract.errors import UsageError

Encode = Callable[[Sequence[int]], tuple[Tensor, ...]]


def backward_cached(encode: Encode, rows: Sequence[int], loss: Callable[..., Tensor], chunk: int) -> Tensor:
    """Adds the gradients of `loss(*encode(rows))` to `.grad`, as `backward` would, `chunk` rows at a time.

    Args:
        encode: rows -> embeddings (B, ...), each with a gradient, row by row of its own. It is called twice for each chunk
            with the same random numbers, so that dropout and augmentation from torch's generators are the same in both.
        rows: B of them, at least one.    chunk: rows at a time, at least 1; it need not divide B.
        loss: of the embeddings of all rows; what it trains itself, such as a logit scale, gets its gradient too.

    Returns:
        The loss, without gradient.

    Raises:
        UsageError: no rows, or a chunk below 1.
    """
    if chunk < 1 or not len(rows):
        raise UsageError(f"gradient caching of {len(rows)} rows in chunks of {chunk}; expected at least 1 of each")
    chunks = [rows[low : low + chunk] for low in range(0, len(rows), chunk)]
    if len(chunks) == 1:
        value = loss(*encode(rows))
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()
    states, parts = [], []
    with torch.no_grad():
        for some in chunks:
            states.append(_random_state())
            parts.append(encode(some))
    leaves = [torch.cat(part).requires_grad_() for part in zip(*parts, strict=True)]
    del parts
    value = loss(*leaves)
    value.backward()  # type: ignore[no-untyped-call]
    gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
    if len(gradients) < len(leaves):
        raise UsageError(
            "gradient caching: the loss does not use all embeddings; leave those out that it does not need"
        )
    low = 0
    for some, state in zip(chunks, states, strict=True):
        with _replayed(state):
            embeddings = encode(some)
        torch.autograd.backward(embeddings, [g[low : low + len(some)] for g in gradients])
        low += len(some)
    return value.detach()


def _random_state() -> tuple[Tensor, Tensor | None]:
    """Of the CPU's generator, and the current CUDA device's where CUDA is in use."""
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.get_rng_state(), torch.cuda.get_rng_state() if cuda else None


class _replayed(AbstractContextManager[None]):
    """Random numbers from a state on; afterwards they go on as if nothing had been drawn."""

    def __init__(self, state: tuple[Tensor, Tensor | None]) -> None:
        self._state = state

    def __enter__(self) -> None:
        self._after = _random_state()
        _set(self._state)

    def __exit__(self, *_: object) -> None:
        _set(self._after)


def _set(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
