"""Metrics as the benchmarks define them, readers of their files, and a runner (`nightreel evaluate`)."""

from .bootstrap import interval, paired
from .classification import average_views, classification_metrics
from .grounding import grounding_metrics
from .highlights import qvhighlights_metrics
from .retrieval import both_directions, dual_softmax, retrieval_metrics

__all__ = [
    "average_views",
    "both_directions",
    "classification_metrics",
    "dual_softmax",
    "grounding_metrics",
    "interval",
    "paired",
    "qvhighlights_metrics",
    "retrieval_metrics",
]
