"""Fused launches: two for each layer of a small network, and none that copies the batch.

A step of L layers is then 2 L + 1 launches, if gpubp's kernel computes its products. L are forward: the
first reads the batch's rows where they are, and the last computes δ^L and the costs. L - 1 take δ to the
layers before. One computes the gradients of all layers, and the batch's mean cost. The last is the update.

The engine asks for nothing of this. What it calls within `beside` may run at the same time as later verbs:
here it waits for the gradients of the first layer, and joins their launch. A layer's gradients could join
the launch of its δ instead, in as many launches. But they take twice as long (docs/benchmarks/gpu.md), and
every later layer would wait for them.

This has not run on a GPU. `GPUBP_CUDA_FUSED=1` uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ...kernels import (
    ACTIVATIONS,
    Activation,
    OutputHead,
    ParameterArrays,
    Precision,
    StepVariables,
    UpdateRule,
)
from ...kernels.cuda.launch import C_TYPES
from ...kernels.joined import MOST_COSTS, MOST_PRODUCTS, CostSum, SharedMemory, joined_cuda
from ...kernels.matmul import (
    LaunchMemory,
    Product,
    is_small,
    layer_forward_product,
    layer_gradients_product,
)
from ...kernels.output_layer import fits_one_launch, output_layer_cuda
from ...kernels.row_block import RowBlock, Targets
from ...kernels.typing import Bound
from ...kernels.update import update_and_advance_cuda
from ..base import Array, Rows, SparseBlock
from .epilogues import Epilogues
from .verbs import CupyVerbs, is_small_product, is_tf32

__all__ = ["FusedVerbs"]

MakeProduct = Callable[[LaunchMemory], Product]


class FusedVerbs(CupyVerbs):
    """The verbs on CUDA; with `fused`, those of small products share launches."""

    # Rows that stay where they are.

    def layer_input(
        self,
        rows: Rows,
        counters: Array,
        first: int,
        out: Array,
        weights: Array,
        precision: Precision | None = None,
    ) -> Array | RowBlock:
        count, (n_out, n_in) = len(out), weights.shape
        small = is_small(count, n_out, n_in) and is_small(n_out, n_in, count)
        if not (self._fused and small and precision is None and rows.x.dtype == out.dtype):
            return super().layer_input(rows, counters, first, out, weights, precision)
        self._recording.reads(rows, "x")
        return RowBlock(rows, counters, first, count)

    def gather_targets(
        self,
        targets: Targets,
        head: OutputHead,
        weights: Array,
        precision: Precision | None = None,
        keep: bool = False,
    ) -> None:
        if not self._is_one_launch(head, targets, weights, precision, keep):
            super().gather_targets(targets, head, weights, precision, keep)

    def _is_one_launch(
        self,
        head: OutputHead,
        targets: Targets,
        weights: Array,
        precision: Precision | None,
        keep: bool,
    ) -> bool:
        """Whether one launch computes the output layer and what follows it, from targets by their order."""
        n_out, n_in = weights.shape
        small = is_small(targets.block.count, n_out, n_in) and not is_tf32(precision)
        readable = targets.block.rows.y.dtype.char in C_TYPES
        return self._fused and not keep and small and readable and fits_one_launch(head, n_out)

    def layer_forward(
        self,
        activation: Activation,
        x: Array | RowBlock | SparseBlock,
        weights: Array,
        biases: Array | None,
        z: Array,
        a: Array,
        precision: Precision | None = None,
        keep_z: bool = True,
    ) -> None:
        if not isinstance(x, RowBlock):
            operands = activation, x, weights, biases, z, a, precision, keep_z
            dense = activation.has_cuda and not isinstance(x, SparseBlock)
            if not (dense and self._ends(x, z, precision, lambda e: e.bind_forward(*operands))):
                super().layer_forward(*operands)
            return
        self._recording.reads(x.rows, "x")
        if activation.has_cuda:
            layer = x, weights, biases, z if keep_z and a is not z else None, a
            self._do(joined_cuda(self.xp, [layer_forward_product(activation, *layer, self)]))
        else:
            layer = x, weights, None, None, z
            identity = ACTIVATIONS["identity"]
            self._do(joined_cuda(self.xp, [layer_forward_product(identity, *layer, self)]))
            self.bias_activate(activation, z, biases, a, keep_z)

    def output_layer(
        self,
        head: OutputHead,
        x: Array | RowBlock | SparseBlock,
        weights: Array,
        biases: Array | None,
        z: Array,
        a: Array | None,
        targets: Targets,
        scale: Array,
        delta: Array | None,
        costs: Array | None,
        precision: Precision | None = None,
        keep: bool = False,
    ) -> None:
        fits = self._is_one_launch(head, targets, weights, precision, keep)
        if isinstance(x, SparseBlock) or not fits:
            if fits:  # `gather_targets` does not know that x is sparse
                super().gather_targets(targets, head, weights, precision, keep)
            results = targets, scale, delta, costs
            super().output_layer(head, x, weights, biases, z, a, *results, precision, keep)
            return
        self._recording.reads(targets.block.rows, "y")
        if isinstance(x, RowBlock):
            self._recording.reads(x.rows, "x")
        arrays = x, weights, biases, a, targets, scale, delta, costs
        self._do(output_layer_cuda(self.xp, head, *arrays, self))

    # Products that share a launch.

    @contextmanager
    def beside(self) -> Iterator[None]:
        with super().beside():
            if not (self._fused and self._recording.is_busy):
                yield
                return
            self._recording.holds = True
            try:
                yield
            finally:
                self._recording.holds = False

    def meet(self) -> None:
        self._launch_held()
        super().meet()

    def layer_gradients(
        self,
        delta: Array,
        a: Array | RowBlock | SparseBlock,
        weights: Array,
        biases: Array | None,
        beta: float,
        precision: Precision | None = None,
    ) -> None:
        operands = delta, a, weights, biases, beta
        if isinstance(a, RowBlock):
            self._recording.reads(a.rows, "x")
        elif isinstance(a, SparseBlock) or not self._fused:
            super().layer_gradients(*operands, precision)
            return
        elif not is_small_product(delta, weights, precision):
            asked = *operands, precision
            if not self._ends(delta, weights, precision, lambda e: e.bind_gradients(*asked)):
                super().layer_gradients(*asked)
            return
        self._hold(lambda memory: layer_gradients_product(*operands, memory))

    def layer_backward(
        self,
        activation: Activation,
        delta: Array,
        weights: Array,
        v: Array,
        product: Array,
        out: Array,
        precision: Precision | None = None,
    ) -> None:
        operands = activation, delta, weights, v
        asked = *operands, out, precision
        has_text = activation.has_cuda_derivative
        if not (has_text and self._ends(delta, out, precision, lambda e: e.bind_backward(*asked))):
            super().layer_backward(*operands, product, out, precision)

    def _ends(
        self,
        a: Array,
        out: Array,
        precision: Precision | None,
        bind: Callable[[Epilogues], Bound | None],
    ) -> bool:
        """Let cuBLASLt compute a large product and what follows it; return whether it does."""
        if self._epilogues is None or is_small_product(a, out, precision):
            return False
        bound = bind(self._epilogues)
        if bound is not None:
            self._do(bound)
        return bound is not None

    def weighted_sum(
        self, values: Array, weights: Array | None, out: Array, counters: Array | None = None
    ) -> None:
        recording = self._recording
        few = values.size <= MOST_COSTS and recording.held_cost is None
        if recording.holds and few and weights is not None and counters is not None:
            recording.held_cost = CostSum(values, weights, out, counters)
        else:
            super().weighted_sum(values, weights, out, counters)

    def update_with(
        self,
        rule: UpdateRule,
        parameters: ParameterArrays,
        step: StepVariables,
        shard_gradients: Sequence[Array] = (),
        *,
        rounded: Array | None = None,
        precision: Precision | None = None,
        advances: bool = False,
    ) -> None:
        if not self._fused:
            how = {"rounded": rounded, "precision": precision, "advances": advances}
            super().update_with(rule, parameters, step, shard_gradients, **how)  # type: ignore[arg-type]
            return
        for gradient in shard_gradients:
            self.add(gradient, parameters.gradient)
        memory = self if advances else None
        call, advanced = update_and_advance_cuda(self.xp, rule, parameters, step, rounded, memory)
        self._do(call)
        if advances and not advanced:
            super().advance(step.counters)

    def _hold(self, make: MakeProduct) -> None:
        """Hold a product until the next one outside `beside`, or until verbs meet; then launch all."""
        held = self._recording.held_products
        held.append(make)
        if not self._recording.holds or len(held) == MOST_PRODUCTS:
            self._launch_held()

    def _launch_held(self) -> None:
        """Launch the products that are held, and the sum with them."""
        recording = self._recording
        held, cost = recording.held_products, recording.held_cost
        if not held and cost is None:
            return
        recording.held_products, recording.held_cost = [], None
        if held:
            products = [make(SharedMemory(self, k)) for k, make in enumerate(held)]
            alone = len(products) == 1 and cost is None and products[0].x is None
            call = products[0].call(self.xp) if alone else joined_cuda(self.xp, products, cost)
            self._do(call)
        elif cost is not None:
            super().weighted_sum(*cost)

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        def whole() -> None:
            step()
            self._launch_held()

        return super().capture(whole if self._fused else step)
