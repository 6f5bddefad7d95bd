"""torch.nn.utils and torch.nn.init against PyTorch: weights computed from others in all forms,
clipping under its former names, first values under theirs."""

import warnings

import numpy as np
import pytest

import tinygrad_lm as tg

torch = pytest.importorskip("torch")
from parity import BOTH  # noqa: E402
from test_parity_nn_layers import close, inputs_of, pull_back, same_place  # noqa: E402

FORMS = {  # what is done to a Linear(4, 5)
    "weight_norm": lambda m, u: u.parametrizations.weight_norm(m),
    "weight_norm of columns": lambda m, u: u.parametrizations.weight_norm(m, "weight", 1),
    "weight_norm of all": lambda m, u: u.parametrizations.weight_norm(m, dim=None),
    "spectral_norm": lambda m, u: u.parametrizations.spectral_norm(m, n_power_iterations=2),
    "spectral_norm of columns": lambda m, u: u.parametrizations.spectral_norm(m, dim=1),
    "spectral_norm of a vector": lambda m, u: u.parametrizations.spectral_norm(m, "bias"),
    "former weight_norm": lambda m, u: u.weight_norm(m),
    "former weight_norm of columns": lambda m, u: u.weight_norm(m, "weight", 1),
    "former weight_norm of all": lambda m, u: u.weight_norm(m, dim=None),
    "former spectral_norm": lambda m, u: u.spectral_norm(m, n_power_iterations=2),
    "former spectral_norm of columns": lambda m, u: u.spectral_norm(m, dim=1),
    "both": lambda m, u: u.parametrizations.spectral_norm(u.parametrizations.weight_norm(m)),
}
BACK = {  # how that is taken off again
    "weight_norm": lambda m, u: u.parametrize.remove_parametrizations(m, "weight"),
    "spectral_norm": lambda m, u: u.parametrize.remove_parametrizations(m, "weight"),
    "former weight_norm": lambda m, u: u.remove_weight_norm(m),
    "former spectral_norm": lambda m, u: u.remove_spectral_norm(m),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMS)
def test_a_weight_computed_from_others(name):
    found = []
    for library in BOTH:
        library.manual_seed(6)
        m = library.nn.Linear(4, 5)
        assert FORMS[name](m, library.nn.utils) is m
        shown = [repr(m), type(m).__name__, list(m.state_dict())]
        first = {key: value.clone() for key, value in m.state_dict().items()}
        outputs = []
        for training in (True, True, False):
            (x,) = inputs_of(library, [(3, 4)])
            m.train(training)
            outputs.append(m(x))
            pull_back(outputs[-1:])
        parts = {key: p.grad for key, p in m.named_parameters()}
        values = [*outputs, *first.values(), *parts.values(), *m.state_dict().values()]
        shown.append(list(parts))
        if name in BACK:
            BACK[name](m, library.nn.utils)
            shown += [repr(m), type(m).__name__, list(m.state_dict())]
            values += [m.weight, m(x)]
        found.append((shown, values))
    same_place()
    assert found[1][0] == found[0][0]
    for theirs, mine in zip(found[0][1], found[1][1], strict=True):
        close(mine, theirs, tolerance=3e-6)


@pytest.mark.filterwarnings("ignore")
def test_a_state_of_the_former_form_is_loaded():
    found = []
    for library in BOTH:
        library.manual_seed(1)
        old = library.nn.utils.weight_norm(library.nn.Linear(3, 2))
        new = library.nn.utils.parametrizations.weight_norm(library.nn.Linear(3, 2))
        assert repr(new.load_state_dict(old.state_dict())) == "<All keys matched successfully>"
        found.append(new.weight)
    close(found[1], found[0])


def functions_of(library):
    """Parametrizations of a user: symmetric, doubled (with a way back), split in two."""
    nn = library.nn

    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).transpose(-1, -2)

    class Doubled(nn.Module):
        def forward(self, x):
            return 2 * x

        def right_inverse(self, x):
            return x / 2

    class Split(nn.Module):
        def forward(self, x, y):
            return x + y

        def right_inverse(self, z):
            return z * 0.25, z * 0.75

    class Reshaped(nn.Module):
        def forward(self, x):
            return x.flatten()

    return Symmetric, Doubled, Split, Reshaped


