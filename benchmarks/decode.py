"""How right and how fast each decoding backend is, on real files. One JSON object on stdout.

    python benchmarks/decode.py [--data ../shared/data] [--repeat 3] [--fps 1]

Protocol: each (file, backend, task) runs `--repeat` times in this process, backends in turn, so that both
meet the same warm page cache and the same noise; the fastest run counts. Tasks: `all`, every frame decoded
and none converted; `sample`, every frame decoded and the first at or after each 1/fps second converted to
RGB. Correctness is counted against `awkward/expected.jsonl`. decord converts every frame, asked or not:
that is its interface.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nightreel.extract.decode.open import BACKENDS, open_video
from nightreel.extract.errors import VideoError

TOLERANCE_S = 2e-4  # expected.jsonl rounds to 0.1 ms


def decode_all(path: Path, backend: str, fps: float) -> int:
    with open_video(path, backend) as reader:
        return sum(1 for _ in reader.frames())


def sample(path: Path, backend: str, fps: float) -> int:
    taken = 0
    with open_video(path, backend) as reader:
        for frame in reader.frames():
            if frame.time_s >= taken / fps:
                frame.rgb()
                taken += 1
    return taken


TASKS: dict[str, Callable[[Path, str, float], int]] = {"all": decode_all, "sample": sample}


def fastest_s(task: str, path: Path, fps: float, repeat: int) -> dict[str, Any]:
    """By backend, the fewest seconds of `repeat` runs and the number of frames; None where it fails."""
    best: dict[str, Any] = dict.fromkeys(BACKENDS)
    for _ in range(repeat):
        for backend in BACKENDS:
            began = time.perf_counter()
            try:
                frames = TASKS[task](path, backend, fps)
            except VideoError:
                continue
            seconds = time.perf_counter() - began
            if best[backend] is None or seconds < best[backend]["s"]:
                best[backend] = {"s": round(seconds, 4), "frames": frames}
    return best


def verdict(row: dict[str, Any], folder: Path, backend: str) -> str | None:
    """What `backend` gets wrong on one awkward file, or None."""
    times_s: list[float] = []
    outcome, start_s, size = "ok", 0.0, (0, 0)
    try:
        with open_video(folder / row["file"], backend) as reader:
            start_s, size = reader.facts.start_s, (reader.facts.width_px, reader.facts.height_px)
            times_s.extend(frame.time_s for frame in reader.frames())
    except VideoError as error:
        outcome = error.kind
    if outcome != "ok" and times_s:
        outcome = "partial"
    if (outcome, len(times_s)) != (row["outcome"], row["frames"]):
        return f"{outcome}, {len(times_s)} frames; expected {row['outcome']}, {row['frames']}"
    if times_s and "first_pts_s" in row:
        ends_s = (times_s[0] + start_s, times_s[-1] + start_s)
        expected_s = (row["first_pts_s"], row["last_pts_s"])
        if any(abs(a - b) > TOLERANCE_S for a, b in zip(ends_s, expected_s, strict=True)):
            return f"times {ends_s}; expected {expected_s}"
        if size != (row["display_width"], row["display_height"]):
            return f"size {size}"
    return None


def total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds over the files that every backend could decode."""
    common = [row for row in rows if all(row[backend] for backend in BACKENDS)]
    sums = {backend: round(sum(row[backend]["s"] for row in common), 3) for backend in BACKENDS}
    return {"files": len(common), "seconds": sums}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    beside = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    parser.add_argument("--data", type=Path, default=beside)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--fps", type=float, default=1.0)
    asked = parser.parse_args()
    clips = sorted(p for p in (asked.data / "clips").glob("*") if p.suffix in (".mp4", ".avi"))
    awkward = asked.data / "awkward"
    expected = [json.loads(line) for line in (awkward / "expected.jsonl").read_text().splitlines()]
    good = [awkward / row["file"] for row in expected if row["outcome"] == "ok"]

    speed: dict[str, Any] = {}
    for folder, paths, repeat in (("clips", clips, asked.repeat), ("awkward", good, 1)):
        for task in TASKS:
            print(f"{folder}: {task}, {len(paths)} files", file=sys.stderr)
            rows = [{"file": p.name, **fastest_s(task, p, asked.fps, repeat)} for p in paths]
            speed[f"{folder}_{task}"] = total(rows) | ({"by_file": rows} if folder == "clips" else {})
    right: dict[str, Any] = {}
    for backend in BACKENDS:
        print(f"correctness: {backend}", file=sys.stderr)
        wrong = {row["file"]: verdict(row, awkward, backend) for row in expected}
        wrong = {name: words for name, words in wrong.items() if words}
        right[backend] = {"files": len(expected), "right": len(expected) - len(wrong), "wrong": wrong}
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    libraries = {name: version(name) for name in ("av", "decord2", "numpy")}
    settings = {"repeat": asked.repeat, "fps": asked.fps, "threads": {"pyav": "auto", "decord": 2}}
    json.dump(
        {"machine": machine, "libraries": libraries, "settings": settings, "correctness": right, "speed": speed},
        sys.stdout,
        indent=1,
    )
    print()


if __name__ == "__main__":
    main()
