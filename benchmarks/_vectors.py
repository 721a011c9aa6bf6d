"""Unit vectors like those of an archive, for measuring indexes: topics, videos within them, shots within those, all in a
space of low intrinsic dimension. Uniform noise would be a caricature: in 512 dimensions nothing is near anything there."""

import numpy as np

LATENT = 48  # intrinsic dimension: CLIP features of photographs have about 20 to 60
TOPICS = 400
SHOT = 8  # vectors from one cut to the next


class Made:
    """`video(number)` gives (frames, dim) float16 of unit norm, always the same ones; `queries(count)` are near them, not of
    them."""

    def __init__(self, dim: int = 512, frames: int = 500, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.dim, self.frames, self.seed = dim, frames, seed
        self._topics = rng.normal(size=(TOPICS, LATENT)).astype(np.float32)
        # Every direction less important than the one before, as in real features.
        self._basis = (rng.normal(size=(LATENT, dim)) * np.linspace(1.5, 0.3, LATENT)[:, None]).astype(np.float32)
        self._mean = rng.normal(size=dim).astype(np.float32) * 4  # features lie in a cone

    def _latent(self, rng: np.random.Generator, frames: int) -> np.ndarray:
        video = self._topics[rng.integers(TOPICS)] + 0.5 * rng.normal(size=LATENT)
        shots = video + 0.4 * rng.normal(size=(-(-frames // SHOT), LATENT))
        return np.repeat(shots, SHOT, axis=0)[:frames] + 0.12 * rng.normal(size=(frames, LATENT))

    def _vectors(self, latent: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        out = latent.astype(np.float32) @ self._basis + self._mean
        out += 0.5 * rng.standard_normal(out.shape, np.float32)
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        return out

    def video(self, number: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, 1, number))
        return self._vectors(self._latent(rng, self.frames), rng).astype(np.float16)

    def queries(self, count: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, 2))
        latent = np.concatenate([self._latent(rng, 1) for _ in range(count)])
        return self._vectors(latent, rng)
