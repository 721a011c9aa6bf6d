"""Which of an archive's encoders a command means: the one asked for, or the only one that fits the question.

Where a head is in use, its features answer sentences in place of those of the encoder under it (`extract/heads/`); other heads
count only when they are asked for. Footage is compared in the encoder's own: heads learn what captions tell apart.
"""

from ..extract.errors import UsageError
from ..extract.fingerprint import Fingerprint
from ..extract.heads.apply import slug_of_head
from ..extract.heads.stored import head_of, heads_in_use
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


def _standing(store: Store) -> dict[str, Fingerprint]:
    """As `encoders_with_features`, of which heads in use hide their encoders, and other heads are hidden."""
    encoders = encoders_with_features(store)
    used = {base: slug_of_head(name) for base, name in heads_in_use(store).items()}
    used = {base: slug for base, slug in used.items() if slug in encoders}
    return {
        slug: fingerprint
        for slug, fingerprint in encoders.items()
        if slug in used.values() or (slug not in used and head_of(fingerprint) is None)
    }


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


def _plain(store: Store) -> dict[str, Fingerprint]:
    """As `encoders_with_features`, without heads."""
    return {slug: made for slug, made in encoders_with_features(store).items() if head_of(made) is None}


def choose_encoder(store: Store, slug: str | None = None) -> str:
    """For sentences and pictures: the encoder asked for, or the archive's only one with text; without any, its only one of
    frames; without any, its only one.

    Raises:
        UsageError: the archive has no such encoder, none at all, or several with text to choose from.
    """
    if slug is not None:
        return require_encoder(store, slug)
    return _for_sentences(store, _standing(store))


def _for_sentences(store: Store, encoders: dict[str, Fingerprint]) -> str:
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
    plain = _plain(store)
    clips = {name: made for name, made in plain.items() if sees_clips(made)}
    if not clips:
        return _for_sentences(store, plain)
    preferred = [name for name, made in clips.items() if str(made["spec"]).split(":")[0] == MOTION_FIRST]
    return preferred[0] if len(preferred) == 1 else _only(store, list(clips), "several clip encoders")


def _only(store: Store, candidates: list[str], what: str) -> str:
    if len(candidates) > 1:
        raise UsageError(f"archive {store.root} has {what}; choose one with --encoder: {', '.join(candidates)}")
    return candidates[0]
