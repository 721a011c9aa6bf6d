"""Tables beside the demo's films, to learn from: what a family calls their scenes, and which of two classes a scene is.

    captions.csv    video, start_s, end_s, caption: for `nightreel finetune`
    scenes.csv      video, start_s, end_s, label: for `nightreel probe`

They are of the scenes that come back in several films, so that what is learned of some films can be tried on others.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from .films import FILMS, Film

CAPTIONS = {"coins": "grandpa's collection", "flower": "aunt rosa's pride", "temple": "where we got engaged"}
LABELS = ("coins", "temple")


def write_tables(folder: Path, films: Sequence[Film] = FILMS) -> list[Path]:
    """Write both into `folder`."""
    scenes = [(film.name, start_s, end_s, photo) for film in films for photo, start_s, end_s in film.truth()]
    tables = {
        "captions.csv": ("caption", [(*at, CAPTIONS[photo]) for *at, photo in scenes if photo in CAPTIONS]),
        "scenes.csv": ("label", [(*at, photo) for *at, photo in scenes if photo in LABELS]),
    }
    for name, (column, rows) in tables.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([("video", "start_s", "end_s", column), *rows])
    return [folder / name for name in tables]
