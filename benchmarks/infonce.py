"""Peak memory and time of one step at a large batch, with gradient caching and without. Prints one JSON object.

    python benchmarks/infonce.py [--batch 4096] [--chunks 64 256 1024] [--dim 512] [--frames 12] [--layers 4]
                                 [--threads N] [--device cpu|cuda] [--quick]

Protocol. A `transformer` head as `finetune --head transformer` makes it trains on made frame features (B, T, D) float32
against made texts with InfoNCE, false negatives masked, by AdamW. Each setting runs in a process of its own; memory is the
most that the process ever held (ru_maxrss; on CUDA what torch allocated at most) less what it held before the step, with
all data loaded. Time is one step after one of 16 pairs for warm-up.
`gradient_difference`: the largest difference of any parameter's gradient to that without caching, divided by the largest
gradient.

Limits by arithmetic, per setting. `least_bytes`: what has to be kept of `chunk` rows for the backward pass: every tensor
that autograd saves, once (torch's saved-tensor hooks, of two rows), the parameters' gradients, and the embeddings with theirs;
not the loss's own (B, B) tables. `flops`: products of matrices only, forward and backward, the extra forward pass included.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch
from _material import about, say
from torch import Tensor

WARM_UP = 16  # pairs: more would raise the peak that is measured against


def head_of(asked: argparse.Namespace) -> torch.nn.Module:
    from nightreel.extract.heads.networks import make_head

    torch.manual_seed(0)
    head = make_head("transformer", asked.dim, max_frames=asked.frames, layers=asked.layers)
    for parameter in head.parameters():  # its last projections begin at 0, and what is below them would get no gradient
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return head.to(asked.device)


def material(asked: argparse.Namespace, batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frames (B, T, D), mask (B, T), texts (B, D), false negatives (B, B)."""
    from nightreel.finetune.training.loss import false_negatives
    from torch.nn.functional import normalize

    torch.manual_seed(1)
    frames = normalize(torch.randn(batch, asked.frames, asked.dim, device=asked.device), dim=-1)
    mask = torch.arange(asked.frames, device=asked.device) < torch.randint(
        1, asked.frames + 1, (batch, 1), device=asked.device
    )
    text = normalize(torch.randn(batch, asked.dim, device=asked.device), dim=-1)
    return frames, mask, text, false_negatives(torch.arange(batch, device=asked.device) // 2)


def step(head: Any, data: tuple[Tensor, ...], chunk: int) -> float:
    """Forward and backward; the loss. `chunk` 0 keeps all activations."""
    from nightreel.finetune.training.gradcache import backward_cached
    from nightreel.finetune.training.loss import info_nce

    frames, mask, text, false = data

    def encode(rows: Any) -> tuple[Tensor]:
        part = slice(rows.start, rows.stop)
        return (head(frames[part], mask[part]),)

    def loss(video: Tensor) -> Tensor:
        return info_nce(video, text, head.factor, false=false)

    return float(backward_cached(encode, range(len(frames)), loss, chunk or len(frames)))


def peak_bytes(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def saved_bytes(asked: argparse.Namespace) -> int:
    """What autograd keeps for one row, parameters not counted."""
    head, rows, seen = head_of(asked), 2, {}
    own = {parameter.untyped_storage().data_ptr() for parameter in head.parameters()}
    frames, mask, _, _ = material(asked, rows)

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = head(frames, mask)
    assert out.requires_grad
    return sum(seen.values()) // rows


def limits(asked: argparse.Namespace, row_bytes: int, parameters: int) -> dict[str, int]:
    from torch.utils.flop_counter import FlopCounterMode

    head, rows = head_of(asked), 8
    frames, mask, _, _ = material(asked, rows)
    with FlopCounterMode(display=False) as counter:
        head(frames, mask).sum().backward()
    both = counter.get_total_flops() // rows * asked.batch
    kept = min(asked.chunk or asked.batch, asked.batch)
    cached = kept < asked.batch
    return {
        "least_bytes": kept * row_bytes + 4 * parameters + 2 * 4 * asked.batch * asked.dim,
        "flops": both + cached * both // 3 + 6 * asked.batch**2 * asked.dim,
    }


def one(asked: argparse.Namespace) -> dict[str, Any]:
    """One setting, in this process."""
    torch.set_num_threads(asked.threads)
    head = head_of(asked)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-4)
    data = material(asked, asked.batch)
    few = slice(min(asked.batch, WARM_UP))
    step(head, (data[0][few], data[1][few], data[2][few], data[3][few, few]), WARM_UP // 2)
    optimizer.zero_grad()
    before = peak_bytes(asked.device)
    began = time.perf_counter()
    loss = step(head, data, asked.chunk)
    if asked.device == "cuda":
        torch.cuda.synchronize()
    took_s = time.perf_counter() - began
    gradients = torch.cat([p.grad.flatten() for p in head.parameters() if p.grad is not None])
    optimizer.step()
    torch.save(gradients.cpu(), asked.gradients)
    parameters = sum(p.numel() for p in head.parameters())
    found = limits(asked, saved_bytes(asked), parameters)
    return {
        "chunk": asked.chunk or None,
        "loss": loss,
        "peak_bytes": peak_bytes(asked.device) - before,
        "step_s": round(took_s, 2),
        "pairs_per_s": round(asked.batch / took_s, 1),
        "gflops_per_s": round(found["flops"] / took_s / 1e9, 1),
        **found,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--chunks", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--quick", action="store_true", help="a small batch and head, to see that it runs; no measurement"
    )
    parser.add_argument("--chunk", type=int, help="this setting alone, in this process")
    parser.add_argument("--gradients", help="where that goes")
    asked = parser.parse_args()
    if asked.quick:
        asked.batch, asked.chunks, asked.dim, asked.layers = 96, [16, 40], 64, 1
    if asked.chunk is not None:
        print(json.dumps(one(asked)))
        return
    print(json.dumps({**about("torch"), "settings": vars(asked), "rows": rows(asked)}, indent=2))


def rows(asked: argparse.Namespace) -> list[dict[str, Any]]:
    import tempfile
    from pathlib import Path

    out, plain = [], None
    names = ("batch", "dim", "frames", "layers", "threads", "device")
    options = [word for name in names for word in (f"--{name}", str(getattr(asked, name)))]
    with tempfile.TemporaryDirectory() as folder:
        for chunk in [0, *asked.chunks]:
            say(f"chunk {chunk or 'none'} ...")
            path = Path(folder, f"{chunk}.pt")
            command = [sys.executable, __file__, *options, "--chunk", str(chunk), "--gradients", str(path)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:  # the system ends a process that wants more memory than there is
                told = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
                out.append({"chunk": chunk or None, "failed": told[-1]})
                continue
            row = json.loads(done.stdout)
            gradients = torch.load(path)
            plain = gradients if plain is None else plain
            row["gradient_difference"] = float((gradients - plain).abs().max() / plain.abs().max())
            out.append(row)
            say(json.dumps(row))
    return out


if __name__ == "__main__":
    main()
