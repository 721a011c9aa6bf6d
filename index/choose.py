"""Which of an archive's encoders a command means: the one asked for, or the only one that fits the question."""

from ..extract.errors import UsageError
from ..extract.fingerprint import Fingerprint
from ..extract.store import Store

MOTION_FIRST = "videomae"  # of several clip encoders: its features know what moves, flow knows only how fast


def encoders_with_features(store: Store) -> dict[str, Fingerprint]:
    """Slug -> fingerprint of the encoders that have features of some video.

    Raises:
        UsageError: there is none.
    """
    encoders = {slug: fingerprint for slug, fingerprint in store.encoders().items() if store.video_ids(slug)}
    if not encoders:
        raise UsageError(
            f"archive {store.root} has no features yet: no video in it was extracted successfully.\n"
            f"See why with: nightreel failures {store.root}\n"
            f"or extract videos with: nightreel extract VIDEOS --archive {store.root}"
        )
    return encoders


def sees_clips(fingerprint: Fingerprint) -> bool:
    """Whether the features are of clips, not of single frames."""
    sampling = fingerprint.get("sampling")
    return isinstance(sampling, dict) and "hop_s" in sampling


def require_encoder(store: Store, slug: str) -> str:
    """The slug, if the archive has features of it.

    Raises:
        UsageError: it has none.
    """
    encoders = encoders_with_features(store)
    if slug not in encoders:
        raise UsageError(
            f"archive {store.root} has no features of encoder {slug!r}; it has: {', '.join(encoders)}.\n"
            f"Extract them first, or choose one of these with --encoder."
        )
    return slug


def choose_encoder(store: Store, slug: str | None = None) -> str:
    """For sentences and pictures: the encoder asked for, or the archive's only one with text; without any, its only one of
    frames; without any, its only one.

    Raises:
        UsageError: the archive has no such encoder, none at all, or several with text to choose from.
    """
    if slug is not None:
        return require_encoder(store, slug)
    encoders = encoders_with_features(store)
    with_text = [name for name, fingerprint in encoders.items() if fingerprint.get("has_text")]
    of_frames = [name for name, fingerprint in encoders.items() if not sees_clips(fingerprint)]
    return _only(store, with_text or of_frames or list(encoders), "several encoders")


def choose_motion_encoder(store: Store, slug: str | None = None) -> str:
    """For footage that is compared with footage: the one asked for, or the only clip encoder, or of several the only
    VideoMAE; without clip encoders as `choose_encoder`.

    Raises:
        UsageError: as `choose_encoder`, or several clip encoders to choose from.
    """
    if slug is not None:
        return require_encoder(store, slug)
    clips = {name: print_ for name, print_ in encoders_with_features(store).items() if sees_clips(print_)}
    if not clips:
        return choose_encoder(store)
    preferred = [name for name, print_ in clips.items() if str(print_["spec"]).split(":")[0] == MOTION_FIRST]
    return preferred[0] if len(preferred) == 1 else _only(store, list(clips), "several clip encoders")


def _only(store: Store, candidates: list[str], what: str) -> str:
    if len(candidates) > 1:
        raise UsageError(f"archive {store.root} has {what}; choose one with --encoder: {', '.join(candidates)}")
    return candidates[0]
