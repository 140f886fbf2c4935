"""How does a network become a model?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .errors import ModelLoadError
from .layers import (
    GELU,
    BitLinear,
    Custom,
    Flatten,
    Layer,
    LayerNorm,
    Linear,
    ReLU,
    ReLU2,
    Residual,
    RMSNorm,
    SiLU,
    Softmax,
)
from .model import Model

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_ACTIVATIONS = {ReLU: "relu", ReLU2: "relu2", SiLU: "silu", GELU: "gelu"}


def build_model(
    layers: Sequence[Layer], *, input_shape: Sequence[int], name: str = "network"
) -> Model:
    """A model of layers that run one after the other, for `InferenceEngine.infer`.

    input_shape: that of one sample, of float32, without the batch. In messages and plans, layers
    are named by their places, "0", "1", "2.0" for the first one in a Residual, "2.1.0" in the
    second branch of a Custom, and tensors "0.weight". Arrays are lent to the model where their type
    and order allow it (tritium.layers).

    ModelLoadError if shapes do not fit each other or a weight cannot be what it is said to be. What
    only reading all weights can tell, such as a weight of 2, is found when an engine first uses the
    model.
    """
    network = _Network(name, input_shape)
    output = network.add_all(layers, network.builder.input, "")
    return Model(network.builder.build(output), name)


class _Network:
    """Layers become calls of the builder, and arrays tensors of its source."""

    def __init__(self, name: str, input_shape: Sequence[int]) -> None:
        self._name = name
        self._source = _core.TensorSource()
        self.builder = _core.NetworkBuilder(name, list(input_shape), self._source)

    def add_all(
        self, layers: Sequence[Layer], x: _core.NetworkValue, prefix: str
    ) -> _core.NetworkValue:
        for place, layer in enumerate(layers):
            x = self._add(layer, x, f"{prefix}{place}")
        return x

    def _add(self, layer: Layer, x: _core.NetworkValue, name: str) -> _core.NetworkValue:
        match layer:
            case BitLinear():
                return self._add_bit_linear(layer, x, name)
            case Linear():
                outputs = self._lend_matrix(f"{name}.weight", _floats(layer.weight, name), "plain")
                self._lend_bias(name, layer.bias)
                return self.builder.dense_linear(x, name, outputs)
            case RMSNorm():
                self._lend(f"{name}.weight", _floats(layer.weight, name))
                return self.builder.rms_norm(x, name, layer.eps)
            case LayerNorm():
                self._lend(f"{name}.weight", _floats(layer.weight, name))
                self._lend_bias(name, layer.bias)
                return self.builder.layer_norm(x, name, layer.eps)
            case ReLU() | ReLU2() | SiLU() | GELU():
                return self.builder.activation(x, _ACTIVATIONS[type(layer)], name)
            case Softmax():
                return self.builder.softmax(x, name)
            case Flatten():
                return self.builder.flatten(x)
            case Residual():
                return self.builder.add(x, self.add_all(layer.layers, x, f"{name}."), name)
            case Custom():
                inputs = [
                    self.add_all(branch, x, f"{name}.{place}.")
                    for place, branch in enumerate(layer.branches)
                ]
                return self.builder.custom(inputs, layer.operator.core, name)
        raise ModelLoadError(f"[layers] {name}: {type(layer).__name__} is no layer of a network")

    def _add_bit_linear(
        self, layer: BitLinear, x: _core.NetworkValue, name: str
    ) -> _core.NetworkValue:
        if layer.norm is not None:
            x = self._add(layer.norm, x, f"{name}.norm")
        weight = np.asarray(layer.weight)
        trits = weight.dtype.kind in "iu"
        if trits and layer.scale is not None:
            outputs = self._lend_matrix(f"{name}.weight", _trits(weight, name), "ternary_trits")
            self._lend(f"{name}.weight_scale", np.atleast_1d(_floats(layer.scale, name)))
        elif not trits and layer.scale is None:
            weight = _floats(weight, name)
            outputs = self._lend_matrix(f"{name}.weight", weight, "ternary_masters")
        else:
            needed = "trits need a scale" if trits else "masters bring their own scale, their mean"
            given = "none" if trits else "one"
            raise ModelLoadError(
                f"[layers] {name}: weights of {weight.dtype} and {given} given; {needed}"
            )
        self._lend_bias(name, layer.bias)
        return self.builder.ternary_linear(x, name, outputs, layer.scale_direction)

    def _lend_matrix(self, tensor: str, array: NDArray[Any], encoding: str) -> int:
        """The number of outputs."""
        if array.ndim != 2:
            raise ModelLoadError(
                f"[layers] {tensor} must have 2 dimensions (outputs, inputs), "
                f"got {array.ndim} with shape {array.shape}"
            )
        self._lend(tensor, array, encoding)
        return array.shape[0]

    def _lend_bias(self, name: str, bias: ArrayLike | None) -> None:
        if bias is not None:
            self._lend(f"{name}.bias", _floats(bias, name))

    def _lend(self, tensor: str, array: NDArray[Any], encoding: str = "plain") -> None:
        self._source.add(
            tensor,
            dtype=array.dtype.name,
            encoding=encoding,
            shape=array.shape,
            file=_core.MappedFile.from_buffer(array.data, self._name),
            offset=0,
            nbytes=array.nbytes,
        )


def _floats(values: ArrayLike, name: str) -> NDArray[Any]:
    """As contiguous float32 or float16, without a copy where they are that already."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ModelLoadError(f"[layers] {name}: real numbers are needed, got {array.dtype}")
    kept = array.dtype if array.dtype in (np.float32, np.float16) else np.dtype(np.float32)
    return np.ascontiguousarray(array, dtype=kept.newbyteorder("="))


def _trits(array: NDArray[Any], name: str) -> NDArray[np.int8]:
    """As contiguous int8, without a copy where they are that already."""
    if array.dtype != np.int8:  # numbers beyond int8 must not wrap around
        wrong = array[(array < -1) | (array > 1)]
        if wrong.size:
            raise ModelLoadError(
                f"[layers] {name}: {wrong.size} of {array.size} weights are not -1, 0 or 1, "
                f"the first is {wrong[0]}"
            )
    return np.ascontiguousarray(array, dtype=np.int8)
