"""What `nightreel finetune` was asked for, and what of the archive it is about. Nothing is trained here."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from ..extract.encoders.registry import ALIASES
from ..extract.errors import UsageError
from ..extract.heads.networks import KINDS
from ..extract.heads.stored import head_of
from ..extract.store import Store
from ..index.choose import require_encoder, sees_clips
from ..search.archive import Archive, slug_of
from ..search.features import Features
from .captions.pairs import Pairs, read_pairs
from .captions.subtitles import subtitle_pairs
from .stored_task import Rates
from .training.plan import Plan, require_least

CLIP4CLIP, VIDEOCLIP = RECIPES = ("clip4clip", "videoclip")
ON_FEATURES, ON_FRAMES = ("head", "adapter"), ("lora", "all")


@dataclass(frozen=True)
class Wish:
    """What was asked for.

    Attributes:
        pairs: a file of captions, or None for subtitles only.    dataset: whose annotation file it is.
        subtitles: whether those beside the videos count too.
        kind: of head.    train: what is trained; "" for an adapter, or the head where another than `mean` was named.
        name: of the head; "" for one that says what it is.
        clips: spec of an encoder of clips whose features join the frames.
        max_frames: of a pair, in training; 0 for what is usual.
        encoder: spec or slug of the features, where there are several.
        footage: whether copies of footage are looked for, which must not be in both parts.
        rate: of all that trains; None for what is usual.
        recipe: `clip4clip` (spans as they are, batches at random) or `videoclip` (`negatives.py`).
        hard: whether `videoclip` also takes footage that the index mistakes for what captions say.
    """

    pairs: Path | None = None
    dataset: str | None = None
    subtitles: bool = False
    kind: str = "mean"
    train: str = ""
    name: str = ""
    clips: str | None = None
    max_frames: int = 0
    encoder: str | None = None
    device: str = "auto"
    footage: bool = True
    rate: float | None = None
    recipe: str = CLIP4CLIP
    hard: bool = False
    plan: Plan = field(default_factory=Plan)

    @property
    def on_frames(self) -> bool:
        """Whether pictures are needed, not only features."""
        return self.train in ON_FRAMES

    @property
    def rates(self) -> Rates:
        """For what trains on features."""
        return Rates() if self.rate is None else Rates(head=self.rate, adapter=self.rate)


@dataclass(frozen=True)
class Base:
    """The features that are trained on: `dim` numbers each."""

    store: Store
    slug: str
    features: Features
    dim: int


def checked(wish: Wish) -> Wish:
    """The wish with its blanks filled.

    Raises:
        UsageError: something in it does not fit.
    """
    train = wish.train or ("adapter" if wish.kind == "mean" else "head")
    for option, value, known in (
        ("--head", wish.kind, KINDS),
        ("--train", train, (*ON_FEATURES, *ON_FRAMES)),
        ("--recipe", wish.recipe, RECIPES),
    ):
        if value not in known:
            raise UsageError(f"{option} {value}: expected one of {', '.join(known)}.")
    if train != "head" and wish.kind != "mean":
        raise UsageError(
            f"--train {train} --head {wish.kind}: that head would stay untrained; expected --train head, or --head mean."
        )
    if train in ON_FRAMES and wish.clips is not None:
        raise UsageError(
            f"--train {train} --with {wish.clips}: clips join stored features; expected --train head or adapter."
        )
    if wish.recipe == VIDEOCLIP and train in ON_FRAMES:
        raise UsageError(f"--train {train} --recipe {VIDEOCLIP}: that is for stored features; leave --recipe out.")
    if wish.hard and wish.recipe != VIDEOCLIP:
        raise UsageError(f"--hard: expected --recipe {VIDEOCLIP} with it.")
    if wish.pairs is None and not wish.subtitles:
        raise UsageError("no captions: expected --pairs FILE, or --subtitles for those beside the videos.")
    plan = wish.plan
    require_least(
        ("--epochs", plan.epochs, 1),
        ("--batch", plan.batch, 2),
        ("--chunk", plan.chunk, 0),
        ("--max-frames", wish.max_frames, 0),
    )
    if wish.rate is not None and not 0 < wish.rate < 10:
        raise UsageError(f"--lr {wish.rate:g}: expected a number above 0, such as 1e-3.")
    usual = 8 if train in ON_FRAMES else 32
    named = wish.name or (wish.kind if train == "head" else train)
    return replace(wish, train=train, name=named, max_frames=wish.max_frames or usual)


def base_of(folder: Path, encoder: str | None, device: str) -> Base:
    """The features for sentences: never a head's own, but those under it.

    Raises:
        UsageError: several encoders would do, or the one that was named has no text.
    """
    archive = Archive(folder, encoder, device)
    slug, prints = archive.slug, archive.store.encoders()
    head = head_of(prints[slug])
    if head is not None:
        slug = str(head["base"])
    if not prints[slug].get("has_text") or sees_clips(prints[slug]):
        raise UsageError(
            f"the features of {slug} have no sentences to compare with, so captions teach them nothing: expected an encoder "
            "with text, such as clip. Extract with one, or name it with --encoder."
        )
    return Base(archive.store, slug, Features(archive.store, slug, device), int(prints[slug]["dim"]))


def clips_of(store: Store, spec: str) -> str:
    """The slug of the clips that join the frames.

    Raises:
        UsageError: the archive has none of that encoder, or they are not of clips.
    """
    slug = require_encoder(store, slug_of(store, ALIASES.get(spec, spec)))
    if not sees_clips(store.encoders()[slug]):
        raise UsageError(
            f"--with {spec}: those are features of single frames; expected an encoder of clips, such as videomae."
        )
    return slug


def pairs_of(base: Base, wish: Wish) -> Pairs:
    """All captions that were asked for.

    Raises:
        UsageError: a file cannot be read, or no row is left.
    """
    read = Pairs(()) if wish.pairs is None else read_pairs(wish.pairs, wish.dataset)
    read = read + subtitle_pairs(base.store, base.slug) if wish.subtitles else read
    if not read.pairs:
        raise UsageError(
            f"--subtitles: no .srt or .vtt file with words lies beside the videos of {base.store.root}. Expected one named "
            "as the video is (saturday.mp4, saturday.srt), or --pairs FILE."
        )
    return read
