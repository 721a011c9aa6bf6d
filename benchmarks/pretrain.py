"""Masked pre-training: clips a second against the limit, what masking saves, and what is learned. Prints one JSON object.

    python benchmarks/pretrain.py [--sizes tiny small base] [--batch 8] [--repeats 5] [--device cpu|cuda] [--threads N]
                                  [--steps 400] [--seeds 2] [--quick]

Protocol.
`speed`: per size of `nightreel pretrain`, whole training steps (forward, backward, clipping, AdamW) of random clips at 0.9
hidden, and the encoder alone, forward and backward, with 0.9, 0.95 and nothing hidden; the median of `--repeats` after one for
warm-up. On a CPU seconds are the processor's by thread, so that whatever else runs there counts little. Operations are counted
on the eager network (`FlopCounterMode`: products only). The limit is the machine's own matrix product of 2048 x 2048 (CUDA:
8192) in the same precision, measured in the same process. `encoder_speed_up` is the time of the encoder with all tokens over
that with the visible ones; `step_speed_up` that of a whole step (Tong et al. 2022: 3.2), the decoder at all tokens in both.
`footage`: clips of 16 x 224 px that are gathered from a cache on disk (in the page cache), a second.
`learning`: 48 films of two discs that move over a shaded ground, 64 px, some held out by source; the whole of `pretrain` with
a network of 1.1 M parameters. Loss of hidden patches on held-out clips before and after, and if every hidden patch were of one
colour; per seed, as held-out films differ. `copied`: the loss of guessing, for each hidden patch, the nearest visible one of
its own frame.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _material import about, say
from torch import Tensor

PX = 64


# --- speed ------------------------------------------------------------------------------------------------------


def timed(run: Callable[[], Any], repeats: int, device: str) -> float:
    """Median seconds, after one run for warm-up; on a CPU the processor's, a thread."""
    clock, share = (time.process_time, torch.get_num_threads()) if device == "cpu" else (time.perf_counter, 1)
    times_s = []
    for _ in range(repeats + 1):
        began = clock()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        times_s.append((clock() - began) / share)
    return statistics.median(times_s[1:])


def product_rate(device: str) -> float:
    """Operations a second of a matrix product, in the precision of training."""
    kind = torch.float32 if device == "cpu" else torch.bfloat16
    size = 2048 if device == "cpu" else 8192
    a = torch.randn(size, size, device=device, dtype=kind)
    return 2 * size**3 / timed(lambda: a @ a, 5, device)


def counted(config: Any, mask: float | None, decoder: bool) -> int:
    """Operations of one clip, forward and backward."""
    from nightreel.finetune.pretraining.batch import grid_of
    from nightreel.finetune.pretraining.tubes import tube_masks
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import VideoMAEForPreTraining

    config = type(config)(**{**config.to_dict(), "attn_implementation": "eager"})
    model = VideoMAEForPreTraining(config)
    model.config._attn_implementation = "eager"
    times, places = grid_of(config)
    pixels = torch.randn(1, config.num_frames, 3, config.image_size, config.image_size)
    masks = torch.from_numpy(tube_masks(1, times, places, mask, [0])) if mask else None
    with FlopCounterMode(display=False) as counter:
        if decoder:
            model(pixels, bool_masked_pos=masks).loss.backward()
        else:
            model.videomae(pixels, bool_masked_pos=masks).last_hidden_state.sum().backward()
    return int(counter.get_total_flops())


