"""Which clip lies over a frame."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.heads.join import clips_over


def test_by_hand() -> None:
    start_s, end_s = np.array([0.0, 4.0, 8.0, 20.0]), np.array([8.0, 12.0, 16.0, 22.0])
    # 0: only the first; 5: middles 4 and 8; 7: 8 is nearer; 16: a gap; 22: half open
    times_s = np.array([0.0, 5.0, 7.0, 15.9, 16.0, 21.0, 22.0])
    assert clips_over(times_s, start_s, end_s).tolist() == [0, 0, 1, 2, -1, 3, -1]
    assert clips_over(times_s, start_s[:0], end_s[:0]).tolist() == [-1] * 7


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0.1, 20)), min_size=1, max_size=12),
    st.lists(st.floats(0, 80), min_size=1, max_size=20),
)
def test_is_the_plain_search(spans: list[tuple[float, float]], times: list[float]) -> None:
    spans = sorted(spans)
    start_s, end_s = np.array([s for s, _ in spans]), np.array([s + length for s, length in spans])
    for time_s, got in zip(times, clips_over(np.array(times), start_s, end_s), strict=True):
        over = [i for i in range(len(spans)) if start_s[i] <= time_s < end_s[i]]
        distance = {i: abs(time_s - (start_s[i] + end_s[i]) / 2) for i in over}
        assert (got == -1) if not over else distance[int(got)] == min(distance.values())
