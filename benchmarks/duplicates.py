"""Near-duplicates of the 17 real clips: which are found at which threshold, and what looking for them costs.

    python benchmarks/duplicates.py [--encoder SPEC]... [--stride S] [--data ../shared/data] [--keep FOLDER]

Protocol: the first `CLIP_S` of each clip, `WIDTH_PX` wide at `FPS`, is the original; `VERSIONS` of it are made by decoding
and encoding again, and compilations of `PART_S` out of four clips each. All go into one archive, `find_duplicates` is asked
at each threshold, and its answers are held against what was made:

    pairs        of videos with at least `LEAST_S` of the same footage; each has one right distance in time
    recall       share of pairs with an answer of that distance (within `CLOSE_S`)
    precision    share of answers that are of such a pair, at that distance
    same_clip    the same two, whatever the distance: footage that stands still has no right one

All of it was looked at while choosing the default threshold and the other numbers: nothing is held out. The first run on two
cores extracts for ten minutes. Cost: random unit vectors, one video per 200, of which every tenth is a noisy copy of another;
brute force, so its time does not depend on what is found.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from _material import about, say
from nightreel.extract.clips import ClipWish
from nightreel.extract.decode.open import open_video
from nightreel.extract.engine import Plan
from nightreel.extract.run import Settings, extract
from nightreel.extract.store import Store
from nightreel.index import duplicates
from nightreel.index.duplicates import LEAST_S, THRESHOLD, Footage, centred, find_duplicates, runs_in

CLIP_S, WIDTH_PX, FPS, PART_S = 12.0, 320, 12, 4.0
CLOSE_S = 1.0
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
ENCODERS = ("conse", "videomae:small@random")
SIZES = (10_000, 50_000)
DIM = 512

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class Part:
    """`[start_s, end_s)` of a film shows a clip from `source_s` on."""

    clip: str
    start_s: float
    end_s: float
    source_s: float


def frames_of(path: Path) -> list[Pixels]:
    """The first `CLIP_S` of a clip at `FPS`, the frame shown at each time, `WIDTH_PX` wide."""
    from PIL import Image

    frames: list[Pixels] = []
    with open_video(path) as reader:
        shown: Any = None
        for frame in reader.frames():
            while shown is not None and len(frames) / FPS < min(frame.time_s, CLIP_S):
                picture = Image.fromarray(shown.rgb())
                height = round(picture.height * WIDTH_PX / picture.width / 4) * 4
                frames.append(np.asarray(picture.resize((WIDTH_PX, height), Image.Resampling.BILINEAR)))
            shown = frame
            if frame.time_s >= CLIP_S:
                break
    return frames


def write(path: Path, frames: Sequence[Pixels], crf: int) -> None:
    """H.264 at `FPS`."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def half(frames: Sequence[Pixels]) -> list[Pixels]:
    from PIL import Image

    size = (WIDTH_PX // 2, frames[0].shape[0] // 2)
    return [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)) for frame in frames]


def bright(frames: Sequence[Pixels]) -> list[Pixels]:
    return [np.clip(0.85 * frame + 45, 0, 255).astype(np.uint8) for frame in frames]


def with_leader(frames: Sequence[Pixels]) -> list[Pixels]:
    """3 s of black, a second of fading in and out, 3 s of white."""
    fades = np.minimum(np.arange(len(frames)), np.arange(len(frames))[::-1]) / FPS
    faded = [(frame * min(1.0, part)).astype(np.uint8) for frame, part in zip(frames, fades, strict=True)]
    black, white = np.zeros_like(frames[0]), np.full_like(frames[0], 255)
    return [black] * (3 * FPS) + faded + [white] * (3 * FPS)


