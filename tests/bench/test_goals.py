"""Which peers are ahead on the curve of size against time."""

from bench.performance.goals import Point, ahead, level_points


def test_a_peer_is_ahead_where_no_point_of_offtake_is_as_fast_and_as_small() -> None:
    ours = [Point("offtake", 1, 1.0, 60), Point("offtake", 5, 2.0, 48)]
    faster, smaller, between = Point("a", 1, 0.9, 80), Point("b", 9, 9.0, 40), Point("b", 3, 1.5, 50)
    beaten = [Point("a", 3, 1.0, 60), Point("a", 6, 2.1, 48), Point("c", None, 3.0, 90)]
    assert ahead([*ours, *beaten]) == []
    assert ahead([faster, *ours, *beaten, smaller, between]) == [faster, smaller, between]


def test_points_are_the_medians_of_all_rounds() -> None:
    samples = [
        {"tool": "a", "level": level, "wall": wall, "bytes": wall * 10}
        for level, walls in ((1, (3.0, 1.0, 2.0)), (None, (5.0,)))
        for wall in walls
    ]
    assert level_points(samples) == [Point("a", 1, 2.0, 20), Point("a", None, 5.0, 50)]
