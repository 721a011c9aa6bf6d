"""`Archive`: what Python users and the command line call. The expensive parts (model, index) are loaded once.

from nightreel import Archive
for hit in Archive("videos.reel").search("a dog catches a frisbee", top=5):
    print(hit.path, hit.start_s, hit.end_s)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extract.encoders.base import Encoder
from ..extract.encoders.registry import slug
from ..extract.encoders.weights import LOG
from ..extract.errors import NightreelError, UsageError
from ..extract.heads.apply import apply_head, slug_of_head
from ..extract.heads.stored import PLAIN, head_of, heads_in_use, read_made, use
from ..extract.store import Store
from ..index.build import Progress, Settings, no_progress
from ..index.choose import choose_encoder, choose_motion_encoder, encoders_with_features, require_encoder
from ..index.open import VectorIndex
from .answer import Answer, Question, answer, embedded
from .features import Features
from .grounding import Grounding, ground_video
from .query import as_texts
from .search import Hit
from .then import ground_in_order
from .where import encoder_that_has

SENTENCE = Question("any")


class Archive:
    """An archive folder, ready to be searched.

    Args:
        folder: what `nightreel extract --archive` made.
        encoder: spec or slug; needed only if the archive has features of several encoders that would do.
        device: where queries are embedded.
    """

    def __init__(self, folder: str | Path, encoder: str | None = None, device: str = "auto") -> None:
        self.store = Store.open(folder)
        self._asked = require_encoder(self.store, slug_of(self.store, encoder)) if encoder else None
        encoders_with_features(self.store)  # says at once if there are none
        self.device = device
        self._features: dict[str, Features] = {}

    def features(self, question: Question | None = None) -> Features:
        """The features in which a question is answered: of the encoder asked for, else as the question needs; without a
        question those for sentences.

        Raises:
            UsageError: several encoders would do.
        """
        name = self._asked or self._chosen(question or SENTENCE)
        return self._features.setdefault(name, Features(self.store, name, self.device))

    def _chosen(self, question: Question) -> str:
        if question.needs_encoder:
            return choose_encoder(self.store)
        if question.by_likeness:
            return choose_motion_encoder(self.store) if question.like is not None else choose_encoder(self.store)
        several = [name for name, made in encoders_with_features(self.store).items() if head_of(made) is None]
        return encoder_that_has(self.store, several, question.where, question.sort) or choose_encoder(self.store)

    @property
    def slug(self) -> str:
        """The encoder for sentences, by the name of its folder."""
        return self.features().slug

    @property
    def encoder(self) -> Encoder:
        """Its model, loaded at first use and checked against the features' fingerprint.

        Raises:
            FingerprintMismatch: the weights found now are not those of the archive.
        """
        return self.features().encoder

    @property
    def index(self) -> VectorIndex:
        """The index of its features; raises `IndexMissing` if `build_index` was never called."""
        return self.features().index

    def load(self, question: Question | None = None) -> None:
        """Load what a question (without one: a sentence) needs now rather than when it is asked: seconds, once."""
        question = question or SENTENCE
        features = self.features(question)
        if question.by_likeness:
            _ = features.index
            if question.needs_encoder:
                _ = features.encoder

    def build_index(self, settings: Settings = Settings()) -> dict[str, Any]:  # noqa: B008
        """Bring the index for sentences up to date; see `nightreel.index.build.build_index` for the keys."""
        return self.features().build_index(settings)

    def build_indexes(
        self,
        settings: Settings = Settings(),  # noqa: B008
        progress: Progress = no_progress,
    ) -> list[dict[str, Any]]:
        """Bring the indexes of all encoders, or of the one asked for, up to date.

        A head whose files are lost or broken is told of and left out, unless it is the one asked for.
        """
        slugs = [self._asked] if self._asked else list(encoders_with_features(self.store))
        for name in list(slugs):
            if head := head_of(self.store.encoders()[name]):
                try:
                    apply_head(self.store, str(head["name"]), progress)
                except NightreelError as error:
                    if name == self._asked:
                        raise
                    LOG.warning("The features and the index of head %s stay as they are: %s", head["name"], error)
                    slugs.remove(name)
        every = [self._features.setdefault(name, Features(self.store, name, self.device)) for name in slugs]
        return [features.build_index(settings, progress) for features in every]

    def use_head(
        self,
        name: str,
        settings: Settings = Settings(),  # noqa: B008
        progress: Progress = no_progress,
    ) -> list[dict[str, Any]]:
        """Let a head's features stand in for its encoder's, and be what is asked here; `none`: no head's any more.

        Its index comes first: where that fails, searches go on as before. Returns what `build_indexes` does.

        Raises:
            UsageError, Damaged, FingerprintMismatch: as `apply_head`.
        """
        if name == PLAIN:
            for base in heads_in_use(self.store):
                use(self.store, base, None)
            return self.build_indexes(settings, progress)
        apply_head(self.store, name, progress)
        self._asked = slug_of_head(name)
        built = self.build_indexes(settings, progress)
        use(self.store, read_made(self.store, name).base, name)
        return built

    def search(
        self,
        text: str | Sequence[str] | None = None,
        *,
        image: str | Path | None = None,
        like: str | None = None,
        without: Sequence[str] = (),
        top: int = 10,
        by: str = "moment",
        video: str | None = None,
        where: str | None = None,
        sort: str | None = None,
        skip: int = 0,
        diversity: float = 0.0,
    ) -> list[Hit]:
        """The moments (or videos) that fit best.

        Args:
            text: one sentence or several; several are averaged. Any part may end with a weight: `a dog^2`.
            image: a picture to look like.    like: `VIDEO@START-END`, footage of this archive to look like; alone it is
                looked for in the features of clips, if there are any. What it shows itself is left out of the hits.
            without: sentences to stay away from.
            top: how many hits at most.    by: `moment`, or `video` for each video's best moment only.
            video: search one video only, by path, file name or id.
            where: an SQL expression over columns of segments and videos; hits consist of segments that pass it. Without
                anything to look like, the segments that pass.
            sort: rank by this column (or expression), largest first; with something to look like, the `top` most alike.
            skip: leave out so many of the best: the next page.
            diversity: 0 to 1, how much hits that look like better ones fall back.

        Raises:
            UsageError, IndexMissing, FingerprintMismatch: as their names say.
        """
        return self.ask(Question(text, image, like, without, where, sort, top, by, video, skip, diversity)).hits

    def ask(self, question: Question) -> Answer:
        """As `search`, with the encoder that was used and what else there is to say; sees what others have committed since."""
        self.store.refresh()
        return answer(self.features(question), question)

    def ground(
        self,
        video: str,
        text: str | Sequence[str],
        *,
        then: str | Sequence[str] = (),
        within_s: float | None = None,
        top: int = 5,
    ) -> Grounding:
        """Where in one video a sentence happens; reads only that video's stored features, so it needs no index.

        Args:
            video: path, file name or id.    text: one sentence, or several that are averaged.
            then: sentences that happen after it, in this order; what is found is `sequences` of moments.
            within_s: how many seconds may lie between one moment and the next, at most.
            top: how many moments (or sequences) at most.

        Raises:
            UsageError: no such video, it has no features, or `within_s` is negative or has no `then`.
        """
        self.store.refresh()
        row, later = self.store.find_video(video), as_texts(then)
        if within_s is not None and not later:
            raise UsageError(
                f"--within {within_s:g} limits the time between moments in order; got one sentence. "
                "Add what comes after it, for example --then 'the crowd cheers'."
            )
        if within_s is not None and not within_s >= 0:
            raise UsageError(f"--within {within_s:g}: expected seconds, at least 0, for example --within 30.")
        first = " + ".join(as_texts(text))
        if not later:
            return ground_video(self.features(), row, self.embed(text), top, first)
        queries = np.stack([self.embed(text), *(self.embed(sentence) for sentence in later)])
        return ground_in_order(self.features(), row, queries, (first, *later), top, within_s)

    def embed(
        self,
        text: str | Sequence[str] | None = None,
        *,
        image: str | Path | None = None,
        like: str | None = None,
        without: Sequence[str] = (),
    ) -> npt.NDArray[np.float32]:
        """The query's vector (D,) float32, unit norm."""
        question = Question(text, image, like, without)
        features = self.features(question)
        return embedded(features, question, features.footage(like).embedding.astype(np.float32) if like else None)


def slug_of(store: Store, encoder: str) -> str:
    """The folder name of an encoder that was named by its spec (`head:NAME` of what a head made) or by that."""
    stored = store.encoders()
    specs = {str(fingerprint["spec"]): name for name, fingerprint in stored.items()}
    return encoder if encoder in stored else specs.get(encoder) or slug(encoder)
