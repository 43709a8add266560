"""What other libraries call things, and what gpubp calls them.

One idea has one name in gpubp: the names here do not work, but error messages know them. The page
docs/how-to/coming-from.md shows these tables. This module imports nothing of gpubp.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "ARGUMENTS",
    "METHODS",
    "NAMES",
    "our_argument",
    "our_arguments",
    "our_method",
    "our_name",
]

NAMES: Mapping[str, Mapping[str, str]] = {
    "activation": {
        "identity": "linear none",
        "sigmoid": "logistic sigm",
        "relu": "rectifier",
        "leaky_relu": "lrelu",
        "gelu_tanh": "gelu_new gelu_approximate",
        "silu": "swish",
        "sine": "sin",
        "exponential": "exp",
        "hard_tanh": "clip",
        "softmax": "log_softmax",
    },
    "cost": {
        "quadratic": "mse mse_loss l2 l2_loss squared_error squared_loss mean_squared_error",
        "cross_entropy": "ce categorical_crossentropy sparse_categorical_crossentropy"
        " softmax_cross_entropy log_loss nll nll_loss negative_log_likelihood",
        "binary_cross_entropy": "bce bce_loss bce_with_logits bce_with_logits_loss logistic_loss"
        " sigmoid_cross_entropy",
        "absolute_error": "mae mae_loss l1 l1_loss mean_absolute_error",
        "huber": "smooth_l1 smooth_l1_loss",
        "poisson": "poisson_nll poisson_nll_loss",
        "quantile": "pinball pinball_loss",
    },
    "optimizer": {"sgd": "sgdm momentum nesterov gd gradient_descent"},
    "schedule": {
        "constant": "fixed none",
        "step": "step_lr step_decay",
        "exponential": "exponential_lr exponential_decay",
        "inverse_scaling": "invscaling inverse_time_decay",
        "cosine": "cosine_annealing cosine_annealing_lr cosine_decay warmup_cosine",
        "one_cycle": "one_cycle_lr",
        "on_plateau": "plateau reduce_on_plateau reduce_lr_on_plateau",
    },
    "initializer": {
        "he_normal": "he kaiming kaiming_normal",
        "he_uniform": "kaiming_uniform",
        "glorot_normal": "xavier_normal",
        "glorot_uniform": "glorot xavier xavier_uniform",
        "lecun_normal": "lecun",
    },
    "backend": {"cupy": "cuda gpu nvidia", "numpy": "cpu host"},
    "precision": {"float16": "fp16 half", "bfloat16": "bf16", "tf32": "tensorfloat32"},
    "monitor": {
        "cost": "loss val_loss validation_loss validation_cost",
        "accuracy": "acc val_acc val_accuracy validation_accuracy",
    },
}
"""For each kind of thing: gpubp's names, and what others call each."""

ARGUMENTS: Mapping[str, str] = {
    # The estimators have scikit-learn's names, of which two may fit: a number is the initial rate.
    "hidden_layer_sizes": "sizes units layers layer_sizes hidden_sizes widths",
    "activation": "hidden activations nonlinearity",
    "output_activation": "output final_activation",
    "loss": "cost loss_fn criterion objective",
    "random_state": "seed random_seed rng",
    "solver": "optimizer optim",
    "learning_rate_init": "lr eta eta0",
    "nesterovs_momentum": "nesterov use_nesterov",
    "beta_1": "beta1 b1",
    "beta_2": "beta2 b2",
    "beta_1 and beta_2": "betas",
    "alpha": "l2 l2_regularization",
    "max_iter": "epochs n_epochs num_epochs max_epochs",
    "n_iter_no_change": "patience",
    "tol": "min_delta min_improvement",
    "X_val and y_val": "eval_set val_data validation_data validation",
    "validation_fraction": "validation_split val_split test_size",
    # Everything else has gpubp's names.
    "sizes": "units layers layer_sizes hidden_sizes widths",
    "hidden": "activation activations activation_function nonlinearity",
    "output": "output_activation final_activation last_activation",
    "cost": "loss loss_fn loss_function criterion objective",
    "seed": "random_state random_seed rng manual_seed",
    "backend": "device accelerator",
    "biases": "bias use_bias fit_intercept",
    "initializer": "init initialiser kernel_initializer weight_init",
    "dropout": "dropout_rate dropout_p",
    "precision": "amp mixed_precision",
    "optimizer": "optim solver",
    "learning_rate": "lr eta eta0 step_size learning_rate_init",
    "momentum": "mu",
    "nesterov": "use_nesterov nesterovs_momentum",
    "beta1": "beta_1 b1",
    "beta2": "beta_2 b2",
    "beta1 and beta2": "betas",
    "epsilon": "eps",
    "decay": "rho alpha",
    "l2": "weight_decay wd alpha l2_regularization kernel_regularizer",
    "weight_decay": "wd",
    "clip_norm": "clipnorm global_clipnorm max_norm max_grad_norm gradient_clip_val",
    "clip_value": "clipvalue",
    "schedule": "scheduler lr_scheduler lr_schedule learning_rate_schedule",
    "batch_size": "batchsize minibatch_size",
    "epochs": "epoch n_epochs num_epochs nb_epoch max_epochs max_iter n_iter",
    "shuffle": "reshuffle",
    "accumulate": "accumulation accumulate_grad_batches gradient_accumulation_steps",
    "early_stopping": "early_stop",
    "patience": "n_iter_no_change",
    "min_improvement": "min_delta tol",
    "monitor": "metric_name quantity",
    "higher_is_better": "mode greater_is_better",
    "metrics": "metric scoring",
    "checkpoint": "checkpoint_dir checkpoint_path ckpt_path default_root_dir",
    "folder": "directory dirpath",
    "every": "save_freq step_size",
    "keep": "max_to_keep save_total_limit save_top_k",
    "callbacks": "callback",
    "progress": "verbose progress_bar",
    "x": "X inputs features",
    "y": "targets target labels",
    "sample_weight": "sample_weights weights",
    "validation_data": "eval_set val_data validation valid_data",
    "validation_split": "validation_fraction val_split test_size",
    "factor": "gamma",
    "warmup": "warmup_steps pct_start",
    "final": "eta_min min_lr",
    "minimum": "min_lr",
    "slope": "negative_slope",
    "threshold": "delta beta",
    "quantile": "tau",
    "label_smoothing": "smoothing",
}
"""gpubp's names of arguments, and what others call each."""

