"""Train FAISS's coarse quantiser and codes on a sample; on the GPU where there is one.

Costs k-means over 48 vectors per list: at D = 512 on two cores 7 s for 1024 lists, about 2 minutes for 4096, half an hour for
16384.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .kinds import Kind, list_count

Floats = npt.NDArray[np.float32]

PER_LIST = 48  # vectors of the sample per list; FAISS wants 39 at least and uses no more than it is told
ROUNDS = 10


def sample_size(count: int, kind: Kind) -> int:
    """How many of `count` vectors to train on."""
    return min(count, PER_LIST * list_count(count)) if kind.lists else 0


def trained(kind: Kind, count: int, sample: Floats, device: str = "auto") -> Any:
    """An empty index of a kind for `count` vectors.

    Args:
        sample: (N, D) float32 to learn lists and codes from; not looked at for kinds without lists.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: a GPU if FAISS has one.
    """
    import faiss

    index = faiss.index_factory(sample.shape[1], kind.factory(count), faiss.METRIC_INNER_PRODUCT)
    lists = faiss.try_extract_index_ivf(index)
    if lists is not None:
        lists.cp.niter, lists.cp.max_points_per_centroid = ROUNDS, PER_LIST
        lists.cp.min_points_per_centroid = 1  # small samples are meant; FAISS would print a warning to stdout
        lists.cp.seed = 1234
        if len(sample) < lists.nlist:  # nearly all vectors are of no direction; FAISS wants one a list
            sample = np.resize(sample if len(sample) else np.eye(1, sample.shape[1]), (lists.nlist, sample.shape[1]))
        helper = _on_gpu(lists, device)  # kept alive by this name
        index.train(np.ascontiguousarray(sample, np.float32))
        del helper
        lists.clustering_index = None
    return index


def _on_gpu(lists: Any, device: str) -> Any:
    """Let k-means compare on a GPU; None without one. 2048 neighbours at most are FAISS's limit there; k-means asks for one."""
    import faiss

    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    if device == "cpu" or not gpus:
        return None
    number = int(device.partition(":")[2] or 0)
    resources = faiss.StandardGpuResources()
    flat = faiss.index_cpu_to_gpu(resources, number, faiss.IndexFlatIP(lists.d))
    lists.clustering_index = flat
    return resources, flat
