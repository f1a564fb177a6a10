"""The sample of a matrix leaves no value out."""

from itertools import product
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.matrix import sample, share
from tests.slow_modules import SLOW


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.data())
def test_every_value_of_every_parameter_is_in_the_sample(sizes: list[int], data: st.DataObject) -> None:
    whole = list(product(*(range(size) for size in sizes)))
    some = data.draw(st.lists(st.sampled_from(whole), unique=True))
    for combinations in (whole, some):
        chosen = sample(combinations)
        assert chosen <= set(combinations)
        for at in range(len(sizes)):
            assert {one[at] for one in chosen} == {one[at] for one in combinations}


def test_each_value_of_the_longest_parameter_is_there_once() -> None:
    points = [(store, point) for store in "sp" for point in range(16)]
    assert len(sample(points)) == 16
    assert {store for store, _ in sample(points)} == {"s", "p"}


def test_a_share_of_a_sample_differs_from_test_to_test_and_is_never_empty() -> None:
    cases = list(range(12))
    shares = [share(f"test_{number}", cases, 3) for number in range(50)]
    assert {len(one) for one in shares} == {4}
    assert set().union(*map(set, shares)) == set(cases)
    assert share("test", ["only"], 5) == ["only"]


def test_the_slow_modules_exist() -> None:
    assert [module for module in SLOW if not Path(__file__).parents[1].joinpath(module).is_file()] == []