def speed(asked: argparse.Namespace, size: str) -> dict[str, Any]:
    from nightreel.extract.encoders.device import autocast
    from nightreel.finetune.pretraining.batch import Batch, Plan, grid_of
    from nightreel.finetune.pretraining.loop import optimizer_of, precision
    from nightreel.finetune.pretraining.model import new_start
    from nightreel.finetune.pretraining.tubes import tube_masks

    start = new_start(size, 0)
    model, device = start.model.to(asked.device).train(), asked.device
    grid, plan = grid_of(model.config), Plan(batch=asked.batch)
    clips = torch.randint(0, 256, (asked.batch, 16, 224, 224, 3), dtype=torch.uint8)
    optimizer = optimizer_of(model, plan, device)

    def batch(mask: float) -> Batch:
        return Batch(clips, None, None, torch.from_numpy(tube_masks(asked.batch, *grid, mask, [1])))

    def step() -> None:
        part = batch(0.9)
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, precision(device)):
            loss = model(part.pixels(start.preprocessing, device), bool_masked_pos=part.masks.to(device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    pixels = batch(0.9).pixels(start.preprocessing, device)

    def encoder(masks: Tensor | None) -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, precision(device)):
            model.videomae(pixels, bool_masked_pos=masks).last_hidden_state.float().sum().backward()

    masks = {mask: batch(mask).masks.to(device) for mask in (0.9, 0.95)}

    def unmasked_step() -> None:
        """The decoder's work is that of all tokens either way; here the encoder's is too."""
        optimizer.zero_grad(set_to_none=True)
        with autocast(device, precision(device)):
            tokens = model.encoder_to_decoder(model.videomae(pixels).last_hidden_state)
            model.decoder(tokens, tokens.shape[1]).logits.float().square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    whole_s = timed(lambda: encoder(None), asked.repeats, device)
    seen_s = {mask: timed(lambda of=of: encoder(of), asked.repeats, device) for mask, of in masks.items()}  # type: ignore[misc]
    step_s = timed(step, asked.repeats, device)
    unmasked_s = timed(unmasked_step, asked.repeats, device)
    flops, rate = counted(model.config, 0.9, True), product_rate(device)
    all_flops = counted(model.config, None, False)
    return {
        "size": size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "gflops_a_clip": {
            "step": round(flops / 1e9, 1),
            "encoder": {str(mask): round(counted(model.config, mask, False) / 1e9, 1) for mask in masks},
            "encoder_all_tokens": round(all_flops / 1e9, 1),
        },
        "clips_per_s": round(asked.batch / step_s, 2),
        "limit_clips_per_s": round(rate / flops, 2),
        "share_of_limit": round(asked.batch / step_s * flops / rate, 3),
        "encoder_s": {"all": round(whole_s, 4), **{str(mask): round(took, 4) for mask, took in seen_s.items()}},
        "encoder_speed_up": {str(mask): round(whole_s / took, 2) for mask, took in seen_s.items()},
        "step_speed_up": round(unmasked_s / step_s, 2),
        "encoder_speed_up_by_count": {str(m): round(all_flops / counted(model.config, m, False), 2) for m in masks},
        "product_gflops_per_s": round(rate / 1e9, 1),
    }


def footage(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Gathering clips from a cache, as a step does it."""
    from nightreel.finetune.pretraining.footage import Footage

    films, length = (4, 32) if asked.quick else (40, 100)
    path = folder / "pictures.u8"
    shape = (films * length, 224, 224, 3)
    np.memmap(path, np.uint8, "w+", shape=shape)[:] = 7
    rows = tuple(np.arange(length) + film * length for film in range(films))
    cache = Footage(np.memmap(path, np.uint8, "r", shape=shape), 16, tuple(map(str, range(films))), rows, 0, {})
    windows = cache.windows(range(films))
    draw = np.random.default_rng(0)
    took_s = timed(lambda: cache.clips(windows[draw.integers(len(windows), size=asked.batch)]), asked.repeats, "cpu")
    return {
        "bytes_a_clip": 16 * 224 * 224 * 3,
        "clips_per_s": round(asked.batch / took_s, 1),
        "cache_gb": cache.pictures.nbytes / 1e9,
    }


# --- learning ---------------------------------------------------------------------------------------------------


def film(seed: int, frames: int = 60) -> np.ndarray:
    """(T, 64, 64, 3) uint8: two discs on straight ways over a ground that grows lighter in one direction."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:PX, :PX]
    angle = draw.uniform(0, 2 * np.pi)
    across = ((x - 31.5) * np.cos(angle) + (y - 31.5) * np.sin(angle)) / 45
    out = np.repeat((128 + across[..., None] * draw.uniform(60, 110, 3))[None], frames, axis=0)
    for _ in range(2):
        place, way = draw.uniform(12, 52, 2), draw.uniform(-1.5, 1.5, 2)
        colour, radius = draw.uniform(0, 255, 3), draw.uniform(6, 12)
        for t in range(frames):
            # There and back between the borders.
            at = np.abs((place + way * t) % (2 * PX) - PX)
            out[t][(y - at[0]) ** 2 + (x - at[1]) ** 2 < radius**2] = colour
    return out.clip(0, 255).astype(np.uint8)


def small_model(folder: Path) -> None:
    from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEImageProcessor

    torch.manual_seed(0)
    sizes = {"image_size": PX, "patch_size": 8, "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 512, "decoder_hidden_size": 96, "decoder_num_hidden_layers": 2}
    sizes |= {"decoder_num_attention_heads": 3, "decoder_intermediate_size": 384}
    VideoMAEForPreTraining(VideoMAEConfig(**sizes, use_mean_pooling=False)).save_pretrained(folder)
    VideoMAEImageProcessor(size={"shortest_edge": PX}, crop_size={"height": PX, "width": PX}).save_pretrained(folder)


def copied_loss(films: list[np.ndarray], mask: float) -> float:
    """The loss of the nearest visible patch's own normalised pixels, of whole films' first clips."""
    from nightreel.finetune.pretraining.tubes import normalised, patches_of, tube_masks

    found = []
    for number, frames in enumerate(films):
        clip = torch.from_numpy(frames[:16]).permute(0, 3, 1, 2)[None].double() / 255
        targets = normalised(patches_of(clip, 2, 8))[0][0].reshape(8, 64, -1)  # (times, places, P * C)
        hidden = tube_masks(1, 1, 64, mask, [number])[0]
        place = np.stack(np.divmod(np.arange(64), 8), axis=1)
        apart = ((place[:, None] - place[None]) ** 2).sum(axis=2)
        nearest = np.where(hidden[None], 10**6, apart).argmin(axis=1)
        found.append(float((targets[:, nearest[hidden]] - targets[:, hidden]).square().mean()))
    return float(np.mean(found))


def learning(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from nightreel.demo.films import write_video
    from nightreel.extract.run import extract
    from nightreel.finetune.pretraining.batch import Plan
    from nightreel.finetune.pretraining.pretrain import Wish, pretrain

    films = {f"{number:02}.mp4": film(number) for number in range(8 if asked.quick else 48)}
    for name, frames in films.items():
        (folder / "films").mkdir(exist_ok=True)
        write_video(folder / "films" / name, iter(frames), 10)
    extract([str(folder / "films")], folder / "a.reel", ["toy"])
    small_model(folder / "model")
    rows = []
    for seed in range(asked.seeds):
        say(f"learning, seed {seed} ...")
        plan = Plan(steps=asked.steps, batch=16, lr=1e-2, every=max(1, asked.steps // 10), seed=seed)
        wish = Wish(str(folder / "model"), None, folder / f"out{seed}", 0.1, 0.2, 1.0, None, asked.device, plan)
        done = pretrain(folder / "a.reel", wish)
        lines = (folder / f"out{seed}" / "run" / "metrics.jsonl").read_text().splitlines()
        curve = [(row["step"], round(row["held_out"], 4)) for row in map(json.loads, lines) if "held_out" in row]
        keys = ("videos", "clips", "held_out_loss", "better_clips", "kept", "wall_s")
        rows.append({"seed": seed, **{key: done[key] for key in keys}, "held_out": curve})
        if asked.keep:
            Path(asked.keep).mkdir(parents=True, exist_ok=True)
            for name in ("reconstruction.png", "curves.png"):
                Path(asked.keep, f"{seed}-{name}").write_bytes((folder / f"out{seed}" / "run" / name).read_bytes())
    return {"copied": round(copied_loss(list(films.values()), 0.9), 4), "steps": asked.steps, "seeds": rows}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", nargs="*", default=["tiny", "small", "base"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=2, help="runs of `learning`; 0 for none")
    parser.add_argument("--keep", help="a folder for the pictures of `learning`")
    parser.add_argument(
        "--quick", action="store_true", help="little of everything, to see that it runs; no measurement"
    )
    asked = parser.parse_args()
    if asked.quick:
        asked.sizes, asked.batch, asked.repeats, asked.steps, asked.seeds = ["tiny"], 2, 1, 20, 1
    torch.set_num_threads(asked.threads)
    told: dict[str, Any] = {**about("torch", "transformers"), "settings": vars(asked), "speed": []}
    for size in asked.sizes:
        say(f"speed, {size} ...")
        told["speed"].append(speed(asked, size))
        say(json.dumps(told["speed"][-1]))
    with tempfile.TemporaryDirectory() as folder:
        told["footage"] = footage(asked, Path(folder))
        if asked.seeds:
            told["learning"] = learning(asked, Path(folder))
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
