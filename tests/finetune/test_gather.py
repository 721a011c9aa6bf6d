"""Two gloo processes: equal to open_clip's `ClipLoss(gather_with_grad=True)`, and to one process that has the whole batch."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from nightreel.finetune.training.gather import average_gradients, gather, joined, ranks, same_everywhere
from nightreel.finetune.training.loss import false_negatives, info_nce
from torch import Tensor
from torch.nn.functional import normalize

pytestmark = pytest.mark.usefixtures("one_thread")

# What both processes and the one with the whole batch have in common. `sizes` are the rows of each process.
COMMON = """
import importlib.util, sys, torch
from nightreel.finetune.training.gather import average_gradients, gather, ranks, same_everywhere
from nightreel.finetune.training.gradcache import backward_cached
from nightreel.finetune.training.loss import false_negatives, info_nce
from torch.nn.functional import normalize

torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
assert ranks() == (rank, 2)
data = torch.load(f"{folder}/data.pt")

def mine(name, sizes):
    return data[name].split(sizes)[rank]

def model():
    made = torch.nn.Linear(6, 4, dtype=torch.float64)
    made.scale = torch.nn.Parameter(torch.tensor(0.0, dtype=torch.float64))
    if rank == 0:  # the other has weights of its own until rank 0's come
        made.load_state_dict(data["model"])
    same_everywhere(made.parameters())
    return made

def saved(made, loss):
    return {"loss": loss.detach(), **{name: p.grad for name, p in made.named_parameters()}}

out = {}
"""
OURS_AND_THEIRS = """
# The module alone: the whole package takes seconds to import, in each process.
where = importlib.util.find_spec("open_clip").submodule_search_locations[0]
spec = importlib.util.spec_from_file_location("loss", f"{where}/loss.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

made = model()
video, text = (normalize(made(mine(side, [3, 3])), dim=1) for side in ("video", "text"))
loss = info_nce(gather(video), gather(text), made.scale.exp())
loss.backward()
average_gradients(made.parameters())
out["ours"] = saved(made, loss)

made = model()
video, text = (normalize(made(mine(side, [3, 3])), dim=1) for side in ("video", "text"))
loss = module.ClipLoss(gather_with_grad=True, rank=rank, world_size=2)(video, text, made.scale.exp())
loss.backward()
for parameter in made.parameters():
    torch.distributed.all_reduce(parameter.grad)
    parameter.grad /= 2
out["theirs"] = saved(made, loss)
"""
UNEVEN = """
made = model()
video, text = (normalize(made(mine(side, [4, 2])), dim=1) for side in ("video", "text"))
false = false_negatives(gather(mine("ids", [4, 2])), span_s=gather(mine("span_s", [4, 2])))
out["flags"] = gather(mine("ids", [4, 2]) > 1)
loss = info_nce(gather(video), gather(text), made.scale.exp(), false=false)
loss.backward()
average_gradients(made.parameters())
out["masked"] = saved(made, loss)

made = model()
rows = {side: mine(side, [4, 2]) for side in ("video", "text")}
def encode(some):
    return tuple(normalize(made(rows[side][some]), dim=1) for side in ("video", "text"))
loss = backward_cached(encode, list(range(len(rows["video"]))),
                       lambda v, t: info_nce(gather(v), gather(t), made.scale.exp(), false=false), chunk=1)
average_gradients(made.parameters())
out["cached"] = saved(made, loss)
"""


def whole_batch(data: dict[str, Any], false: Tensor | None) -> dict[str, Tensor]:
    """Loss and gradients of one process with everything."""
    made = torch.nn.Linear(6, 4, dtype=torch.float64)
    made.scale = torch.nn.Parameter(torch.tensor(0.0, dtype=torch.float64))
    made.load_state_dict(data["model"])
    video, text = (normalize(made(data[side]), dim=1) for side in ("video", "text"))
    loss = info_nce(video, text, made.scale.exp(), false=false)
    loss.backward()  # type: ignore[no-untyped-call]
    grads = {name: parameter.grad for name, parameter in made.named_parameters() if parameter.grad is not None}
    return {"loss": loss.detach(), **grads}


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)

    def made(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return {
        "video": made(6, 6),
        "text": made(6, 6),
        "ids": torch.tensor([0, 1, 2, 2, 2, 1]),
        "span_s": torch.tensor([[0.0, 9], [0, 9], [0, 9], [9, 12], [5, 10], [0, 2]]),
        "model": {"weight": made(4, 6), "bias": made(4), "scale": torch.tensor(1.5, dtype=torch.float64)},
    }


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> list[dict[str, Any]]:
    """What each of two processes saved."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save(data, folder / "data.pt")
    script = folder / "script.py"
    script.write_text(COMMON + OURS_AND_THEIRS + UNEVEN + 'torch.save(out, f"{folder}/out{rank}.pt")\n')
    started = [
        subprocess.Popen([sys.executable, str(script), str(rank), str(folder)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for process in started:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    return [torch.load(folder / f"out{rank}.pt") for rank in range(2)]


def same(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(got) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-10, atol=1e-12)


def test_two_processes_equal_open_clip_and_one_process(outs: list[dict[str, Any]], data: dict[str, Any]) -> None:
    expected = whole_batch(data, None)
    for out in outs:
        same(out["ours"], out["theirs"])
        same(out["ours"], expected)


def test_uneven_batches_masks_and_gradient_caching(outs: list[dict[str, Any]], data: dict[str, Any]) -> None:
    false = false_negatives(data["ids"], span_s=data["span_s"])
    # Pairs 2 and 4, 3 and 4, 1 and 5 overlap, 2 and 3 do not; all but 4 and 5 lie in the first process.
    assert false.nonzero().tolist() == [[1, 5], [2, 4], [3, 4], [4, 2], [4, 3], [5, 1]]
    expected = whole_batch(data, false)
    for out in outs:
        assert out["flags"].tolist() == [False, False, True, True, True, False]
        same(out["masked"], expected)
        same(out["cached"], expected)


def test_one_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    rows = torch.ones(2, 3, requires_grad=True)
    assert joined() == ranks() == (0, 1)
    assert gather(rows) is rows
    rows.sum().backward()
    average_gradients([rows])
    same_everywhere([rows])
    assert rows.grad is not None
    assert rows.grad.tolist() == rows.tolist() == [[1.0] * 3] * 2
