"""RAFT trained here on moving textures, until its flow is right; then how fast a film moves, through the whole encoder.

    python benchmarks/flow.py [--steps 330] [--long 70] [--most 4] [--threads N] [--keep weights.safetensors]

Trained weights cannot be had offline, and untrained RAFT says nothing about motion; so this is what shows that the encoder's
numbers are right. Protocol: `raft_small` from torchvision's own first weights (seed 0) learns pairs of 128x128 px, textures
of random blobs moved by a random number of pixels, the same over the picture; the paper's loss (the sum of the absolute
errors of all updates, each weighted 0.8 less than the next), AdamW, OneCycle. It sees motions of up to 10 px first, which
are easier to find out, and of `--most` from 60 % of the steps on; three updates in each, in the last `--long` steps twelve,
as the encoder makes.

    end_point_error_px  over all pixels of 64 pairs with other seeds, motions of up to `--most` px both ways, 12 updates, before
                        and after; also of the eight photographs of the demo, which it never saw, and under bfloat16
                        autocast. `standing`: what answering "nothing moves" gets.
    motion_px           films of 768x432 px at 25 fps whose picture moves at a known speed, encoded as H.264, decoded, made
                        into clips, encoded by `raft:raft_small@` the weights from above; the mean of each film's clips.

What it does not show: things that move apart, blur, camera footage. Prints one JSON object.
"""

import argparse
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nightreel.demo.films import photographs, write_video
from nightreel.extract.clips import Clip, ClipMaker
from nightreel.extract.decode.open import open_video
from nightreel.extract.encoders import raft
from nightreel.extract.encoders.base import Clips
from nightreel.extract.encoders.spec import EncoderSpec
from nightreel.extract.run import available_cores
from safetensors.torch import save_file

SIDE_PX, BATCH, HELD_OUT = 128, 4, 64
RATE, FIRST_PX = 1e-3, 10.0
FILM_PX, FPS, SECONDS = (432, 768), 25, 2
SPEEDS = ((0, 0), (20, 0), (-40, 0), (0, 30), (45, -30))  # px of the film per second, to the right and down

Textures = Callable[[int, int, torch.Generator], torch.Tensor]


