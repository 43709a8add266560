"""Networks from and to nn.Sequential: PyTorch's own forward pass, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.kernels import ACTIVATIONS

torch = pytest.importorskip("torch", reason="torch is not installed")
nn = torch.nn

X = np.linspace(-30, 30, 120).reshape(20, 6)


def network(
    output: str | gpubp.Activation, dtype: str = "float64", **options: Any
) -> gpubp.Network:
    """Make a network with random biases, and with this activation in each layer that can have it."""
    hidden = "tanh" if output == "softmax" else output
    made = {"hidden": hidden, "output": output, "backend": "numpy", "dtype": dtype} | options
    net = gpubp.Network((6, 5, 3), **made)
    net.parameters = np.random.default_rng(0).normal(size=net.parameters.size)
    return net


def outputs(sequential: Any, x: Any = X) -> Any:
    with torch.no_grad():
        return sequential.eval()(torch.tensor(x, dtype=next(sequential.parameters()).dtype)).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_goes_to_pytorch_and_back(name: str, dtype: str) -> None:
    net = network(name, dtype)
    if name == "exponential":  # exponentials of exponentials are too large to compare
        net.parameters *= 0.01
    module = gpubp.torch.to_module(net)
    tolerance = 1e-12 if dtype == "float64" else 5e-5
    np.testing.assert_allclose(outputs(module), net.predict(X), rtol=tolerance, atol=tolerance)
    back = gpubp.torch.from_module(module, cost=net.cost_function, backend="numpy")
    assert repr(back) == repr(net)
    np.testing.assert_array_equal(back.parameters, net.parameters)
    for layer, other in zip(back.layers, net.layers, strict=True):
        assert layer.activation.parameters == other.activation.parameters


def test_parameters_of_activations_go_to_pytorch_and_back() -> None:
    for name, parameters in (
        ("leaky_relu", {"slope": 0.2}),
        ("elu", {"alpha": 0.5}),
        ("selu", {"scale": 1.5, "alpha": 0.7}),
    ):
        net = network(gpubp.get_activation(name, **parameters))
        module = gpubp.torch.to_module(net)
        np.testing.assert_allclose(outputs(module), net.predict(X), rtol=1e-12)
        back = gpubp.torch.from_module(module, backend="numpy")
        assert dict(back.layers[0].activation.parameters) == parameters


MODULES: dict[str, Any] = {
    "a logits model": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)),
    "one layer": lambda: nn.Sequential(nn.Linear(6, 3, bias=False), nn.Sigmoid()),
    "nested": lambda: nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(6, 8, bias=False), nn.Sequential(nn.GELU(approximate="tanh"))),
        nn.Identity(),
        nn.Sequential(),
        nn.Linear(8, 7),
        nn.Linear(7, 3),
        nn.Softmax(dim=1),
    ),
    "dropout": lambda: nn.Sequential(
        nn.Linear(6, 8), nn.LeakyReLU(0.3), nn.Dropout(0.25), nn.Dropout(0), nn.Linear(8, 3)
    ),
    "softplus": lambda: nn.Sequential(nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, 1), nn.ELU(0.3)),
    "modules twice": lambda: twice(nn.ReLU(), nn.Sequential(nn.Linear(6, 6), nn.Tanh())),
    "a derived Sequential": lambda: Derived(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)),
}


class Derived(nn.Sequential):  # type: ignore[misc]
    pass


def twice(activation: Any, block: Any) -> Any:
    return nn.Sequential(
        *(block, block, nn.Linear(6, 8), activation, nn.Linear(8, 7), activation, nn.Linear(7, 3))
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODULES)
def test_a_sequential_becomes_a_network_with_its_outputs(name: str, dtype: str) -> None:
    torch.manual_seed(0)
    sequential = MODULES[name]().to(getattr(torch, dtype))
    net = gpubp.torch.from_module(sequential, backend="numpy")
    assert net.dtype == dtype
    tolerance = 1e-5 if dtype == "float32" else 1e-8  # Softplus is z above 20, to 2e-9
    np.testing.assert_allclose(net.predict(X), outputs(sequential), rtol=tolerance, atol=tolerance)
    for parameter in sequential.parameters():
        parameter.data.zero_()
    assert net.parameters.any()  # the weights are copies


def test_dropout_log_softmax_and_the_output_of_logits() -> None:
    torch.manual_seed(0)
    layers = nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.25), nn.Linear(8, 3)
    net = gpubp.torch.from_module(nn.Sequential(*layers, nn.LogSoftmax(dim=-1)), backend="numpy")
    assert [layer.dropout for layer in net.layers] == [0.25, 0]
    assert net.cost_function.name == "cross_entropy"
    logits = nn.Sequential(*layers)
    np.testing.assert_allclose(
        net.predict(X), torch.softmax(torch.tensor(outputs(logits)), 1), rtol=1e-5, atol=1e-7
    )
    again = gpubp.torch.from_module(logits, output="softmax", backend="numpy")
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    module = gpubp.torch.to_module(again)
    assert [type(part) for part in module] == [
        nn.Linear,
        nn.Tanh,
        nn.Dropout,
        nn.Linear,
        nn.Softmax,
    ]
    assert module[2].p == 0.25


def test_narrow_weights_become_wide_if_a_dtype_is_given() -> None:
    torch.manual_seed(0)
    for dtype in (torch.float16, torch.bfloat16):
        sequential = MODULES["a logits model"]().to(dtype)
        net = gpubp.torch.from_module(sequential, dtype="float32", backend="numpy")
        np.testing.assert_allclose(
            net.predict(X), outputs(sequential.float()), rtol=1e-4, atol=1e-4
        )
        found = str(dtype).removeprefix("torch.")
        with pytest.raises(
            ValueError,
            match=rf"^sequential\[0\].weight has dtype {found}, expected float32 or float64; dtype=",
        ):
            gpubp.torch.from_module(sequential.to(dtype))


def test_modules_without_copies_train_the_network() -> None:
    net = network("tanh", dropout=0.1, biases=[True, False])
    module = gpubp.torch.to_module(net, copy=False)
    assert module[0].weight.data_ptr() == net.layers[0].weights.ctypes.data
    assert module[3].bias is None
    optimizer, before = torch.optim.SGD(module.parameters(), lr=0.1), net.parameters.copy()
    module(torch.tensor(X)).square().mean().backward()
    optimizer.step()
    assert (net.parameters != before).any()
    np.testing.assert_allclose(net.predict(X), outputs(module), rtol=1e-12)
    copied = gpubp.torch.to_module(net)
    assert copied[0].weight.data_ptr() != net.layers[0].weights.ctypes.data


class Doubled(nn.ReLU):  # type: ignore[misc]
    def forward(self, z: Any) -> Any:
        return 2 * super().forward(z)


class Residual(nn.Sequential):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return x + super().forward(x)


class AlwaysDropping(nn.Dropout):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return nn.functional.dropout(x, self.p)


class Reversed(nn.Identity):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return x.flip(-1)


class Linear(nn.Linear):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


def patched() -> Any:
    module = nn.Tanh()
    module.forward = lambda z: 2 * z
    return module


LINEAR = nn.Linear(6, 3)
BAD: dict[str, tuple[Any, str]] = {
    "a convolution": (
        [nn.Conv1d(1, 2, 3)],
        r"sequential\[0\] is a Conv1d, expected Linear, Dropout",
    ),
    "within another": (
        [LINEAR, nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3))],
        r"sequential\[1\]\[1\] is a BatchNorm1d, expected Linear",
    ),
    "a derived class": ([LINEAR, Doubled()], r"sequential\[1\] is a Doubled, expected Linear"),
    "a derived Sequential": (
        [Residual(nn.Linear(6, 6)), LINEAR],
        r"sequential\[0\] is a Residual, expected Linear",
    ),
    "a derived Dropout": (
        [LINEAR, nn.ReLU(), AlwaysDropping(), nn.Linear(3, 2)],
        r"sequential\[2\] is a AlwaysDropping, expected Linear",
    ),
    "a derived Identity": ([Reversed(), LINEAR], r"sequential\[0\] is a Reversed, expected Linear"),
    "another Linear": (
        [Linear(6, 3)],
        rf"sequential\[0\] is a {__name__}.Linear, expected Linear",
    ),
    "another forward": ([LINEAR, patched()], r"sequential\[1\] is a Tanh, expected Linear"),
    "a Flatten of rows": (
        [LINEAR, nn.Flatten(0)],
        r"sequential\[1\] is a Flatten\(start_dim=0, end_dim=-1\), expected Linear",
    ),
    "ReLU6": (
        [LINEAR, nn.ReLU6()],
        r"sequential\[1\] is a ReLU6\(\), expected a Hardtanh from -1 to 1",
    ),
    "a steep softplus": ([LINEAR, nn.Softplus(beta=2)], r"sequential\[1\] is a Softplus.*beta 1"),
    "softmax of columns": (
        [LINEAR, nn.Softmax(dim=0)],
        r"sequential\[1\] is a Softmax\(dim=0\), expected a Softmax over dimension 1",
    ),
    "a slope above 1": (
        [LINEAR, nn.LeakyReLU(1.5)],
        r"sequential\[1\] is a LeakyReLU\(negative_slope=1.5\): slope is 1.5",
    ),
    "two activations": (
        [LINEAR, nn.ReLU(), nn.Tanh()],
        r"sequential\[2\] is a Tanh after an activation, expected it after a Linear",
    ),
    "activation after dropout": (
        [LINEAR, nn.Dropout(), nn.Tanh()],
        r"sequential\[2\] is a Tanh after a Dropout, expected it after a Linear",
    ),
    "activation first": ([nn.Tanh(), LINEAR], r"sequential\[0\] is a Tanh before the first Linear"),
    "dropout first": ([nn.Dropout(), LINEAR], r"sequential\[0\] is a Dropout before the first"),
    "dropout of all": (
        [LINEAR, nn.ReLU(), nn.Dropout(1), nn.Linear(3, 2)],
        r"sequential\[2\] is a Dropout\(p=1, inplace=False\), expected one whose p is below 1",
    ),
    "dropout last": ([LINEAR, nn.Dropout()], "sequential ends with a Dropout, expected none"),
    "dropout twice": (
        [LINEAR, nn.Dropout(), nn.Dropout(), nn.Linear(3, 2)],
        r"sequential\[2\] is a second Dropout after sequential\[0\], expected one",
    ),
    "nothing": ([], "sequential has no dense layer, expected at least one"),
    "widths": (
        [LINEAR, nn.Linear(4, 2)],
        r"sequential\[1\] has 4 inputs, expected 3, as sequential\[0\] has outputs",
    ),
    "softmax inside": ([LINEAR, nn.Softmax(1), nn.Linear(3, 2)], "hidden is 'softmax', which only"),
    "two dtypes": (
        [LINEAR, nn.Linear(3, 2, dtype=torch.float64)],
        "sequential has weights of dtype float32 and float64, expected float32 or float64; dtype=",
    ),
    "no numbers": (
        [nn.Linear(6, 3, device="meta")],
        r"sequential\[0\].weight is a tensor on the device meta, expected one that holds numbers",
    ),
    "lazy": ([nn.LazyLinear(3)], r"sequential\[0\] is a LazyLinear without weights, expected one"),
}


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("name", BAD)
def test_what_a_network_cannot_be_is_named_with_its_place(name: str) -> None:
    modules, told = BAD[name]
    with pytest.raises(ValueError, match=f"^{told}"):
        gpubp.torch.from_module(nn.Sequential(*modules))


def test_other_bad_arguments() -> None:
    with pytest.raises(TypeError, match=r"^sequential is Linear.*, expected a torch.nn.Sequential"):
        gpubp.torch.from_module(LINEAR)
    with pytest.raises(ValueError, match=r"^sequential is a Residual with a forward of its own"):
        gpubp.torch.from_module(Residual(LINEAR))
    with pytest.raises(
        ValueError, match=r"^output is 'softmax', expected None, because sequential"
    ):
        gpubp.torch.from_module(nn.Sequential(LINEAR, nn.ReLU()), output="softmax")
    broken = nn.Sequential(nn.Linear(2, 2))
    broken[0].bias.data[1] = float("nan")
    with pytest.raises(ValueError, match=r"^the biases of sequential\[0\] holds nan at \[1\]"):
        gpubp.torch.from_module(broken)
    with pytest.raises(TypeError, match=r"^network is 3, expected a gpubp.Network"):
        gpubp.torch.to_module(3)
    cube = gpubp.Activation.from_functions("cube", lambda xp, z: z**3, lambda xp, z: 3 * z**2)
    with pytest.raises(ValueError, match=r"^the activation of layers\[0\] is 'cube', a custom one"):
        gpubp.torch.to_module(network(cube))


@pytest.mark.parametrize("program", ["import gpubp.torch", "import gpubp; gpubp.torch"])
def test_without_pytorch_an_error_says_what_to_install(program: str) -> None:
    hidden = "import sys; sys.modules['torch'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", hidden + program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Error: gpubp.torch needs PyTorch; pip install torch" in done.stderr.splitlines()[-1]


def test_import_gpubp_does_not_import_pytorch() -> None:
    program = "import sys, gpubp; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