Change = Callable[[list[Pixels]], list[Pixels]]
# name -> what is done, crf, seconds taken from the start, seconds put before
VERSIONS: dict[str, tuple[Change, int, float, float]] = {
    "original": (lambda f: f, 18, 0, 0),
    "crf35": (lambda f: f, 35, 0, 0),
    "half": (half, 28, 0, 0),
    "shift": (lambda f: f[round(0.4 * FPS) :], 23, round(0.4 * FPS) / FPS, 0),
    "cut": (lambda f: f[len(f) // 4 : len(f) * 3 // 4], 23, -1, 0),
    "bright": (bright, 23, 0, 0),
    "leader": (with_leader, 23, 0, 3),
    "all": (lambda f: with_leader(bright(half(f[FPS // 2 :]))), 35, 0.5, 3),
}


def make_films(folder: Path, clips: Sequence[Path]) -> dict[str, list[Part]]:
    """Film name -> its parts; the files lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    truth: dict[str, list[Part]] = {}
    originals: dict[str, list[Pixels]] = {}
    for clip in clips:
        frames = frames_of(clip)
        originals[clip.stem] = frames
        for name, (change, crf, skipped_s, before_s) in VERSIONS.items():
            skipped = len(frames) // 4 if skipped_s < 0 else round(skipped_s * FPS)
            length = len(frames) // 4 * 3 - skipped if skipped_s < 0 else len(frames) - skipped
            film = f"{clip.stem}-{name}.mp4"
            write(folder / film, change(frames), crf)
            truth[film] = [Part(clip.stem, before_s, before_s + length / FPS, skipped / FPS)]
    names = list(originals)
    for k in range(0, len(names) - 3, 4):
        truth[f"compilation-{k}.mp4"], joined = _compilation({name: originals[name] for name in names[k : k + 4]})
        write(folder / f"compilation-{k}.mp4", joined, 23)
    return truth


def _compilation(originals: dict[str, list[Pixels]]) -> tuple[list[Part], list[Pixels]]:
    from PIL import Image

    parts, joined = [], []
    for name, frames in originals.items():
        first = len(frames) // 3
        taken = frames[first : first + round(PART_S * FPS)]
        parts.append(Part(name, len(joined) / FPS, (len(joined) + len(taken)) / FPS, first / FPS))
        joined += [np.asarray(Image.fromarray(frame).resize((WIDTH_PX, 180))) for frame in taken]
    return parts, joined


def pairs_of(truth: dict[str, list[Part]], least_s: float = LEAST_S) -> dict[tuple[str, str, str], float]:
    """(film, later film, clip) with at least `least_s` in common -> how much later the second shows what the first does."""
    out = {}
    films = sorted(truth)
    for i, a in enumerate(films):
        for b in films[i + 1 :]:
            for one in truth[a]:
                for other in (part for part in truth[b] if part.clip == one.clip):
                    begin = max(one.source_s, other.source_s)
                    end = min(one.source_s + one.end_s - one.start_s, other.source_s + other.end_s - other.start_s)
                    if end - begin >= least_s:
                        out[a, b, one.clip] = (other.start_s - other.source_s) - (one.start_s - one.source_s)
    return out


def judged(
    found: list[dict[str, Any]], truth: dict[str, list[Part]], close_s: float
) -> Iterator[tuple[tuple[str, str, str] | None, bool]]:
    """Of every answer the pair that it is of (None: of no clip that both show), and whether its distance is right."""
    pairs = pairs_of(truth, least_s=1.0)  # one that is shorter than what is asked for may be found all the same
    for pair in found:
        a, b = sorted((pair["a"], pair["b"]), key=lambda span: Path(span["path"]).name)
        names = Path(a["path"]).name, Path(b["path"]).name
        shown = [{part.clip for part in truth[Path(s["path"]).name] if _shares(part, s)} for s in (a, b)]
        of = [(*names, clip) for clip in shown[0] & shown[1] if (*names, clip) in pairs]
        apart = b["start_s"] - a["start_s"], b["end_s"] - a["end_s"]
        right = [key for key in of if min(abs(s - pairs[key]) for s in apart) <= close_s]
        yield (right or of or [None])[0], bool(right)


def _shares(part: Part, span: dict[str, Any]) -> bool:
    return part.start_s < span["end_s"] and span["start_s"] < part.end_s


def at_threshold(
    store: Store, slug: str, truth: dict[str, list[Part]], threshold: float, close_s: float
) -> dict[str, Any]:
    """One line of the table."""
    pairs = pairs_of(truth)
    answers = list(judged(find_duplicates(store, slug, threshold), truth, close_s))
    right = {pair for pair, ok in answers if ok and pair}
    alike = {pair for pair, _ in answers if pair}
    kinds: dict[str, list[bool]] = {}
    for pair in pairs:
        for name in {film.rsplit("-", 1)[-1].removesuffix(".mp4") for film in pair[:2]} - {"original"}:
            if any("-original" in film for film in pair[:2]):
                kinds.setdefault("compilation" if name.isdigit() else name, []).append(pair in right)
    return {
        "threshold": threshold,
        "answers": len(answers),
        "precision": _share([ok for _, ok in answers]),
        "recall": _share([pair in right for pair in pairs]),
        "same_clip": {
            "precision": _share([pair is not None for pair, _ in answers]),
            "recall": _share([pair in alike for pair in pairs]),
        },
        "recall_against_original": {name: _share(kinds[name]) for name in sorted(kinds)},
    }


def _share(values: Sequence[bool]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def measure(
    encoder: str, films: Path, truth: dict[str, list[Part]], archive: Path, stride_s: float | None
) -> dict[str, Any]:
    """The table of one encoder."""
    wish = ClipWish(stride_s=stride_s) if encoder != "conse" and ":" in encoder else ClipWish()
    if not archive.exists():
        report = extract([str(films)], archive, [encoder], Settings(Plan(clips=wish)))
        if report.failures:
            raise SystemExit(f"a benchmark's own film failed: {report.failures}")
    store = Store.open(archive)
    (slug,) = store.encoders()
    sampling = store.encoders()[slug]["sampling"]
    close_s = max(CLOSE_S, sampling.get("hop_s", 0.0))
    began = time.perf_counter()
    rows = [at_threshold(store, slug, truth, threshold, close_s) for threshold in THRESHOLDS]
    footage = duplicates.read_footage(store, slug)
    return {
        "encoder": encoder,
        "sampling": sampling,
        "segments": store.segment_count(slug),
        "not_blank": len(footage.start_s),
        "close_s": close_s,
        "pairs": len(pairs_of(truth)),
        "seconds_per_run": round((time.perf_counter() - began) / len(THRESHOLDS), 3),
        "thresholds": rows,
    }


def cost(segments: int) -> dict[str, Any]:
    """Wall seconds (and of all cores together) of `runs_in` for S random vectors, and what is found of the copies."""
    import faiss  # noqa: F401  importing it is not what is timed

    draw = np.random.default_rng(0)
    bounds = np.arange(0, segments + 1, 200)
    vectors = draw.normal(size=(segments, DIM)).astype(np.float32)
    for video in range(10, len(bounds) - 1, 10):
        rows = slice(bounds[video], bounds[video + 1])
        vectors[rows] = vectors[slice(bounds[video - 7], bounds[video - 6])] + 0.3 * vectors[rows]
    start_s = np.tile(np.arange(200.0), len(bounds) - 1)
    began, cpu_began = time.perf_counter(), time.process_time()
    footage = Footage(
        centred(vectors, bounds), start_s, start_s + 1, bounds, [str(v) for v in range(len(bounds) - 1)], 1.0
    )
    runs = runs_in(footage, THRESHOLD)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    planted = len(range(10, len(bounds) - 1, 10))
    return {
        "segments": segments,
        "dim": DIM,
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu_s, 2),
        "planted": planted,
        "found": len(runs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", action="append", help=f"repeatable [default: {' and '.join(ENCODERS)}]")
    parser.add_argument("--stride", type=float, default=0.25, help="of clip encoders: 16 frames cover 4 s")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--keep", type=Path, help="leave films and archives here, and use those that are there")
    options = parser.parse_args()
    clips = sorted(path for path in (options.data / "clips").glob("*") if path.suffix in (".mp4", ".avi"))
    if not clips:
        raise SystemExit(f"no clips at {options.data / 'clips'}; give the measuring data with --data")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        say("making films")
        truth = make_films(folder / "films", clips)
        tables = []
        for encoder in options.encoder or ENCODERS:
            say(f"extracting with {encoder}")
            archive = folder / f"{encoder.replace('/', '-').replace(':', '-')}.reel"
            tables.append(measure(encoder, folder / "films", truth, archive, options.stride))
        settings = {
            "clip_s": CLIP_S, "width_px": WIDTH_PX, "fps": FPS, "versions": list(VERSIONS), "films": len(truth),
            "neighbours": duplicates.NEIGHBOURS, "offsets": duplicates.OFFSETS, "bridged": duplicates.BRIDGED,
            "least_s": LEAST_S, "default_threshold": THRESHOLD,
        }  # fmt: skip
        result = {"benchmark": "duplicates", **about("faiss-gpu", "torch"), "settings": settings, "encoders": tables}
        result["cost"] = [cost(segments) for segments in SIZES]
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
