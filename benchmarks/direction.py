"""Which heads know which way a shape moves? Trains a small CLIP on films made here, from nothing. Prints one JSON object.

    python benchmarks/direction.py [--seeds 3] [--heads mean wti lstm transformer] [--stored-seeds 1] [--quick]

Films, captions and what is held out: `_direction_films.py`; towers and training: `_tiny_clip.py`. Combinations of colour,
shape and motion that were tested were never trained, nor were their reverses.

`end_to_end`    towers, adapter and head are trained from nothing with InfoNCE, by this script
`stored`        towers that saw only still pictures; H.264 films, `nightreel extract`, `nightreel finetune --train head` on the
                stored features with the captions of the trained combinations, by the commands; other films of those validate

Per head, on new films of held-out combinations, in percent with a 95 % interval (bootstrap over combinations and seeds):
`direction`     how often the film's own caption scores above the caption with the reverse motion; chance is 50
`R@1`           how often it scores above all other 47 or 95 captions
as filmed; with the frames `reversed` (where the reverse caption is right, and is what is counted); and `shuffled` (another
order for each film: 50 if only the order told the direction; more would be a leak).

`one_frame`: how often a small network that is told a shape's exact place and size in one frame, and the axis, tells the
direction: of any frame, and of the first (whose time then is known).

It does not say what heads do with camera footage. With --quick one seed, `mean` and `transformer`, end to end only.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _direction_films import ALL, Combination, draw_films, held_out
from _direction_measures import Hits, measured, one_frame, summary
from _direction_stored import stored
from _material import about, say
from _tiny_clip import (
    DIM,
    FILMS,
    FRAMES,
    HEAD_RATES,
    PICTURES_FIRST,
    SIZE_PX,
    Training,
    frame_features,
    make_towers,
    text_features,
    train,
)
from torch import Tensor

KINDS = ("mean", "wti", "lstm", "transformer")
PER_TEST = 20  # films of each held-out combination


def split(seed: int) -> tuple[list[Combination], list[Combination]]:
    """Combinations to train on, and those held out."""
    held = held_out(seed)
    return [c for c, out in zip(ALL, held, strict=True) if not out], [
        c for c, out in zip(ALL, held, strict=True) if out
    ]


def end_to_end(
    kinds: Sequence[str], seed: int, pictures: Training = PICTURES_FIRST, films: Training = FILMS
) -> tuple[dict[str, Hits], list[Combination], dict[str, float]]:
    """Hits per head, what the tested films show, and seconds. The first stage is the same for all heads and done once."""
    from nightreel.extract.heads.networks import make_head
    from nightreel.extract.heads.tuned import Adapter, Tuned

    trained, held = split(seed)
    clock = time.perf_counter()
    first = make_towers(seed, convolutions=True)
    train(first, Tuned(make_head("mean", DIM), Adapter(DIM)), (), pictures, seed)
    took = {"pictures": round(time.perf_counter() - clock, 1)}
    hits: dict[str, Any] = {}
    for kind in kinds:
        clock = time.perf_counter()
        towers = make_towers(seed, convolutions=True)
        towers.load_state_dict(first.state_dict())
        tuned = Tuned(make_head(kind, DIM, max_frames=FRAMES, layers=1), Adapter(DIM))
        train(towers, tuned, trained, replace(films, head=HEAD_RATES.get(kind, films.head)), seed)
        hits[kind] = tested(towers, tuned, held, seed)
        took[kind] = round(time.perf_counter() - clock, 1)
        say(f"seed {seed}, {kind}: {100 * hits[kind]['as filmed, direction'].mean():.1f} % in {took[kind]} s")
    return hits, held * PER_TEST, took


@torch.no_grad()
def tested(towers: Any, tuned: Any, held: Sequence[Combination], seed: int) -> dict[str, Hits]:
    """Of new films of the held-out combinations."""
    of = list(held) * PER_TEST
    frames = frame_features(towers, draw_films(of, FRAMES, SIZE_PX, np.random.default_rng((seed, 2))))

    def video(seen: Tensor) -> Tensor:
        return torch.as_tensor(tuned.video(seen, torch.ones(seen.shape[:2], dtype=torch.bool)))

    return measured(video, frames, tuned.text(text_features(towers, ALL)), of, seed)


def of_seeds(runs: Sequence[tuple[Mapping[str, dict[str, Hits]], Sequence[Combination]]]) -> dict[str, Any]:
    """Head -> its summary over seeds; heads of which `finetune` kept none are not there."""
    kinds = dict.fromkeys(kind for hits, _ in runs for kind in hits)
    return {
        kind: summary(*zip(*((hits[kind], of) for hits, of in runs if kind in hits), strict=True)) for kind in kinds
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--stored-seeds", type=int, default=1)
    parser.add_argument("--heads", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    pictures, films = PICTURES_FIRST, FILMS
    if asked.quick:
        asked.seeds, asked.stored_seeds, asked.heads = 1, 0, ("mean", "transformer")
        pictures, films = replace(pictures, steps=300), replace(films, steps=200)
    ends = [end_to_end(asked.heads, seed, pictures, films) for seed in range(asked.seeds)]
    kept = []
    for seed in range(asked.stored_seeds):
        with tempfile.TemporaryDirectory() as folder:
            kept.append(stored(Path(folder), asked.heads, seed))
            say(f"stored features, seed {seed}: {kept[-1]['took']}")
    print(
        json.dumps(
            {
                **about("torch", "open_clip_torch"),
                "settings": {"threads": asked.threads, "seeds": asked.seeds, "stored_seeds": asked.stored_seeds},
                "one_frame": one_frame(FRAMES, 0),
                "end_to_end": {
                    "heads": of_seeds([(h, of) for h, of, _ in ends]),
                    "seconds": [took for *_, took in ends],
                },
                "stored": {
                    "heads": of_seeds([(run["hits"], run["of"]) for run in kept]),
                    "seconds": [run["took"] for run in kept],
                    "finetune": [run["finetune"] for run in kept],
                },
            }
        )
    )


if __name__ == "__main__":
    main()
