"""Other methods of grounding, small and from their descriptions, so that `benchmarks/ground_rivals.py` can be run again.

One method to a file, each with

    propose(scores (T,), start_s (T,), end_s (T,), features (T, D) or None, query (D,) or None, *, parameters...)
        -> (P, 3) start_s, end_s, score, best first, 1 <= P <= 10
    PUBLISHED   its authors' settings (of a method without a paper: its defaults)
    GRID        the settings that the comparison chooses from

Left out because they are trained: Moment-DETR, QD-DETR, UniVTG and their kin. Left out because they ask a language model at
query time: Moment-GPT, and the query rewriting of VTG-GPT, TFVTG, TAG and P2S.
"""

from types import ModuleType

from . import (
    all_pairs,
    diwan_shots,
    dse_vtg,
    level_contrast,
    level_sets,
    merged_hits,
    p2s,
    ruzzo_tompa,
    sliding_windows,
    tag,
    tfvtg,
    trial,
    vtg_gpt,
    whole_video,
)

METHODS: dict[str, ModuleType] = {
    "whole video": whole_video,
    "sliding windows": sliding_windows,
    "merged hits": merged_hits,
    "Diwan shots": diwan_shots,
    "P2S": p2s,
    "VTG-GPT": vtg_gpt,
    "TFVTG": tfvtg,
    "TAG": tag,
    "DSE-VTG stage": dse_vtg,
    "Ruzzo-Tompa": ruzzo_tompa,
    "all pairs": all_pairs,
    "level sets, contrast": level_contrast,
    "level sets, excess mass": level_sets,
    "trial": trial,
}
