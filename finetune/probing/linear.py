"""Multinomial logistic regression on stored features: what a linear probe is, solved to the optimum.

    made = fit_linear(features, labels, classes=10, l2=1e-3)
    made.probabilities(features)                                      (N, C)

Minimised is the mean cross-entropy + l2 / 2 * the sum of squared weights (the bias is free), over all examples at once, with
L-BFGS and a strong Wolfe line search. That is scikit-learn's `LogisticRegression(C=1 / (l2 * N))`, and the tests hold it to
that. As the problem is convex, the answer depends on no seed, no order and no learning rate. The protocol is that of CLIP
(Radford et al. 2021, arXiv 2103.00020, section A.3); we differ in scaling the features first (see `Scaling`), so that one
grid of `l2` fits every encoder.

It does not know: videos, splits, names of classes, or which `l2` is good; `probe_methods.py` chooses that.

Costs, N examples x D x C classes: 4 N D C floating point operations each time the loss is asked for (forward, and the
gradient of the weights), N (D + C) * 8 bytes. 10 000 x 768 and 400 classes at l2 = 0.01: 23 steps, 0.84 of
the speed of its matrix products alone (`benchmarks/probe.py`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ...extract.errors import UsageError

Floats = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

STEPS = 1000  # of L-BFGS at most; those of CLIP's protocol
STEEP = 1e-6  # a gradient whose largest part is below this is flat
HISTORY = 10


@dataclass(frozen=True)
class Scaling:
    """Where features are and how wide they spread, from those that are trained on: `(x - mean) / spread`.

    Attributes:
        mean: (D,) float32.    spread: (D,) float32, above 0.
    """

    mean: Floats
    spread: Floats

    def __call__(self, features: Floats) -> Floats:
        """(N, D) -> (N, D) float32."""
        return np.asarray((features - self.mean) / self.spread, np.float32)


def scaling_of(features: Floats) -> Scaling:
    """Centred, and divided by one number: the root mean square over all dimensions, so that these keep their weights.

    Every dimension's own spread, or no centring, did as well on 12 splits of real features (`benchmarks/probe.py`:
    differences of 0.7 and 1.0 points of top-1, standard error 0.5); one spread was kept because it cannot blow up dimensions
    that hold noise.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    spread = float(np.sqrt(np.mean((features - mean) ** 2)))
    every = np.full(features.shape[1], max(spread, 1e-6), np.float32)
    return Scaling(mean.astype(np.float32), every)


@dataclass(frozen=True)
class Linear:
    """A linear probe that was fitted.

    Attributes:
        scaling: of the features.    weight: (C, D) float32.    bias: (C,) float32.
        steps: of L-BFGS.    flat: whether it came to the optimum before `STEPS`.
    """

    scaling: Scaling
    weight: Floats
    bias: Floats
    steps: int = 0
    flat: bool = True

    def probabilities(self, features: Floats) -> Probabilities:
        """(N, D) float32 -> (N, C) float64, each row adds up to 1."""
        logits = (self.scaling(features) @ self.weight.T + self.bias).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def fit_linear(
    features: Floats,
    labels: Whole,
    classes: int,
    l2: float,
    *,
    start: Linear | None = None,
    scaling: Scaling | None = None,
) -> Linear:
    """The optimum for one strength of regularisation.

    Args:
        features: (N, D), finite.    labels: (N,) of 0 to `classes` - 1; a class without examples gets what is left.
        l2: above 0; without it there is no optimum where classes can be told apart without error.
        start: where to begin, such as the optimum of a neighbouring `l2`; the answer is the same, sooner.
        scaling: other than `scaling_of` these features.

    Raises:
        UsageError: `l2` is not above 0, or features and labels do not fit.
    """
    if not l2 > 0 or classes < 2:
        raise UsageError(f"linear probe with {l2 = :g} and {classes = }; expected l2 above 0 and two classes or more")
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels) or not np.isfinite(features).all():
        raise UsageError(f"features {features.shape} and labels {labels.shape}; expected (N, D), finite, and (N,)")
    if labels.min() < 0 or labels.max() >= classes:
        raise UsageError(f"labels run from {labels.min()} to {labels.max()}; expected 0 to {classes - 1}")
    scaling = scaling or (scaling_of(features) if start is None else start.scaling)
    x, y = torch.from_numpy(scaling(features)).double(), torch.from_numpy(labels)
    begin = np.zeros((classes, features.shape[1] + 1), np.float32)
    if start is not None:
        begin[:, :-1], begin[:, -1] = start.weight, start.bias
    solved, steps, flat = _minimise(x, y, torch.from_numpy(begin).double(), l2)
    return Linear(scaling, solved[:, :-1].copy(), solved[:, -1].copy(), steps, flat)


def _minimise(x: torch.Tensor, y: torch.Tensor, begin: torch.Tensor, l2: float) -> tuple[Floats, int, bool]:
    """(C, D + 1) weights and bias, how many steps it took, whether the gradient vanished."""
    # `l2` curves the loss along the weights; along the bias only the data do, by 1 / C. On one scale, what took 953, 105 and
    # 48 steps at l2 = 100, 1 and 3 takes 15, 13 and 11.
    held = 1 / len(begin)
    unit = (held / (l2 + held)) ** 0.5
    weight = (begin[:, :-1] / unit).requires_grad_()
    bias = begin[:, -1].clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [weight, bias],
        max_iter=STEPS,
        history_size=HISTORY,
        tolerance_grad=min(STEEP, l2 / 1000) * unit,  # or a weak `l2` would not be felt
        tolerance_change=1e-13,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        logits = torch.addmm(bias, x, weight.T, alpha=unit)
        value: torch.Tensor = torch.nn.functional.cross_entropy(logits, y)
        value = value + l2 * unit**2 / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    steps = int(solver.state[weight]["n_iter"])
    solved = torch.cat([unit * weight.detach(), bias.detach()[:, None]], dim=1)
    return solved.float().numpy(), steps, steps < STEPS


def cross_entropy(probabilities: Probabilities, labels: Whole) -> float:
    """Mean of -log p of the right class (N, C), (N,), in nats; a probability of 0 counts as 1e-12."""
    right = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(right, 1e-12)).mean())
