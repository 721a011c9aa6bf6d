"""Text to video over the 17 real clips, and grounding in concatenations of 8 of them; all through the command line.

    python benchmarks/clips_retrieval.py [--encoder conse] [--data ../shared/data] [--keep FOLDER]

Protocol: each clip has one caption (`captions.jsonl`). Retrieval: `search CAPTION --by video --top 17`, the rank of
the caption's own clip; a clip that is not in the list ranks last. Grounding: `FILMS` films, each of 8 clips drawn with
a fixed seed and joined by decoding and encoding again at 480 x 360 and 5 frames a second (no clip longer than 30 s);
for each of its 8 captions `ground CAPTION --video FILM`, IoU of the first moment with the clip's span.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from nightreel.demo.films import HEIGHT_PX, WIDTH_PX, write_video
from nightreel.extract.decode.open import open_video
from nightreel.search.moment import Moment, iou

FILMS, CLIPS_PER_FILM, LONGEST_S = 6, 8, 30.0
FPS = 5  # of the joined films: features are taken once a second


def nightreel(*words: str) -> dict[str, Any]:
    """Run the command line; its JSON. Exit 3 (some videos failed) would be a fault here."""
    done = subprocess.run(
        [sys.executable, "-m", "nightreel.cli", *words, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"nightreel {' '.join(words)} exited {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)


def frames_of(path: Path) -> Iterator[np.ndarray]:
    """A clip at `FPS`, letterboxed into the film's size: the frame shown at each time."""
    from PIL import Image

    def fitted(rgb: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(rgb)
        picture.thumbnail((WIDTH_PX, HEIGHT_PX))
        canvas = Image.new("RGB", (WIDTH_PX, HEIGHT_PX))
        canvas.paste(picture, ((WIDTH_PX - picture.width) // 2, (HEIGHT_PX - picture.height) // 2))
        return np.asarray(canvas)

    with open_video(path) as reader:
        number, shown = 0, None
        for frame in reader.frames():
            while shown is not None and number / FPS < min(frame.time_s, LONGEST_S):
                yield fitted(shown.rgb())
                number += 1
            shown = frame
            if frame.time_s >= LONGEST_S:
                return


def make_film(path: Path, clips: list[Path]) -> list[tuple[float, float]]:
    """Join clips into one film; the span of each."""
    counts: list[int] = []

    def joined() -> Iterator[np.ndarray]:
        for clip in clips:
            counts.append(0)
            for pixels in frames_of(clip):
                counts[-1] += 1
                yield pixels

    write_video(path, joined(), FPS)
    ends = np.cumsum(counts) / FPS
    return list(zip([0.0, *ends[:-1].tolist()], ends.tolist(), strict=True))


def retrieval(archive: str, captions: list[dict[str, str]]) -> dict[str, Any]:
    """R@1, R@5 and median rank of each caption's own clip."""
    from nightreel import Archive

    # One process for all queries; the command line would load the encoder again for each.
    opened = Archive(archive)
    ranks = {}
    for row in captions:
        names = [Path(hit.path).name for hit in opened.search(row["caption"], by="video", top=len(captions))]
        ranks[row["video"]] = names.index(row["video"]) + 1 if row["video"] in names else len(captions)
    first = captions[0]
    told = nightreel("search", archive, first["caption"], "--by", "video", "--top", "17")
    shown = [Path(hit["path"]).name for hit in told["results"]].index(first["video"]) + 1
    assert shown == ranks[first["video"]], "the command line and Python must rank alike"
    values = np.array(list(ranks.values()))
    return {
        "queries": len(values),
        "R@1": round(float(np.mean(values <= 1)), 4),
        "R@5": round(float(np.mean(values <= 5)), 4),
        "MdR": float(np.median(values)),
        "ranks": ranks,
    }


def grounding(folder: Path, encoder: str, captions: list[dict[str, str]], clips: Path) -> dict[str, Any]:
    """Share of queries whose first moment has IoU >= 0.5 with the truth, and the mean IoU."""
    from nightreel import Archive

    draw = random.Random(0)
    truths: dict[str, list[tuple[float, float]]] = {}
    chosen: dict[str, list[dict[str, str]]] = {}
    for number in range(FILMS):
        name = f"film_{number}.mp4"
        chosen[name] = draw.sample(captions, CLIPS_PER_FILM)
        (folder / "films").mkdir(exist_ok=True)
        truths[name] = make_film(folder / "films" / name, [clips / row["video"] for row in chosen[name]])
    archive = folder / "films.reel"
    nightreel("extract", str(folder / "films"), "--archive", str(archive), "--encoder", encoder)
    nightreel("index", str(archive))
    opened = Archive(archive)
    overlaps, misses = [], []
    for name, rows in chosen.items():
        for row, (start, end) in zip(rows, truths[name], strict=True):
            best = opened.ground(name, row["caption"], top=1).moments[0]
            overlaps.append(iou(Moment(best.start_s, best.end_s, 0), Moment(start, end, 0)))
            if overlaps[-1] < 0.5:
                misses.append(
                    f"{name} {row['video']} truth {start:.0f}-{end:.0f} got {best.start_s:.0f}-{best.end_s:.0f}"
                )
    values = np.array(overlaps)
    return {
        "films": FILMS,
        "film_s": [round(t[-1][1], 1) for t in truths.values()],
        "queries": len(values),
        "IoU>=0.5": round(float(np.mean(values >= 0.5)), 4),
        "IoU>=0.7": round(float(np.mean(values >= 0.7)), 4),
        "mIoU": round(float(values.mean()), 4),
        "misses": misses,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="conse")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--keep", type=Path, help="leave films and archives here")
    options = parser.parse_args()
    clips = options.data / "clips"
    if not clips.is_dir():
        raise SystemExit(f"no clips at {clips}; give the measuring data with --data")
    captions = [json.loads(line) for line in (clips / "captions.jsonl").read_text().splitlines()]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        report = nightreel("extract", str(clips), "--archive", str(folder / "a"), "--encoder", options.encoder)
        built = nightreel("index", str(folder / "a"))
        result = {
            "benchmark": "clips_retrieval",
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
            "encoder": options.encoder,
            "extract": {key: report[key] for key in ("videos", "video_s", "wall_s", "stages", "segments")},
            "index": {key: built[key] for key in ("vectors", "latency_ms_p50")},
            "retrieval": retrieval(str(folder / "a"), captions),
            "grounding": grounding(folder, options.encoder, captions, clips),
        }
        result["wall_s"] = round(time.perf_counter() - began, 1)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
