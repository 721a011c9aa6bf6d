"""The planner on packets made by hand and by chance: it keeps what wanted pictures depend on, and knows who is wanted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nightreel.extract.decode import plan
from nightreel.extract.decode.packets.facts import PacketFacts, Uncertain
from nightreel.extract.decode.plan import Planned, Planner
from nightreel.extract.sample import Clock, Grid, sample

TICKS = 4  # per second
KINDS = {
    "I": PacketFacts(cut=True),
    "i": PacketFacts(),  # a key frame of an open GOP
    "P": PacketFacts(),
    "b": PacketFacts(reference=False),
    "h": PacketFacts(shown=False),  # hidden
    "L": PacketFacts(lasting=True),
    "t": PacketFacts(layer=1),
    "d": PacketFacts(reference=False, layer=1),
}


def planner(rates: Sequence[float], end_s: float | None = None, **how: object) -> Planner[int]:
    return Planner([Grid(rate) for rate in rates], end_s, lambda stamp: stamp / TICKS, Clock(), **how)  # type: ignore[arg-type]


def run(made: Planner[int], items: Sequence[Planned[int]], dts: Sequence[int | None]) -> list[Planned[int]]:
    done = [step for item, at in zip(items, dts, strict=True) for step in made.add(item, at)]
    return [*done, *made.finish()]


def kept(kinds: str, stamps: Sequence[int], rates: Sequence[float] = (1,), **how: object) -> str:
    """Kinds of packets in decoding order, and their ticks; what is not sent becomes a dash."""
    shown = [None if kind == "h" else stamp for kind, stamp in zip(kinds, stamps, strict=True)]
    items = [Planned(i, stamp, KINDS[kind]) for i, (kind, stamp) in enumerate(zip(kinds, shown, strict=True))]
    run(planner(rates, **how), items, [i - 4 for i in range(len(items))])
    return "".join(kind if item.keep else "-" for kind, item in zip(kinds, items, strict=True))


@pytest.mark.parametrize(
    ("kinds", "stamps", "sent"),
    [
        ("IPPPPPPP", range(8), "IPPPP---"),  # wanted: 0 and 4; nothing behind the last wanted
        ("IPbbPbb", (0, 3, 1, 2, 6, 4, 5), "IP--Pb-"),  # 0 and 4, which is a b
        ("IPPPIPPP", range(8), "I---I---"),  # a cut: nothing of the first second is needed beyond its first
        ("IPPPiPPP", range(8), "IPPPi---"),  # an open GOP's key frame is none
        ("IPPPIPPPP", (0, 1, 2, 3, 4, 5, 6, 7, 8), "I---IPPPP"),
        ("IhPPPPPP", (0, 9, 1, 2, 3, 4, 5, 6), "IhPPPP--"),  # hidden ones may be referred to
        ("IPPLIPPP", range(8), "IPPLI---"),  # parameter sets outlive the cut
        ("ItdPtdPt", range(8), "It-Pt---"),  # 4, a t: needs what its layer refers to
        ("IdbdPtdP", range(8), "I---P---"),  # a lower layer needs no higher
        ("ItdPtPtP", (0, 1, 2, 3, 5, 4, 6, 7), "I--P-P--"),
        ("IPbdPbdd", (0, 2, 1, 3, 6, 5, 4, 7), "IPb-Pbd-"),  # layer 0 that is no reference serves layer 1
    ],
)
def test_worked_examples(kinds: str, stamps: Sequence[int], sent: str) -> None:
    assert kept(kinds, stamps) == sent


def test_masks_and_the_last_picture() -> None:
    items = [Planned(i, i, KINDS["P"]) for i in range(9)]
    run(planner([1, 2], 3.0), items, range(9))
    assert [item.mask for item in items] == [3, 0, 2, 0, 3, 0, 2, 0, 3]


def test_key_frames_stand_alone() -> None:
    items = [Planned(i, i, KINDS[kind], candidate=kind in "Ii") for i, kind in enumerate("IPPPPPiPIPIPP")]
    done = run(planner([1], 3.5, standalone=True), items, range(13))
    assert [item.packet for item in done if item.mask] == [0, 8, 10]  # the last not after 0, 1, 2 and 3 s
    assert [item.packet for item in done if item.keep] == [0, 6, 8, 10]  # 6 is no cut: who knows


@pytest.mark.parametrize(
    ("stamps", "dts", "why"),
    [
        ((0, 1, 1), (0, 1, 2), "go back|before it is decoded"),
        ((0, 3, 3), (-4, -3, -2), "same time"),
        ((0, 1, 2), (0, 1, 1), "do not increase"),
        ((0, 2, 1), (0, 1, 2), "before it is decoded"),
        ((0, 4, 3), (0, 4, None), "go back"),
        ((0, 8, 7, 6, 5), (-9, -8, -7, -6, -5), "reordered more"),
    ],
)
def test_times_that_contradict_are_uncertain(stamps: Sequence[int], dts: Sequence[int | None], why: str) -> None:
    with pytest.raises(Uncertain, match=why):
        run(planner([1], reorder=2), [Planned(i, stamp, KINDS["P"]) for i, stamp in enumerate(stamps)], dts)


def test_times_that_never_settle_are_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MOST_PACKETS", 10)
    with pytest.raises(Uncertain, match="do not settle"):
        run(planner([1]), [Planned(i, i, KINDS["P"]) for i in range(12)], [None] * 12)


def test_bytes_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MOST_BYTES", 1000)
    made = planner([1])
    done = [step for i in range(50) for step in made.add(Planned(i, i, KINDS["P"], size=300), i)]
    assert [step.packet for step in done] == list(range(47))
    assert all(step.keep for step in done)  # nothing yet proves that they are not needed


# --- by chance ---


@dataclass
class Film:
    """Packets in decoding order with what each really depends on."""

    facts: list[PacketFacts] = field(default_factory=list)
    depends: list[set[int]] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)

    def items(self) -> list[Planned[int]]:
        pairs = zip(self.stamps, self.facts, strict=True)
        return [Planned(i, stamp if facts.shown else None, facts, 1) for i, (stamp, facts) in enumerate(pairs)]


@st.composite
def films(draw: st.DrawFn) -> Film:
    """Coded video sequences of random length; a picture depends on any earlier one of its sequence that it may."""
    film, layers = Film(), draw(st.sampled_from([1, 1, 3]))
    for _ in range(draw(st.integers(1, 5))):
        begin = len(film.facts)
        for at in range(draw(st.integers(1, 14))):
            cut = at == 0
            layer = 0 if cut else draw(st.integers(0, layers - 1))
            facts = PacketFacts(cut or draw(st.booleans()), layer, cut, draw(st.integers(0, 9)) > 0)
            allowed = [
                i
                for i in range(begin, len(film.facts))
                if (film.facts[i].layer <= layer if film.facts[i].reference else film.facts[i].layer < layer)
            ]
            film.facts.append(facts)
            film.depends.append(draw(st.sets(st.sampled_from(allowed), max_size=3)) if allowed else set())
        count = len(film.facts) - begin
        for block in range(0, count, 4):
            film.stamps += [begin + block + k for k in draw(st.permutations(range(min(4, count - block))))]
    return film


@settings(max_examples=120, deadline=None)
@given(
    films(), st.lists(st.sampled_from([0.1, 0.3, 1.0, 2.0]), min_size=1, max_size=2), st.booleans(), st.integers(5, 60)
)
def test_what_is_kept_is_closed_and_what_is_wanted_is_right(
    film: Film, rates: list[float], with_end: bool, most: int
) -> None:
    end_s = len(film.stamps) / TICKS if with_end else None
    made, items = planner(rates, end_s, layered=True), film.items()
    before, plan.MOST_PACKETS = plan.MOST_PACKETS, most
    try:
        done = []
        for i, item in enumerate(items):
            done += made.add(item, i - 3)
            assert i + 1 - len(done) <= most  # held
        done += made.finish()
    except Uncertain as doubt:
        assert "do not settle" in str(doubt)
        assume(False)  # that few packets can be too few to know what is wanted
    finally:
        plan.MOST_PACKETS = before
    assert [step.packet for step in done] == list(range(len(items)))  # each once, in decoding order
    sent = {step.packet for step in done if step.keep}
    assert all(film.depends[i] <= sent for i in sent)

    @dataclass
    class At:
        time_s: float
        packet: int

    shown = [At(item.stamp / TICKS, item.packet) for item in items if item.stamp is not None]
    shown.sort(key=lambda at: at.time_s)
    clock = Clock()
    wanted = {at.packet: mask for at, mask in sample(clock.watch(shown), [Grid(rate) for rate in rates], end_s)}
    assert {item.packet: item.mask for item in items if item.mask} == wanted
    assert wanted.keys() <= sent
    assert made._clock == clock


def test_the_property_can_fail() -> None:
    """A planner that forgets layers keeps too little: the rule is needed."""
    assert "b" in kept("IPbdPbdd", (0, 2, 1, 3, 6, 5, 4, 7))
    flat = [Planned(i, s, KINDS[k]) for i, (k, s) in enumerate(zip("IPbbP", (0, 2, 1, 4, 3), strict=True))]
    run(planner([1]), flat, range(-4, 1))
    assert [item.keep for item in flat] == [True, True, False, True, False]