def test_parametrizations_of_a_user():
    found = []
    for library in BOTH:
        library.manual_seed(1)
        Symmetric, Doubled, Split, _ = functions_of(library)
        tools = library.nn.utils.parametrize
        m = library.nn.Linear(3, 3)
        m.register_buffer("scale", library.ones(2))
        weight = m.weight
        tools.register_parametrization(m, "weight", Symmetric())
        tools.register_parametrization(m, "weight", Doubled())
        tools.register_parametrization(m, "bias", Split())
        tools.register_parametrization(m, "scale", Doubled())
        assert m.parametrizations.weight.original is weight
        assert tools.is_parametrized(m, "weight") and tools.is_parametrized(m)
        assert tools.type_before_parametrizations(m) is library.nn.Linear
        assert not tools.is_parametrized(m, "other") and not tools.is_parametrized(
            library.nn.ReLU()
        )
        with tools.cached():
            assert m.weight is m.weight
        assert m.weight is not m.weight
        m.bias = library.ones(3)
        m.scale = library.full((2,), 4.0)
        pull_back([m(library.ones(2, 3)), m.scale * m.bias[:2]])
        values = [m.weight, m.bias, m.scale, *m.state_dict().values()]
        values += [p.grad for p in m.parameters()]
        shown = [repr(m), [*m.state_dict()], [n for n, _ in m.named_parameters()]]
        tools.remove_parametrizations(m, "weight", leave_parametrized=False)
        tools.remove_parametrizations(m, "bias")
        assert m.weight is weight
        tools.remove_parametrizations(m, "scale")
        values += [m.weight, m.bias, m.scale]
        shown += [repr(m), [*m.state_dict()], type(m).__name__, type(m.bias).__name__]
        found.append((shown, values))
    assert found[1][0] == found[0][0]
    for theirs, mine in zip(found[0][1], found[1][1], strict=True):
        close(mine, theirs)


def wrong(library, name):
    """A line with a mistake in it."""
    Symmetric, _, Split, Reshaped = functions_of(library)
    m, utils = library.nn.Linear(3, 3), library.nn.utils
    tools = utils.parametrize
    tools.register_parametrization(m, "bias", Split())
    {
        "no such tensor": lambda: tools.register_parametrization(m, "w", Symmetric()),
        "another shape": lambda: tools.register_parametrization(m, "weight", Reshaped()),
        "left as it was": lambda: tools.remove_parametrizations(m, "bias", False),
        "not parametrized": lambda: tools.remove_parametrizations(m, "weight"),
        "no way back": lambda: setattr(
            tools.register_parametrization(m, "weight", Symmetric()), "weight", library.ones(3, 3)
        ),
        "no weight norm": lambda: utils.remove_weight_norm(m),
        "no spectral norm": lambda: utils.remove_spectral_norm(m),
        "twice": lambda: utils.weight_norm(utils.weight_norm(m)),
        "no iteration": lambda: utils.spectral_norm(m, n_power_iterations=0),
        "no iteration of today": lambda: utils.parametrizations.spectral_norm(
            m, n_power_iterations=0
        ),
        "no such dim": lambda: utils.parametrizations.spectral_norm(m, dim=2),
        "nothing to normalize": lambda: utils.parametrizations.spectral_norm(m, "w"),
        "no module": lambda: utils.skip_init(int),
        "no device": lambda: utils.skip_init(library.nn.ReLU),
        "no vector": lambda: utils.vector_to_parameters([1.0], m.parameters()),
    }[name]()


