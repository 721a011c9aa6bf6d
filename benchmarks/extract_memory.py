"""How much memory `extract` takes, by length of film and number of clips. One JSON object on stdout.

    python benchmarks/extract_memory.py [--part films|clips|all] [--hours 3] [--clips 500] [--workers N] [--quick]

Protocol: each extraction is a process of its own, watched from outside: every 50 ms the memory of it and of its decoding
processes (VmRSS of /proc/PID/status, so Linux only) is added up, the sum's peak counts. Shared pages (libraries, the
pictures' shared memory) count once for each process that has touched them. The encoder does nothing, takes pictures of
224 x 224 and returns D = 512, so what grows is what every encoder's run has.

films   One film of 3 minutes and one of 3 hours of the same kind (256 x 144, sound left out), one frame a second.
        Target: 1.10. What may grow with a video until it is committed is its vectors: 1 KB a second, 11 MB for 3 hours.
clips   500 clips of 2 s: after every 100th, main process and workers apart. Flat: from the second reading to the last,
        not more than 1.10.

What the numbers do not tell: models (a model's own memory is constant), high resolutions (a decoder holds up to 16 frames
of the film's size and as many as it has threads, whatever the length), memory that a GPU driver takes.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from _material import Cache, NullEncoder, about, add_options, cache_of, register, say
from nightreel.extract.geometry import Geometry
from nightreel.extract.record import Progress
from nightreel.extract.run import Settings, extract

EVERY_S, MOST_GROWTH = 0.05, 1.10
MB = 1 << 20


class Watch:
    """A process and its children; `peak_bytes` of their sum, and of each role."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self.peak_bytes = self.main_bytes = self.workers_bytes = self.readings = 0

    def read(self) -> tuple[int, int]:
        """Resident bytes now: (main, all decoding processes)."""
        return resident(self._pid), sum(resident(child) for child in children(self._pid))

    def _poll(self) -> None:
        while not self._stop.wait(EVERY_S):
            main, workers = self.read()
            self.peak_bytes = max(self.peak_bytes, main + workers)
            self.main_bytes, self.workers_bytes = max(self.main_bytes, main), max(self.workers_bytes, workers)
            self.readings += 1

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


def children(pid: int) -> list[int]:
    """Of all threads of a process, one level: decoding processes start none of their own."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except OSError:
            continue  # the thread is gone
    return found


def resident(pid: int) -> int:
    """VmRSS in bytes; 0 if the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def extract_here(archive: str, workers: int | None, paths: list[str], bare: bool) -> None:
    """What the watched process does: a run that prints a line after every video, and goes on when told."""

    def on_progress(progress: Progress) -> None:
        print(progress.number, flush=True)

    if not bare:
        import torch  # noqa: F401  # as every encoder but `toy` does: some 650 MB
    name = register("null", NullEncoder(Geometry((224, 224)), dim=512))
    report = extract(paths, archive, [name], Settings(device="cpu", workers=workers), on_progress)
    if report.failures:
        raise SystemExit(f"a benchmark's own film failed: {report.failures}")
    # Polling misses short peaks, the kernel does not. (Of children it counts what they were before they became Python.)
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)


def watched(
    paths: list[Path], workers: int | None, every: int, bare: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Peaks of an extraction, and readings after every `every`-th video."""
    with tempfile.TemporaryDirectory() as scratch:
        listing = Path(scratch) / "paths.json"
        listing.write_text(json.dumps([str(path) for path in paths]))
        command = [sys.executable, __file__, "--child", str(listing), "--workers", str(workers or 0)]
        command += ["--bare"] if bare else []
        began, after = time.perf_counter(), []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child, Watch(child.pid) as watch:
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith("peak"):
                    own = int(line.split()[1]) * 1024
                elif int(line) % every == 0:
                    main, decoders = watch.read()
                    row = {"videos": int(line), "main_mb": round(main / MB, 1), "workers_mb": round(decoders / MB, 1)}
                    after.append(row)
        if child.returncode:
            raise SystemExit("the watched extraction failed")
    watch.main_bytes = max(watch.main_bytes, own)
    watch.peak_bytes = watch.main_bytes + watch.workers_bytes  # not at one instant: what it can be at worst
    peaks = {f"{role}_mb": round(getattr(watch, f"{role}_bytes") / MB, 1) for role in ("peak", "main", "workers")}
    return {**peaks, "readings": watch.readings, "seconds": round(time.perf_counter() - began, 1)}, after


def films_part(asked: argparse.Namespace, films: Cache) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, seconds in (("short", 180), ("long", 3600 * asked.hours)):
        film = films.film("144p-keyint250", seconds)
        say(f"films: {film.seconds / 60:g} minutes")
        peaks, _ = watched([film.path], asked.workers, 1, asked.bare)
        out[name] = {"video_s": film.seconds, **peaks}
    ratio = out["long"]["peak_mb"] / out["short"]["peak_mb"]
    return out | {"long_to_short": {"is": round(ratio, 4), "target": f"<= {MOST_GROWTH}", "met": ratio <= MOST_GROWTH}}


def clips_part(asked: argparse.Namespace, films: Cache) -> dict[str, Any]:
    say(f"clips: {asked.clips}")
    peaks, after = watched(films.many_clips(asked.clips), asked.workers, max(1, asked.clips // 5), asked.bare)
    sums = [row["main_mb"] + row["workers_mb"] for row in after[1:]]
    growth = sums[-1] / sums[0]
    flat = {"is": round(growth, 4), "target": f"<= {MOST_GROWTH}", "met": growth <= MOST_GROWTH}
    return {**peaks, "after": after, "last_to_second": flat}


PARTS = {"films": films_part, "clips": clips_part}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--hours", type=float, default=3.0, help="of the long film")
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--workers", type=int, help="decoding processes [as extract chooses]")
    parser.add_argument("--bare", action="store_true", help="without torch, to see what is left")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        archive = asked.child.with_name("a")
        return extract_here(str(archive), asked.workers or None, json.loads(asked.child.read_text()), asked.bare)
    if not Path("/proc/self/status").exists():
        raise SystemExit("this reads memory from /proc, which only Linux has")
    if asked.quick:
        asked.hours, asked.clips = asked.hours / 10, asked.clips // 10
    films, parts = cache_of(asked), list(PARTS) if asked.part == "all" else [asked.part]
    settings = {
        "hours": asked.hours,
        "clips": asked.clips,
        "workers": asked.workers or "auto",
        "quick": asked.quick,
        "bare": asked.bare,
    }
    done = {part: PARTS[part](asked, films) for part in parts}
    print(json.dumps({"benchmark": "extract_memory", **about(), "settings": settings} | done, indent=1))
    return None


if __name__ == "__main__":
    main()
