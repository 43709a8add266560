"""Names of other libraries: errors tell gpubp's name, and no name of the tables is wrong."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest

import gpubp
from gpubp import SGD, Adam, AdamW, Lion, MLPClassifier, MLPRegressor, Network, RMSProp, Trainer
from gpubp import synonyms as tables
from gpubp.kernels import ACTIVATIONS, COSTS, PRECISIONS
from gpubp.network.initializers import INITIALIZERS
from gpubp.training import schedules
from gpubp.training.optimizers import OPTIMIZERS

KNOWN: dict[str, Any] = {
    "activation": ACTIVATIONS,
    "cost": COSTS,
    "optimizer": OPTIMIZERS,
    "schedule": schedules.SCHEDULES,
    "initializer": INITIALIZERS,
    "backend": ["numpy", "cupy"],
    "precision": PRECISIONS,
    "monitor": ["cost", "accuracy"],
}

CALLS: list[Callable[..., Any]] = [
    *(Network, Trainer, Trainer.fit, gpubp.EarlyStopping, gpubp.Checkpoint),
    *(SGD, Adam, AdamW, RMSProp, Lion, *schedules.SCHEDULES.values()),
    *(MLPClassifier, MLPClassifier.fit, MLPRegressor),
]


def arguments() -> set[str]:
    """The arguments of all public calls, and the parameters of activations and costs."""
    of_calls = {name for call in CALLS for name in inspect.signature(call).parameters}
    of_entries = {
        name
        for table in (ACTIVATIONS, COSTS)
        for entry in table.values()
        for name in entry.parameters
    }
    return of_calls | of_entries | {"label_smoothing"}


def pairs(table: Any) -> list[tuple[str, str]]:
    return [(ours, theirs) for ours, names in table.items() for theirs in names.split()]


def test_every_kind_and_every_name_that_is_told_exists() -> None:
    assert KNOWN.keys() == tables.NAMES.keys()
    told = {what: set(table) - set(KNOWN[what]) for what, table in tables.NAMES.items()}
    assert told == {what: set() for what in KNOWN}
    names = {name for ours in tables.ARGUMENTS for name in ours.split(" and ")}
    assert names - arguments() == set()


def test_no_name_of_others_is_gpubps_own() -> None:
    """A synonym that worked would never be told."""
    for what, table in tables.NAMES.items():
        assert {theirs for _, theirs in pairs(table)} & set(KNOWN[what]) == set()


@pytest.mark.parametrize("what", KNOWN)
def test_every_name_of_others_is_told(what: str) -> None:
    for ours, theirs in pairs(tables.NAMES[what]):
        for written in (theirs, theirs.upper(), theirs.replace("_", "-")):
            assert tables.our_name(what, written, KNOWN[what]) == ours


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Adam(lr=0.1), "Adam has no argument 'lr'; did you mean 'learning_rate'?"),
        (lambda: Adam(0.1, beta_1=0), "Adam has no argument 'beta_1'; did you mean 'beta1'?"),
        (lambda: Adam(betas=()), "Adam has no argument 'betas'; did you mean 'beta1' and 'beta2'?"),
        (lambda: Adam(eps=1), "Adam has no argument 'eps'; did you mean 'epsilon'?"),
        (lambda: Adam(clipnorm=1), "Adam has no argument 'clipnorm'; did you mean 'clip_norm'?"),
        (lambda: RMSProp(rho=1), "RMSProp has no argument 'rho'; did you mean 'decay'?"),
        (lambda: RMSProp(alpha=1), "RMSProp has no argument 'alpha'; did you mean 'decay'?"),
        (lambda: SGD(weight_decay=1), "SGD has no argument 'weight_decay'; did you mean 'l2'?"),
        (lambda: AdamW(momentun=1), "AdamW has no argument 'momentun'; known: learning_rate, l1, l2"),
        (lambda: SGD(momentun=1), "SGD has no argument 'momentun'; did you mean 'momentum'?"),
        (
            lambda: dataclasses.replace(Adam(), lr=1),
            "Adam has no argument 'lr'; did you mean 'learning_rate'?",
        ),
        (
            lambda: gpubp.get_optimizer("adam", lr=1),
            "Adam has no argument 'lr'; did you mean 'learning_rate'?",
        ),
        (
            lambda: gpubp.get_optimizer(SGD(), lr=1),
            "SGD has no argument 'lr'; did you mean 'learning_rate'?",
        ),
        (
            lambda: Network((2, 1), activation="relu"),
            "Network has no argument 'activation'; did you mean 'hidden'?",
        ),
        (lambda: Network((2, 1), loss="mse"), "Network has no argument 'loss'; did you mean 'cost'?"),
        (lambda: Network(units=3), "Network has no argument 'units'; did you mean 'sizes'?"),
        (lambda: Network((1, 1), device=0), "Network has no argument 'device'; did you mean 'backend'?"),
        (
            lambda: Network((1, 1), random_state=0),
            "Network has no argument 'random_state'; did you mean 'seed'?",
        ),
        (
            lambda: Trainer(None, lr=1),
            "Trainer has no argument 'lr'; did you mean Adam(learning_rate=...)?",
        ),
        (
            lambda: Trainer(None, epochs=1),
            "Trainer has no argument 'epochs'; did you mean Trainer.fit(epochs=...)?",
        ),
        (lambda: Trainer(None, batchsize=1), "did you mean 'batch_size'?"),
        (
            lambda: Trainer(Network((1, 1))).fit(0, 0, batch_size=1),
            "Trainer.fit has no argument 'batch_size'; did you mean Trainer(batch_size=...)?",
        ),
        (lambda: Trainer(Network((1, 1))).fit(num_epochs=1), "did you mean 'epochs'?"),
        (lambda: schedules.Step(gamma=1), "Step has no argument 'gamma'; did you mean 'factor'?"),
        (
            lambda: MLPClassifier(lr=1),
            "MLPClassifier has no argument 'lr'; did you mean 'learning_rate_init'?",
        ),
        (
            lambda: MLPClassifier().fit([[0]], [0], epochs=1),
            "MLPClassifier.fit has no argument 'epochs'; did you mean MLPClassifier(max_iter=...)?",
        ),
        (
            lambda: MLPRegressor().partial_fit([[0]], [0], validation_data=0),
            "MLPRegressor.partial_fit has no argument 'validation_data'; did you mean 'X_val'",
        ),
        (lambda: MLPRegressor(epochs=1), "did you mean 'max_iter'?"),
        (lambda: MLPRegressor(validation_split=1), "did you mean 'validation_fraction'?"),
        (lambda: MLPRegressor(n_jobs=1), "MLPRegressor has no argument 'n_jobs'; known: loss, hidden"),
    ],
)  # fmt: skip
def test_a_wrong_keyword_is_told_with_the_right_one(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Network((2, 1), output="swish"), "unknown activation 'swish'; gpubp calls it 'silu'"),
        (lambda: Network((2, 1), output="ReLU"), "unknown activation 'ReLU'; did you mean 'relu'?"),
        (lambda: Network((2, 1), cost="MSE"), "unknown cost 'MSE'; gpubp calls it 'quadratic'"),
        (lambda: Network((2, 1), initializer="xavier"), "'xavier'; gpubp calls it 'glorot_uniform'"),
        (lambda: Network((2, 1), backend="cuda:1"), "unknown backend 'cuda:1'; gpubp calls it 'cupy'"),
        (lambda: Network((2, 1), precision="bf16"), "'bf16'; gpubp calls it 'bfloat16'"),
        (lambda: Trainer(Network((2, 1)), "sgdm"), "unknown optimizer 'sgdm'; gpubp calls it 'sgd'"),
        (lambda: Trainer(Network((2, 1)), "adam_w"), "'adam_w'; did you mean 'adamw'?"),
        (lambda: schedules.get_schedule("plateau"), "'plateau'; gpubp calls it 'on_plateau'"),
        (lambda: gpubp.get_cost("huber", delta=1), "'delta' of cost 'huber'; gpubp calls it 'threshold'"),
        (
            lambda: gpubp.get_activation("leaky_relu", negative_slope=1),
            "'negative_slope' of activation 'leaky_relu'; gpubp calls it 'slope'",
        ),
        (lambda: gpubp.EarlyStopping(monitor="val_loss"), "'val_loss'; gpubp calls it 'cost'"),
        (
            lambda: MLPClassifier(activation="swish").fit([[0], [1]], [0, 1]),
            "Got 'swish' instead. (gpubp calls it 'silu')",
        ),
        (lambda: MLPRegressor(loss="mae").fit([[0], [1]], [0, 1]), "(gpubp calls it 'absolute_error')"),
    ],
)  # fmt: skip
def test_a_value_of_others_is_told_with_gpubps_name(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net.fit, "'Network' object has no attribute 'fit'; gpubp has Trainer(network).fit"),
        (lambda net: net.state_dict, "no attribute 'state_dict'; gpubp has network.parameters"),
        (lambda net: net.nothing, "'Network' object has no attribute 'nothing'"),
        (lambda net: Trainer(net).evaluate, "gpubp has trainer.network.cost(x, y)"),
        (lambda net: setattr(Trainer(net), "lr", 1), "Trainer has no attribute 'lr'; did you mean 'learn"),
        (lambda net: setattr(net.layers[0], "trainable", False), "layer_rates of a Trainer freezes layers"),
        (lambda net: setattr(net.layers[0], "requires_grad", False), "no attribute 'requires_grad'"),
    ],
)  # fmt: skip
def test_an_attribute_of_others_is_told_with_gpubps_way(
    call: Callable[[Network], Any], message: str
) -> None:
    with pytest.raises(AttributeError, match=re.escape(message)):
        call(Network((2, 1)))


def test_no_method_of_others_is_gpubps_own() -> None:
    for owner, table in tables.METHODS.items():
        assert {theirs for _, theirs in pairs(table)} & set(dir(getattr(gpubp, owner))) == set()


def test_a_schedule_is_told_to_be_in_its_module() -> None:
    with pytest.raises(AttributeError, match=r"did you mean gpubp\.schedules\.Cosine\?$"):
        _ = gpubp.Cosine


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSProp, Lion])
def test_the_learning_rate_alone_may_be_positional(kind: type[gpubp.Optimizer]) -> None:
    assert kind(0.25).learning_rate == 0.25
    with pytest.raises(TypeError, match=r"takes from 1 to 2 positional arguments but 3 were given"):
        kind(0.25, 0.9)  # type: ignore[call-arg]


@pytest.mark.parametrize("call", CALLS)
def test_signatures_stay_those_of_the_definition(call: Callable[..., Any]) -> None:
    parameters = inspect.signature(call).parameters.values()
    assert not {p.kind for p in parameters} & {
        inspect.Parameter.VAR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    }
    assert parameters or call is schedules.Constant


def test_optimizers_are_still_dataclasses() -> None:
    made = AdamW(0.1, clip_norm=1.0)
    assert (
        pickle.loads(pickle.dumps(made)) == made == copy.deepcopy(made) == AdamW(0.1, clip_norm=1)
    )
    assert dataclasses.replace(made, learning_rate=0.2) == AdamW(0.2, clip_norm=1.0) != made
    assert len({made, AdamW(0.1, clip_norm=1.0)}) == 1
    told = r"^AdamW.learning_rate is read-only; set trainer.learning_rate, or trainer.optimizer to a new"
    with pytest.raises(dataclasses.FrozenInstanceError, match=told):
        made.learning_rate = 1.0  # type: ignore[misc]
    with pytest.raises(
        AttributeError, match=r"^AdamW.rate is read-only; set trainer.optimizer to a"
    ):
        made.rate = 1.0  # type: ignore[attr-defined]


def test_a_users_own_optimizer_and_network_are_made_as_before() -> None:
    class Slow(SGD):
        pass

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Mine(SGD):
        lr: float = 0.5

    class Small(Network):
        def __init__(self, width: int, **options: Any) -> None:
            super().__init__((width, 1), **options)

    assert Mine(lr=0.1).lr == 0.1
    assert Small(width=3, output="tanh").sizes == (3, 1)
    with pytest.raises(TypeError, match=r"^Slow has no argument 'lr'"):
        Slow(lr=0.1)  # type: ignore[call-arg]
