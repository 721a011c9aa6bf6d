"""What flow fields say: how fast a clip moves, and where in the picture which way. Pure; knows no network.

A flow field is how far every pixel of a picture went until the next one, (2, H, W): x to the right, y downwards, in pixels
of the encoder's picture. That is the source squashed, so x and y are first scaled back by the source's own width and height:
then angles are those on the screen. Times are those at which the frames were shown; a pair without time between its frames
(a frame that is repeated) counts for nothing.

The descriptor is a histogram of oriented flow (HOF, Laptev et al. 2008, CVPR; Wang et al. 2011, CVPR, with a bin for what
stands still): in each of 2 x 4 x 4 cells (halves of the clip's time, parts of the picture) eight directions and `still`,
288 numbers. Every pixel has one vote. Of it v / (v + v0) goes to the two directions nearest to its own, each by nearness,
and the rest to `still`; v is its speed in diagonals of the picture per second, v0 is `HALF_SPEED`. So the source's
resolution does not matter, nor how the frames are spaced. The square root is taken, as in Wang and Schmid 2013 (ICCV):
the vector has length 1 by itself, and a cosine is the mean Bhattacharyya coefficient of the cells' histograms.

How we differ. HOF adds lengths up, in pixels: one fast thing outweighs the picture, and the threshold of `still` is a step
that noise crosses. HOOF (Chaudhry et al. 2009, CVPR) folds left onto right and divides by the sum: a mirrored clip and a
slow one are the same to it; here neither is. HOF cells follow trajectories or interest points; ours tile the picture.

A clip without motion, or without time, is `still` everywhere: a direction of its own, at right angles to pure motion. A
clip backwards differs, unless the film is the same both ways. Camera motion is motion: nothing is subtracted.

Cost for 8 fields of 216x384, on one CPU core: 0.15 s and 0.08 s for `motion_px`; RAFT, which makes them, takes 3.9 s.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

HALVES, GRID, DIRECTIONS = 2, 4, 8
BINS = DIRECTIONS + 1  # the last one is `still`
DIM = HALVES * GRID * GRID * BINS
# Diagonals per second at which half of a vote is for motion: what crosses the picture in 2 s votes 0.9 for motion, in 20 s
# 0.5, in 200 s 0.1. A tenth of a pixel of error in 216x384, between frames 1/8 s apart, is 0.0018 and votes 0.04.
HALF_SPEED = 0.05


def motion_px(flow: "torch.Tensor", gaps_s: "torch.Tensor", source_px: "torch.Tensor") -> "torch.Tensor":
    """How fast pictures move: the mean over pixels of the way they go, divided by the time it takes.

        5 px to the right in each 0.1 s, in pictures 384 wide of a film 1920 wide: 5 * 1920 / 384 / 0.1 = 250

    Args:
        flow: (B, P, 2, H, W) pixels of the encoder's picture.    gaps_s: (B, P) from one frame to the next, 0 if repeated.
        source_px: (B, 2) height and width of the source.

    Returns:
        (B,) float32, pixels of the source per second; 0 for a clip without time.
    """
    ways_px = to_source(flow, source_px).norm(dim=2).mean(dim=(-2, -1)).double()  # (B, P)
    seconds = gaps_s.double().clamp(min=0)
    total_px = (ways_px * (seconds > 0)).sum(dim=1)
    px_per_s: torch.Tensor = total_px / seconds.sum(dim=1).clamp(min=1e-9)
    return px_per_s.float()


def descriptor(flow: "torch.Tensor", gaps_s: "torch.Tensor", source_px: "torch.Tensor") -> "torch.Tensor":
    """Arguments as of `motion_px` -> (B, 288) float32 of length 1: halves, then rows, columns and bins of each."""
    import torch

    diagonal_px = source_px.double().norm(dim=1).float()[:, None, None, None, None]
    parts = to_source(flow, source_px) / diagonal_px
    rows: list[torch.Tensor] = []
    # One clip at a time: the votes take four times the memory of the flow.
    for part, gap_s, weight in zip(parts, gaps_s, in_halves(gaps_s), strict=True):
        speed = part / gap_s.float().clamp(min=1e-9)[:, None, None, None]
        cells = torch.nn.functional.adaptive_avg_pool2d(votes(speed), GRID)  # (P, BINS, GRID, GRID)
        both = (weight[:, :, None, None, None] * cells[:, None]).sum(dim=0)  # (HALVES, BINS, GRID, GRID)
        rows.append(both.permute(0, 2, 3, 1).flatten())
    shares = torch.stack(rows) if rows else flow.new_zeros(0, DIM)
    return (_still_without_time(shares, gaps_s) / (HALVES * GRID * GRID)).sqrt()


def votes(speed: "torch.Tensor") -> "torch.Tensor":
    """(N, 2, H, W) diagonals per second -> (N, BINS, H, W), what each pixel votes for; the sum over bins is 1.

    With direction k at k * 45 degrees, clockwise on the screen from the right: 0.05 to the right is half a vote for
    direction 0 and half for `still`; 0.05 at 22.5 degrees, a quarter each for 0 and 1 and half for `still`.
    """
    import math

    import torch

    length = speed.norm(dim=1, keepdim=True)  # (N, 1, H, W)
    moving = length / (length + HALF_SPEED)
    angle = torch.atan2(speed[:, 1:], speed[:, :1]) * (DIRECTIONS / (2 * math.pi))  # in bins, -4..4
    bins = torch.arange(DIRECTIONS, device=speed.device, dtype=speed.dtype).view(1, -1, 1, 1)
    off = ((angle - bins + DIRECTIONS / 2) % DIRECTIONS - DIRECTIONS / 2).abs()  # the short way round
    return torch.cat([moving * (1 - off).clamp(min=0), 1 - moving], dim=1)


def in_halves(gaps_s: "torch.Tensor") -> "torch.Tensor":
    """(B, P) -> (B, P, HALVES) float32: which share of each half of the clip's time is each pair; a pair across the middle
    is in both. Sums over P are 1, or 0 for a clip without time.

    0.1 0.1 0.1 -> [2/3 0] [1/3 1/3] [0 2/3]
    """
    import torch

    seconds = gaps_s.double().clamp(min=0)
    ends = seconds.cumsum(dim=1)
    begins, half_s = ends - seconds, ends[:, -1:] / HALVES if seconds.shape[1] else seconds.new_zeros(len(seconds), 1)
    shares = [
        (torch.minimum(ends, (half + 1) * half_s) - torch.maximum(begins, half * half_s)).clamp(min=0)
        for half in range(HALVES)
    ]
    return (torch.stack(shares, dim=-1) / half_s[..., None].clamp(min=1e-9)).float()


def to_source(flow: "torch.Tensor", source_px: "torch.Tensor") -> "torch.Tensor":
    """(B, P, 2, H, W) in pixels of the squashed picture -> in pixels of the source, (B, 2) height and width."""
    height, width = flow.shape[-2:]
    scale = source_px.flip(1).float() / source_px.new_tensor([width, height])  # (B, 2) of x and y
    return flow.float() * scale[:, None, :, None, None]


def _still_without_time(shares: "torch.Tensor", gaps_s: "torch.Tensor") -> "torch.Tensor":
    """(B, DIM), all votes for `still` where a clip has no time."""
    import torch

    still = torch.zeros_like(shares).view(-1, HALVES * GRID * GRID, BINS)
    still[..., -1] = 1
    return torch.where((gaps_s > 0).any(dim=1, keepdim=True), shares, still.flatten(1))