WRONG = """no such tensor, another shape, left as it was, not parametrized, no way back,
no weight norm, no spectral norm, twice, no iteration, no iteration of today, no such dim,
nothing to normalize, no module, no device, no vector"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WRONG.replace("\n", " ").split(", "))
def test_mistakes(name):
    with pytest.raises(Exception) as want:
        wrong(torch, name)
    with pytest.raises(want.type, match=r"^\["):
        wrong(tg, name)


def test_former_and_other_names_of_clipping():
    found = []
    for library in BOTH:
        utils, inputs = library.nn.utils, inputs_of(library, [(3, 2), (4,)])
        pull_back(inputs)
        norm = utils.get_total_norm([x.grad for x in inputs])
        utils.clip_grads_with_norm_(inputs, 1.5, norm)
        with pytest.warns(FutureWarning):
            again = utils.clip_grad_norm(inputs, 0.5)
        found.append([norm, again, *(x.grad for x in inputs)])
    for theirs, mine in zip(*found):
        close(mine, theirs)


def test_nothing_is_drawn_for_a_module_to_be_loaded():
    for library in BOTH:
        library.manual_seed(0)
        m = library.nn.utils.skip_init(library.nn.Linear, 3, 4, bias=False)
        assert type(m) is library.nn.Linear and m.weight.shape == (4, 3) and m.bias is None
    same_place()


FIRST = {  # name -> (arguments, shape)
    "sparse_": ((0.4, 0.5), (7, 3)),
    "orthogonal_": ((), (0, 3)),
    "kaiming_uniform_": ((0, "FAN_OUT"), (3, 4, 2)),
    "kaiming_normal_": ((), (0, 4)),
    "eye_": ((), (3, 5)),
}
FORMER = """uniform normal constant eye xavier_uniform xavier_normal kaiming_uniform kaiming_normal
orthogonal sparse"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FIRST)
def test_other_first_values(name):
    found = []
    arguments, shape = FIRST[name]
    for library in BOTH:
        library.manual_seed(4)
        found.append(getattr(library.nn.init, name)(library.empty(shape), *arguments))
    close(found[1], found[0])
    same_place()


@pytest.mark.parametrize("name", FORMER.split())
def test_former_names_of_first_values(name):
    found = []
    for library in BOTH:
        library.manual_seed(4)
        more = {"constant": (3.0,), "sparse": (0.5,)}.get(name, ())
        with pytest.warns(FutureWarning, match="init" if library is torch else name + "_"):
            found.append(getattr(library.nn.init, name)(library.empty(4, 5), *more))
    close(found[1], found[0], tolerance=3e-6)


GENERATED = """uniform_ normal_ xavier_uniform_ xavier_normal_ kaiming_uniform_ kaiming_normal_
trunc_normal_ orthogonal_"""


@pytest.mark.parametrize("name", GENERATED.split())
def test_first_values_from_a_generator(name):
    found = []
    for library in BOTH:
        library.manual_seed(4)
        generator = library.Generator().manual_seed(9)
        x = getattr(library.nn.init, name)(library.empty(4, 5), generator=generator)
        found.append([x, library.rand(2, generator=generator), library.rand(2)])
    for theirs, mine in zip(*found):
        close(mine, theirs, tolerance=3e-6)


def test_gains_and_fans():
    for name in ("conv1d", "conv_transpose3d", "linear", "selu"):
        ours, theirs = (library.nn.init.calculate_gain(name) for library in BOTH)
        assert ours == theirs
    for library in BOTH:
        init, x = library.nn.init, library.empty(3, 4, 5)
        assert init._calculate_fan_in_and_fan_out(x) == (20, 15)
        assert init._calculate_correct_fan(x, "fan_out") == 15
        for call in (
            lambda: init._calculate_correct_fan(x, "fan"),  # noqa: B023
            lambda: init._calculate_fan_in_and_fan_out(x[0, 0]),  # noqa: B023
            lambda: init.calculate_gain("leaky_relu", "a"),  # noqa: B023
            lambda: init.sparse_(x, 0.5),  # noqa: B023
            lambda: init.orthogonal_(x[0, 0]),  # noqa: B023
        ):
            with pytest.raises(ValueError):
                call()


def test_one_process_is_in_step():
    for library in BOTH:
        m = library.nn.Sequential(library.nn.Linear(2, 3))
        assert library.nn.SyncBatchNorm.convert_sync_batchnorm(m) is m
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole = library.nn.DataParallel(m)
        assert [name for name, _ in whole.named_parameters()][0] == "module.0.weight"
        x = library.tensor(np.ones((4, 2), np.float32))
        assert whole(x).tolist() == m(x).tolist()
