"""Networks within PyTorch's models: gradients, shared memory, training by PyTorch's optimizers."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.backends import Backend
from gpubp.kernels import ACTIVATIONS

torch = pytest.importorskip("torch", reason="torch is not installed")
nn = torch.nn

KINKED = ("relu", "leaky_relu", "elu", "selu", "hard_sigmoid", "hard_tanh", "hard_swish")
SMOOTH = [name for name in ACTIVATIONS if name not in KINKED]


def network(dtype: str = "float64", **options: Any) -> gpubp.Network:
    made = {"hidden": "tanh", "backend": "numpy", "dtype": dtype, "seed": 0} | options
    net = gpubp.Network((5, 7, 3), **made)
    for layer in net.layers:
        layer.biases = np.linspace(-0.5, 0.5, layer.n_out)
    return net


def batch(dtype: str = "float64", rows: int = 4) -> Any:
    drawn = np.random.default_rng(0).normal(size=(rows, 5)).astype(dtype)
    return torch.from_numpy(drawn).requires_grad_()


@pytest.mark.parametrize("name", SMOOTH)
def test_gradcheck_passes_for_every_smooth_activation(name: str) -> None:
    net = network(output=name, hidden="tanh" if name == "softmax" else name)
    function = gpubp.torch.as_function(net)
    parameters = gpubp.torch.shared_parameters(net).requires_grad_()
    assert torch.autograd.gradcheck(function, (batch(), parameters))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*KINKED, "softmax"])
def test_gradients_are_those_of_pytorchs_own_modules(name: str, dtype: str) -> None:
    net = network(dtype, output=name, hidden="relu" if name == "softmax" else name)
    module, sequential, x = gpubp.torch.Module(net), gpubp.torch.to_module(net), batch(dtype, 50)
    weights = torch.randn(50, 3, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    found, expected = [], []
    for model, gradients in ((module, found), (sequential, expected)):
        x.grad = None
        (model(x) * weights).sum().backward()
        gradients.append(x.grad)
    flat = torch.cat([part.weight.grad.flatten() for part in sequential if hasattr(part, "weight")])
    biases = [part.bias.grad for part in sequential if hasattr(part, "bias")]
    found.append(module.network_parameters.grad)
    expected.append(torch.cat([flat, *biases]))
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    if name == "hard_sigmoid":  # PyTorch's derivative is the float32 nearest to 1/6
        tolerance = max(tolerance, 1e-7)
    for actual, right in zip(found, expected, strict=True):
        torch.testing.assert_close(actual, right, rtol=tolerance, atol=tolerance)


def test_shapes_are_those_of_a_linear_layer() -> None:
    function, linear = gpubp.torch.as_function(network()), nn.Linear(5, 3, dtype=torch.float64)
    for shape in ((5,), (1, 5), (2, 3, 5)):
        x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
        assert function(x).shape == linear(x).shape
        function(x).sum().backward()
        assert x.grad.shape == shape
    transposed = batch().detach().T.contiguous().T
    torch.testing.assert_close(function(transposed), function(transposed.contiguous()))


def test_no_rows_give_no_outputs_and_zero_gradients() -> None:
    module = gpubp.torch.Module(network(dropout=0.5))
    for shape in ((0, 5), (2, 0, 5)):
        x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
        outputs = module(x)
        assert outputs.shape == (*shape[:-1], 3) and outputs.dtype == torch.float64
        module.zero_grad()
        outputs.sum().backward()
        assert x.grad.shape == shape and not module.network_parameters.grad.any()


def test_autocast_leaves_the_network_in_its_dtype() -> None:
    module, linear = gpubp.torch.Module(network("float32")), nn.Linear(4, 5)
    x = torch.ones(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = linear(x)
        outputs = module(hidden)
    assert hidden.dtype == torch.bfloat16 and outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, module(hidden.float()))
    outputs.sum().backward()
    assert linear.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r"^x has dtype bfloat16, expected float32"):
        module(hidden)


def test_the_parameter_of_the_module_is_the_networks_memory() -> None:
    net = network()
    module = gpubp.torch.Module(net)
    (parameter,) = module.parameters()
    assert parameter.data_ptr() == net.parameters.ctypes.data
    assert parameter.shape == net.parameters.shape
    with torch.no_grad():
        parameter[0] = 42
    assert net.layers[0].weights[0, 0] == 42
    net.layers[0].weights[0, 0] = 7
    assert parameter[0] == 7
    assert list(module.state_dict()) == ["network_parameters"]
    assert repr(net) in repr(module)


def model_with(middle: Any) -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), middle, nn.Linear(3, 1)).double()


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_pytorchs_optimizers_train_a_network_in_the_middle_of_a_model(kind: str) -> None:
    """The same model of PyTorch's modules alone takes the same steps."""
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(40, 4)))
    y = torch.sin(x.sum(1, keepdim=True))
    net = network(output="relu")
    begun = net.parameters.copy()
    models = model_with(gpubp.torch.Module(net)), model_with(gpubp.torch.to_module(net))
    losses: list[list[float]] = [[], []]
    for model, taken in zip(models, losses, strict=True):
        optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.05)
        for _ in range(10):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            taken.append(loss.item())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-7)
    assert losses[0][-1] < 0.9 * losses[0][0]
    assert (net.parameters != begun).any()
    np.testing.assert_allclose(net.layers[0].weights, models[1][2][0].weight.detach(), rtol=1e-6)


