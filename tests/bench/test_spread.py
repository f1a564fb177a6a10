"""Figures of several rounds as one."""

from bench.performance.spread import ratios, spread

SAMPLES = [
    {"tool": "ours", "round": 0, "wall": 1.0},
    {"tool": "peer", "round": 0, "wall": 4.0},
    {"tool": "peer", "round": 1, "wall": 30.0},
    {"tool": "ours", "round": 1, "wall": 10.0},
    {"tool": "ours", "round": 2, "wall": 2.0},
    {"tool": "peer", "round": 2, "wall": 10.0},
    {"tool": "peer", "round": 3, "wall": 99.0},
]


def test_a_ratio_is_of_two_figures_of_the_same_round() -> None:
    found = ratios(SAMPLES, "peer", "ours", "wall")
    assert found is not None
    assert (found.low, found.middle, found.high, found.count) == (3.0, 4.0, 5.0, 3)


def test_tools_that_never_met_have_no_ratio() -> None:
    assert ratios(SAMPLES, "peer", "another", "wall") is None
    assert spread([]) is None


def test_a_spread_says_its_ends_and_a_single_figure_is_alone() -> None:
    three, one = spread([2.0, 1.0, 4.0]), spread([0.04])
    assert three is not None
    assert one is not None
    assert three.text() == "2.00 (1.00 to 4.00)"
    assert one.text() == "0.040"
