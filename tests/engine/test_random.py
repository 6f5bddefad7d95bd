"""The generator without PyTorch: known first numbers, exact restore, clear errors."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest

from tinygrad_lm.engine.random import generator
from tinygrad_lm.engine.random.generator import Generator
from tinygrad_lm.engine.random.philox import philox

WEIGHTS = np.float32([0.1, 0.2, 0.7])
# what PyTorch 2.13.0 draws first after manual_seed(1337)
KNOWN = {
    "rand": (lambda g: g.uniform((3,)), [0.07831710577, 0.495616734, 0.623098135]),
    "rand, float64": (
        lambda g: g.uniform((2,), dtype=np.float64),
        [0.6265371134423031, 0.9847851813257451],
    ),
    "randn(3)": (lambda g: g.normal((3,)), [-2.025992155, -2.065508842, -1.205362797]),
    "randn(17)": (
        lambda g: g.normal((17,))[[0, 1, 15, 16]],
        [0.1807715893, -0.1396416724, 2.5085868835, 0.1661822349],
    ),
    "randint": (lambda g: g.integers(0, 65, (6,)), [35, 22, 7, 50, 35, 63]),
    "randperm": (lambda g: g.permutation(8), [7, 4, 1, 3, 0, 6, 2, 5]),
    "exponential_": (lambda g: g.exponential((3,)), [0.9849366546, 4.185485363, 0.9240891337]),
    "bernoulli_": (lambda g: g.bernoulli(0.3, (8,)), [0, 0, 0, 0, 0, 0, 0, 1]),
    "bernoulli": (
        lambda g: g.bernoulli_each(np.full(8, 0.3, np.float32)),
        [1, 0, 0, 0, 1, 1, 0, 0],
    ),
    "multinomial": (lambda g: g.multinomial(WEIGHTS, 2), [2, 0]),
    "multinomial with replacement": (lambda g: g.multinomial(WEIGHTS, 6, True), [2] * 6),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_first_draws(name):
    draw, known = KNOWN[name]
    np.testing.assert_allclose(draw(Generator().manual_seed(1337)), known, rtol=1e-6)


EVERYTHING = {
    "uniform": lambda g: g.uniform((2, 5)),
    "normal": lambda g: g.normal((20,)),
    "few normals": lambda g: g.normal((3,)),
    "integers": lambda g: g.integers(0, 2**40, (4,)),
    "permutation": lambda g: g.permutation(9),
    "bernoulli": lambda g: g.bernoulli(0.5, (9,)),
    "multinomial": lambda g: g.multinomial(WEIGHTS, 5, True),
}


def draws(g):
    return {name: draw(g).tolist() for name, draw in EVERYTHING.items()}


@pytest.mark.parametrize("before", [0, 1, 2, 700])
def test_restore_is_exact_with_half_a_normal_pair_waiting(before):
    g = Generator().manual_seed(5)
    g.uniform((before,))
    g.normal((1,))
    state = g.get_state()
    assert state.dtype == np.uint8 and state.ndim == 1
    expected = draws(g)
    other = Generator().manual_seed(6)
    other.normal((3,))
    other.set_state(state)
    assert draws(other) == expected and other.initial_seed() == 5
    g.set_state(state)  # the saved bytes are not the generator's own
    assert draws(g) == expected


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
def test_a_copy_goes_on_alone(travel):
    g = Generator().manual_seed(5)
    g.normal((1,))
    twin = travel(g)
    assert draws(twin) == draws(g)


@pytest.mark.parametrize("name", ["uniform", "normal", "integers", "bernoulli", "exponential"])
def test_a_shape_without_elements_draws_nothing(name):
    first = {"integers": (0, 5), "bernoulli": (0.5,)}.get(name, ())
    g = Generator().manual_seed(5)
    g.normal((1,))
    state = g.get_state()
    assert getattr(g, name)(*first, (3, 0)).shape == (3, 0)
    assert g.get_state().tolist() == state.tolist()


def test_a_scalar_shape():
    assert Generator().uniform(()).shape == () and Generator().normal(()).shape == ()


def test_a_large_mask_needs_little_scratch():
    """1e7 values of one byte each; drawn at once they would need 160 MB of 64-bit words."""
    g = Generator()
    tracemalloc.start()
    g.bernoulli(0.8, (10**7,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6


def test_bernoulli_compares_all_53_bits():
    u = float(Generator().uniform((1,), dtype=np.float64)[0])
    assert not Generator().bernoulli(u, (1,))
    assert Generator().bernoulli(u + 2.0**-53, (1,))


def test_permutation_is_the_loop_it_replaces():
    n = 500
    words = np.random.RandomState(9).randint(0, 2**32, size=n - 1, dtype=np.uint32)
    expected = list(range(n))
    for i, word in enumerate(words.tolist()):
        j = i + word % (n - i)
        expected[i], expected[j] = expected[j], expected[i]
    assert Generator().manual_seed(9).permutation(n).tolist() == expected


def test_multinomial_never_takes_a_category_of_weight_zero():
    weights = np.float32([[0, 1, 0, 3, 0], [2, 0, 0, 0, 1]])
    for samples, replacement in [(1, False), (2, False), (200, True)]:
        found = Generator().multinomial(weights, samples, replacement)
        assert found.shape == (2, samples)
        assert (np.take_along_axis(weights, found, 1) > 0).all()


def test_the_module_has_a_default_generator():
    assert generator.manual_seed(3) is generator.default_generator
    assert generator.initial_seed() == 3
    first = generator.default_generator.uniform((4,)).tolist()
    assert generator.manual_seed(3).uniform((4,)).tolist() == first
    assert generator.seed() == generator.initial_seed() != 3


ERRORS = {
    "another device": (lambda g: Generator("tpu"), r"\[device\] .*'tpu'"),
    "a foreign state": (lambda g: g.set_state(np.zeros(5056, np.uint8)), r"\[set_state\] .*5056"),
    "a state of noise": (
        lambda g: g.set_state(np.full_like(g.get_state(), 255)),
        r"\[set_state\] .*at most 624",
    ),
    "a state of zeros": (lambda g: g.set_state(g.get_state() * 0), r"\[set_state\] .*other bytes"),
    "a state of floats": (lambda g: g.set_state(g.get_state() * 1.0), r"\[set_state\] .*float64"),
    "bounds that cross": (lambda g: g.uniform((2,), 2, 1), r"\[uniform\] .*2, 1"),
    "an infinite bound": (lambda g: g.uniform((2,), 0, np.inf), r"\[uniform\] .*inf"),
    "a negative std": (lambda g: g.normal((2,), 0, -1), r"\[normal\] .*-1"),
    "an empty range": (lambda g: g.integers(3, 3, (2,)), r"\[randint\] .*3 and 3"),
    "a narrow dtype": (lambda g: g.integers(0, 300, (2,), np.uint8), r"\[randint\] uint8 .*300"),
    "a negative length": (lambda g: g.permutation(-1), r"\[randperm\] .*-1"),
    "a rate of zero": (lambda g: g.exponential((2,), 0), r"\[exponential\] .*0"),
    "no probability": (lambda g: g.bernoulli(1.5, (2,)), r"\[bernoulli\] .*1\.5"),
    "not a number": (lambda g: g.bernoulli_each(np.array([np.nan])), r"\[bernoulli\] every p"),
    "too many samples": (lambda g: g.multinomial(WEIGHTS, 4), r"\[multinomial\] .*4 > 3"),
    "weights below zero": (lambda g: g.multinomial(-WEIGHTS, 1), r"\[multinomial\] .*inf"),
    "weights all zero": (lambda g: g.multinomial(WEIGHTS * 0, 1), r"\[multinomial\] .*sum"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_must_hold_and_draw_nothing(case):
    call, message = ERRORS[case]
    g = Generator()
    with pytest.raises(RuntimeError, match=message):
        call(g)
    assert g.get_state().tolist() == Generator().get_state().tolist()


def test_a_seed_that_does_not_fit():
    with pytest.raises(ValueError, match=r"\[manual_seed\] .*18446744073709551616"):
        Generator().manual_seed(2**64)


@pytest.mark.parametrize(
    "counter, key, words",
    [  # tests/kat_vectors of Random123, "philox4x32 10"
        (
            "00000000 00000000 00000000 00000000",
            "00000000 00000000",
            "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        ),
        (
            "ffffffff ffffffff ffffffff ffffffff",
            "ffffffff ffffffff",
            "408f276d 41c83b0e a20bc7c6 6d5451fd",
        ),
        (
            "243f6a88 85a308d3 13198a2e 03707344",
            "a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_its_known_answers(counter, key, words):
    counter, key = (np.array([int(x, 16) for x in t.split()], np.uint64) for t in (counter, key))
    found = philox(counter[None], key)[0]
    assert " ".join(f"{x:08x}" for x in found) == words


@pytest.mark.parametrize("words", [0, 1, 2, 623, 624, 625, 5000, 2**20, 2**21 + 3])
def test_words_that_are_skipped_are_counted_and_lie_behind(words):
    skipping, drawing = (Generator().manual_seed(5) for _ in range(2))
    for each in (skipping, drawing):
        each.normal((3,))  # half of a pair waits
    before = skipping.get_state()
    skipping.skip(words)
    drawing._words(words, np.uint32)
    assert np.array_equal(skipping.get_state(), drawing.get_state())
    assert skipping.drawn_since(before) == words