def blobs(count: int, side: int, random: torch.Generator) -> torch.Tensor:
    """(N, 3, side, side) in [-1, 1]: smooth noise of three scales."""
    total = torch.zeros(count, 3, side, side)
    for cell in (8, 16, 32):
        coarse = torch.randn(count, 3, side // cell + 2, side // cell + 2, generator=random)
        total += torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
    return (total / total.std(dim=(1, 2, 3), keepdim=True) / 2).clamp(-1, 1)


def photos(count: int, side: int, random: torch.Generator) -> torch.Tensor:
    """(N, 3, side, side) in [-1, 1]: places of the demo's photographs, one after the other."""
    found = list(photographs().values())
    places = []
    for i in range(count):
        photo = torch.tensor(found[i % len(found)]).permute(2, 0, 1).float() / 127.5 - 1
        top, left = (int(torch.randint(size - side, (1,), generator=random)) for size in photo.shape[1:])
        places.append(photo[:, top : top + side, left : left + side])
    return torch.stack(places)


def moved(
    textures: Textures, count: int, side: int, most_px: float, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two times (N, 3, side, side), and the flow (N, 2, side, side) from the first to the second, the same everywhere."""
    edge = math.ceil(most_px) + 2
    canvas = textures(count, side + 2 * edge, random)
    flow = (torch.rand(count, 2, 1, 1, generator=random) * 2 - 1) * most_px
    y, x = torch.meshgrid(torch.arange(side) + edge, torch.arange(side) + edge, indexing="ij")
    # What the first picture shows at x, the second shows at x + flow.
    places = torch.stack([x + flow[:, 0], y + flow[:, 1]], dim=-1) * 2 / (side + 2 * edge - 1) - 1
    first = torch.nn.functional.grid_sample(canvas, places, mode="bicubic", align_corners=True)
    second = canvas[:, :, edge:-edge, edge:-edge].contiguous()
    return first, second, flow.expand(-1, -1, side, side)


def end_point_error(found: torch.Tensor, truth: torch.Tensor) -> float:
    """(N, 2, H, W) twice -> pixels."""
    return float((found - truth).norm(dim=1).mean())


def train(
    network: Any,
    steps: int,
    long: int,
    most_px: float,
    *,
    first_px: float = FIRST_PX,
    side: int = SIDE_PX,
    batch: int = BATCH,
    updates: int = 3,
) -> None:
    """Train in place; the last `long` of the steps with 12 updates."""
    random = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps + 1, pct_start=0.1, cycle_momentum=False, anneal_strategy="linear"
    )
    network.train()
    for step in range(steps):
        reach_px = first_px + (most_px - first_px) * min(1.0, step / (0.6 * steps))
        first, second, truth = moved(blobs, batch, side, reach_px, random)
        found = network(first, second, num_flow_updates=raft.UPDATES if step >= steps - long else updates)
        weights = [0.8 ** (len(found) - 1 - i) for i in range(len(found))]
        loss = sum(weight * (flow - truth).abs().mean() for weight, flow in zip(weights, found, strict=True))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    network.eval()


def held_out(
    network: Any, textures: Textures, most_px: float, *, side: int = SIDE_PX, updates: int = raft.UPDATES
) -> float:
    """End-point error in pixels over pairs that training does not see."""
    first, second, truth = moved(textures, HELD_OUT, side, most_px, torch.Generator().manual_seed(99))
    with torch.inference_mode():
        parts = [
            raft.flow_of(network.eval(), first[i : i + 8], second[i : i + 8], updates) for i in range(0, HELD_OUT, 8)
        ]
    return end_point_error(torch.cat(parts), truth)


def standing(most_px: float) -> float:
    """End-point error of an answer that is 0 everywhere."""
    *_, truth = moved(blobs, HELD_OUT, SIDE_PX, most_px, torch.Generator().manual_seed(99))
    return end_point_error(torch.zeros_like(truth), truth)


def film(path: Path, right_px_s: float, down_px_s: float) -> None:
    """A still texture over which the camera moves, so that it goes `right_px_s` and `down_px_s`; held-out blobs."""
    from PIL import Image

    height, width = FILM_PX
    edge = 100
    canvas = blobs(1, width + 2 * edge, torch.Generator().manual_seed(7))[0, :, : height + 2 * edge]
    canvas = torch.nn.functional.interpolate(canvas[None], scale_factor=2, mode="bicubic")[
        0
    ]  # as coarse as in training
    picture = Image.fromarray(((canvas.clamp(-1, 1) + 1) * 127.5).byte().permute(1, 2, 0).numpy())

    def frames() -> Iterator[np.ndarray]:
        for i in range(FPS * SECONDS):
            left, top = edge - right_px_s * i / FPS, edge - down_px_s * i / FPS
            window = picture.transform(
                (width, height), Image.Transform.AFFINE, (1, 0, left, 0, 1, top), Image.Resampling.BICUBIC
            )
            yield np.asarray(window)

    write_video(path, frames(), FPS)


def clips_of(path: Path, encoder: raft.FlowNetwork) -> Clips:
    """Clips that follow one another, of pictures as a decoding process makes them."""
    plan = replace(encoder.plan, hop_s=encoder.plan.length_s)
    found: list[Clip] = []
    with open_video(path) as reader:
        maker = ClipMaker(plan, (reader.facts.height_px, reader.facts.width_px))
        for frame, _ in reader.samples([plan.grid]):
            found += maker.push(frame.time_s, frame.picture(encoder.geometry))
        found += maker.finish(reader.clock.last_s or 0.0)
    return Clips.of(found)


def speeds(weights: Path) -> list[dict[str, Any]]:
    """Known and found pixels per second of each film."""
    encoder = raft.load(raft.check(EncoderSpec("raft", "raft_small", str(weights))), "cpu")
    rows = []
    for right, down in SPEEDS:
        path = weights.with_name(f"{right}_{down}.mp4")
        film(path, right, down)
        found = encoder.encode_clips(clips_of(path, encoder)).columns["motion_px"]
        rows.append(
            {
                "moves_px_per_s": [right, down],
                "truth": round(math.hypot(right, down), 2),
                "motion_px": round(float(found.mean()), 2),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=440)
    parser.add_argument("--long", type=int, default=90)
    parser.add_argument("--most", type=float, default=4.0, help="pixels")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--keep", type=Path, help="write the weights here, too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = raft.build("raft_small")
    before = {"blobs": held_out(network, blobs, args.most), "photographs": held_out(network, photos, args.most)}
    began, busy = time.perf_counter(), time.process_time()
    train(network, args.steps, args.long, args.most)
    seconds = {"training_s": time.perf_counter() - began, "training_cpu_s": time.process_time() - busy}
    after = {"blobs": held_out(network, blobs, args.most), "photographs": held_out(network, photos, args.most)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        after["blobs, bfloat16"] = held_out(network, blobs, args.most)
    with tempfile.TemporaryDirectory() as folder:
        path = args.keep or Path(folder, "weights.safetensors")
        save_file(network.state_dict(), path)
        films = speeds(path)
    errors = {"standing": standing(args.most), "before": before, "after": after}
    result = {
        "benchmark": "flow",
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": available_cores(),
            "load": os.getloadavg(),
            "torch": torch.__version__,
        },
        "settings": {
            "steps": args.steps,
            "long": args.long,
            "most_px": args.most,
            "side_px": SIDE_PX,
            "batch": BATCH,
            "threads": args.threads,
        },
        **{name: round(value, 1) for name, value in seconds.items()},
        "end_point_error_px": errors,
        "motion_px": films,
    }
    print(json.dumps(json.loads(json.dumps(result), parse_float=lambda text: round(float(text), 3)), indent=2))


if __name__ == "__main__":
    main()