def test_a_function_may_be_called_again_before_its_backward_pass() -> None:
    function, x = gpubp.torch.as_function(network()), batch()
    twice = function(x).sum() + 2 * function(-x).sum()
    twice.backward()
    found, x.grad = x.grad, None
    function(x).sum().backward()
    (2 * function(-x)).sum().backward()
    torch.testing.assert_close(found, x.grad)


def test_what_pytorch_refuses_it_refuses_here_too() -> None:
    net, x = network(), batch()
    module = gpubp.torch.Module(net)
    (first,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        first.sum().backward()
    outputs = module(x)
    with torch.no_grad():
        module.network_parameters.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()
    with torch.no_grad():
        assert not module(x).requires_grad


def test_gradients_that_are_not_finite_pass_through() -> None:
    """A scaler of gradients looks for them, and then makes no step."""
    x = batch("float32")
    module = gpubp.torch.Module(network("float32"))
    (module(x) * torch.tensor([1, 1, float("inf")])).sum().backward()
    assert not torch.isfinite(module.network_parameters.grad).all()


def test_tensors_on_the_cpu_and_a_network_on_a_device(cuda_backend: Backend) -> None:
    """Only on emulated devices so far. A PyTorch without CUDA cannot share their memory."""
    net, x = network(backend=cuda_backend), batch()
    like = network()
    function = gpubp.torch.as_function(net)
    function(x).sum().backward()
    found, x.grad = x.grad, None
    gpubp.torch.as_function(like)(x).sum().backward()
    torch.testing.assert_close(found, x.grad)
    if not torch.cuda.is_available():
        with pytest.raises(
            ValueError, match=r"^network is on cupy, whose memory this PyTorch cannot"
        ):
            gpubp.torch.Module(net)


def test_threads_take_turns() -> None:
    function, x, found = gpubp.torch.as_function(network()), batch(rows=30).detach(), {}
    expected = torch.autograd.functional.jacobian(lambda x: function(x).sum(0), x)

    def work(number: int) -> None:
        for _ in range(20):
            found[number] = torch.autograd.functional.jacobian(lambda x: function(x).sum(0), x)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        torch.testing.assert_close(found[number], expected)


def test_a_function_is_pickled_with_its_network() -> None:
    function, x = gpubp.torch.as_function(network()), batch()
    other = pickle.loads(pickle.dumps(function))
    torch.testing.assert_close(other(x), function(x))
    assert repr(other) == repr(function)
    other.network.parameters *= 2
    assert not torch.allclose(other(x), function(x))


def test_copies_and_pickles_have_a_network_of_their_own() -> None:
    module = gpubp.torch.Module(network())
    module.network_parameters.requires_grad_(False)
    x = batch()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(other(x), module(x))
        assert other.network_parameters.data_ptr() == other.network.parameters.ctypes.data
        assert not other.network_parameters.requires_grad
        other.network.parameters *= 2
        assert not torch.allclose(other(x), module(x))
        other.load_state_dict(module.state_dict())
        torch.testing.assert_close(other(x), module(x))


def test_a_copy_has_its_parameters_in_the_same_order() -> None:
    class Scaled(gpubp.torch.Module):
        def __init__(self) -> None:
            super().__init__(network())
            self.scale = nn.Parameter(torch.ones(1))

    module = Scaled()  # optimizers know parameters by their order
    names = ["network_parameters", "scale"]
    assert [name for name, _ in module.named_parameters()] == names
    assert [name for name, _ in copy.deepcopy(module).named_parameters()] == names


def test_what_is_within_torch_func_is_refused_and_the_function_works_afterwards() -> None:
    module, x = gpubp.torch.Module(network()), batch().detach()
    for transformed in (
        torch.func.grad(lambda x: module(x).sum()),
        torch.func.vmap(module),
        torch.func.jacrev(module),
    ):
        with pytest.raises(
            ValueError, match=r"^x is a tensor without memory, as within torch.func"
        ):
            transformed(x)
    with pytest.raises(ValueError, match=r"^the outputs' gradient is a tensor without memory"):
        torch.autograd.functional.jacobian(module, x, vectorize=True)
    jacobian = torch.autograd.functional.jacobian(module, x)
    assert not jacobian[0, :, 1].any()  # the outputs of a row depend on that row alone
    assert jacobian[0, :, 0].all()


OTHER_MEMORY: dict[str, Any] = {
    "float32": lambda module: module.float(),
    "bfloat16": lambda module: module.to(torch.bfloat16),
    "meta": lambda module: module.to("meta"),
    "between processes": lambda module: module.share_memory(),
}


@pytest.mark.parametrize("name", OTHER_MEMORY)
def test_a_module_that_would_get_other_memory_is_left_as_it_is(name: str) -> None:
    net = network()
    module, x = gpubp.torch.Module(net), batch()
    expected = module(x)
    with pytest.raises(
        ValueError, match=r"^the module would be .* in other memory, expected float64"
    ):
        OTHER_MEMORY[name](module)
    assert module.network_parameters.data_ptr() == net.parameters.ctypes.data
    assert torch.equal(module(x), expected)
    assert module.double().cpu() is module


def test_parameters_that_are_not_the_networks_memory_are_refused() -> None:
    module, x = gpubp.torch.Module(network()), batch()
    told = r"^parameters is another tensor than the network's, expected one in its memory"
    with pytest.raises(ValueError, match=told):
        module.load_state_dict(copy.deepcopy(module.state_dict()), assign=True)
        module(x)
    function = gpubp.torch.as_function(network())
    with pytest.raises(ValueError, match=told):
        function(x, torch.zeros(7, dtype=torch.float64))


def test_bad_inputs_are_told() -> None:
    function = gpubp.torch.as_function(network())
    for x, kind, told in (
        (np.ones((2, 5)), TypeError, "x is array.*, expected a tensor"),
        (torch.ones(2, 5), ValueError, r"x has dtype float32, expected float64, the network's, as"),
        (batch()[:, :4], ValueError, r"x has shape \(4, 4\), expected \(..., 5\)"),
        (batch().detach().to_sparse(), ValueError, "x is a sparse tensor, expected a dense one"),
        (batch() * float("nan"), ValueError, r"x holds nan at \[0, 0\], expected finite numbers"),
    ):
        with pytest.raises(kind, match=f"^{told}"):
            function(x)
    with pytest.raises(TypeError, match=r"^network is None, expected a gpubp.Network"):
        gpubp.torch.as_function(None)
    with pytest.raises(TypeError, match=r"^network is 'net', expected a gpubp.Network"):
        gpubp.torch.Module("net")


@pytest.mark.parametrize("rows", [4, 60])  # row by row, and column by column
@pytest.mark.parametrize("hidden", ["sigmoid", "gelu"])  # σ′ reads a, or z
def test_dropout_is_that_of_the_forward_pass_in_the_backward_pass(hidden: str, rows: int) -> None:
    net = gpubp.Network(
        (5, 6, 4, 2), hidden=hidden, dropout=[0.5, 0.25], dtype="float64", backend="numpy", seed=0
    )
    module, x = gpubp.torch.Module(net), batch(rows=rows)

    def function(x: Any, parameters: Any) -> Any:
        torch.manual_seed(3)  # the masks of every call are the same
        return module(x).sum(0)

    assert torch.autograd.gradcheck(function, (x, module.network_parameters))
    assert (function(x, None) != module.eval()(x).sum(0)).all()


def test_dropout_drops_in_training_mode_alone_and_with_its_probability() -> None:
    net = gpubp.Network((1, 20000, 1), hidden="identity", dropout=0.3, backend="numpy", seed=0)
    net.layers[0].weights[...] = net.layers[1].weights[...] = 1
    module, x = gpubp.torch.Module(net), torch.ones(3, 1)
    torch.manual_seed(0)
    first, second = module(x), module(x)
    assert len(np.unique([*first.detach().numpy(), *second.detach().numpy()])) > 4
    np.testing.assert_allclose(first.detach(), 20000, rtol=0.03)
    torch.manual_seed(0)
    assert torch.equal(module(x), first)
    function = gpubp.torch.as_function(net)
    for outputs in (module.eval()(x), function(x)):
        np.testing.assert_array_equal(outputs.detach(), net.predict(x))
    assert not torch.equal(function(x, drops=True), function(x))
    (first.sum()).backward()  # ∂/∂w of the last layer has 0 for each dropped unit, else 1 / 0.7
    gradient = module.network_parameters.grad[20000:40000] * 0.7
    np.testing.assert_allclose(gradient.mean(), 3 * 0.7, rtol=0.03)
    np.testing.assert_allclose(gradient, gradient.round(), atol=1e-5)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # of its own
def test_the_compiler_of_pytorch_leaves_the_network_out() -> None:
    module, x = model_with(gpubp.torch.Module(network())), torch.ones(3, 4, dtype=torch.float64)
    compiled = torch.compile(module, backend="eager")
    torch.testing.assert_close(compiled(x), module(x))