METHODS: Mapping[str, Mapping[str, str]] = {
    "Network": {
        "Trainer(network).fit(x, y, epochs=...)": "fit train_on_batch",
        "Trainer(network, optimizer)": "compile",
        "network.cost(x, y)": "evaluate score",
        "network.predict(x)": "predict_proba call",
        "network.layers[k].weights": "weights coefs_",
        "network.parameters": "get_weights state_dict",
        "network.parameters = values": "set_weights load_state_dict",
        "Network(..., backend=...)": "to cuda cpu",
        "no call: dropout acts in training alone": "train eval",
    },
    "Trainer": {
        "trainer.fit(x, y, epochs=...)": "train",
        "trainer.network.cost(x, y)": "evaluate validate",
        "trainer.network.predict(x)": "predict",
        "trainer.network.save(path)": "save save_model",
    },
}
"""For each class: what does what a method of other libraries does, and their names of it."""


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _turned(table: Mapping[str, str]) -> dict[str, list[str]]:
    """Turn a table: for each name of others, gpubp's names."""
    turned: dict[str, list[str]] = {}
    for ours, theirs in table.items():
        for name in theirs.split():
            turned.setdefault(_plain(name), []).append(ours)
    return turned


def _turned_calls(table: Mapping[str, str]) -> dict[str, str]:
    return {name: ours for ours, theirs in table.items() for name in theirs.split()}


_OUR_NAMES = {what: _turned(table) for what, table in NAMES.items()}
_OUR_ARGUMENTS = _turned(ARGUMENTS)

_OUR_METHODS = {owner: _turned_calls(table) for owner, table in METHODS.items()}


def our_method(owner: str, name: str) -> str:
    """Return what a class of gpubp has in the place of others' method `name`, or ""."""
    return _OUR_METHODS.get(owner, {}).get(name, "")


def our_name(what: str, name: str, known: Iterable[str]) -> str:
    """Return gpubp's name of what others call `name`, if it is in `known`; else "".

    Parameters
    ----------
    what : str
        The kind of the thing: "activation", for example.
    name : str
        The other name. Capitals, hyphens and underscores do not count; nor does ":1" behind a backend.
    known : iterable of str
        The names that are possible.
    """
    found = _OUR_NAMES.get(what, {}).get(_plain(name.partition(":")[0]), [])
    return next((ours for ours in found if ours in {*known}), "")


def our_arguments(name: str) -> Sequence[str]:
    """Return all of gpubp's names of what others call `name`, such as "beta1 and beta2" for "betas"."""
    return _OUR_ARGUMENTS.get(_plain(name), [])


def our_argument(name: str, known: Iterable[str]) -> Sequence[str]:
    """Return gpubp's names of the argument that others call `name`, if all are in `known`; else none."""
    known = {*known}
    for ours in our_arguments(name):
        if known.issuperset(names := ours.split(" and ")):
            return names
    return ()
