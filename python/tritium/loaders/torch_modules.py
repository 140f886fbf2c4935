"""How does a trained PyTorch module become a model?

A module's forward is code, and code is not read here: what a module computes is known from its
class, or the module says it itself (`tritium_layers`, see `from_torch`).
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ModelLoadError
from ..layers import (
    GELU,
    BitLinear,
    Custom,
    Flatten,
    Layer,
    LayerNorm,
    Linear,
    ReLU,
    Residual,
    RMSNorm,
    SiLU,
    Softmax,
)
from ..network import build_model

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ..model import Model

_TAKEN = (
    "taken are Sequential, Linear, ReLU, SiLU, GELU, Softmax, LayerNorm, RMSNorm, Flatten, "
    "Identity and Dropout of torch.nn, BitLinear, AutoBitLinear and LlamaRMSNorm of transformers, "
    "their subclasses with the same forward, and modules with a method tritium_layers()"
)


def from_torch(
    module: torch.nn.Module,
    *,
    input_shape: Sequence[int],
    ternarize: bool | Collection[str] = False,
    name: str = "network",
) -> Model:
    """A model that computes what a module does in eval mode, in float32.

    input_shape: that of one sample, without the batch. Layers are named by their paths in the
    module: "encoder.0", and "encoder.0:2" where a module is used a second time.

    Taken are nn.Sequential, nested as you like, of nn.Linear, ReLU, SiLU, GELU (in the form of
    erf), Softmax over the last dimension, LayerNorm, RMSNorm, Flatten, Identity and Dropout, and
    BitLinear, AutoBitLinear and LlamaRMSNorm of transformers. Any other module, a residual block
    for example, says what it computes in a method `tritium_layers()`: a sequence of layers
    (`tritium.layers`) and of modules, its own or others, that run one after the other.

    ternarize: which nn.Linear become BitLinear, their weights -1, 0 and 1 by their mean magnitude:
    all of them, or those with these paths. The others run in floats.

    Weights on the CPU in float32, in float16 or packed are lent, and must not be changed while the
    model is in use; all others are copied: float64 and bfloat16 as float32, ternary ones packed.

    ModelLoadError names the first module that cannot be taken, by its path and class; it is also
    raised without PyTorch, and for what `build_model` refuses.
    """
    try:
        import torch
    except ImportError as error:
        raise ModelLoadError(
            "[from_torch] PyTorch is needed and cannot be imported; pip install torch"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise ModelLoadError(
            f"[from_torch] a torch.nn.Module is needed, got {type(module).__name__}"
        )
    with torch.no_grad():
        layers = read_layers(module, ternarize=ternarize)
    return build_model(layers, input_shape=input_shape, name=name)


def read_layers(
    module: torch.nn.Module, *, ternarize: bool | Collection[str] = False
) -> dict[str, Layer]:
    """The layers of a module in the order in which they run, by their names."""
    reader = _Reader(ternarize)
    layers = dict(reader.read(module, ""))
    reader.require_all_ternarized()
    return layers


class _Reader:
    def __init__(self, ternarize: bool | Collection[str]) -> None:
        self._all_ternary = ternarize is True
        self._to_ternarize = set() if isinstance(ternarize, bool) else set(ternarize)
        self._missed = set(self._to_ternarize)
        self._uses: Counter[str] = Counter()

    def read(self, module: Any, path: str) -> Iterator[tuple[str, Layer]]:
        from torch import nn

        if hasattr(module, "tritium_layers"):
            yield from self._read_declared(module, path)
        elif _has_hooks(module):
            raise _refused(module, path, "it has forward hooks, which may change what it computes")
        elif _computes(module, nn.Sequential):
            # Not named_children(), which leaves out a module that comes a second time.
            for name, child in module._modules.items():
                yield from self.read(child, _join(path, name))
        elif not (_computes(module, nn.Identity) or _computes(module, nn.Dropout)):
            yield self._unique(path or type(module).__name__), self._read_layer(module, path)

    def require_all_ternarized(self) -> None:
        if self._missed:
            raise ModelLoadError(
                f"[from_torch] ternarize: {len(self._missed)} of {len(self._to_ternarize)} paths "
                f"are not those of a torch.nn.Linear, the first is {min(self._missed)!r}"
            )

    def _unique(self, name: str) -> str:
        self._uses[name] += 1
        return name if self._uses[name] == 1 else f"{name}:{self._uses[name]}"

    def _read_declared(self, module: Any, path: str) -> Iterator[tuple[str, Layer]]:
        """What the module's method says."""
        from torch import nn

        below = {id(child): name for name, child in module.named_modules() if child is not module}

        def read_items(items: Iterable[Any], parent: str) -> Iterator[tuple[str, Layer]]:
            items = list(items)
            for place, item in enumerate(items):
                if item is module:
                    raise _refused(module, path, "its tritium_layers() holds the module itself")
                name = parent if len(items) == 1 else _join(parent, str(place))
                if isinstance(item, nn.Module):
                    child = below.get(id(item))
                    yield from self.read(item, name if child is None else _join(path, child))
                    continue
                name = self._unique(name or type(module).__name__)
                if isinstance(item, Residual):
                    item = dataclasses.replace(item, layers=dict(read_items(item.layers, name)))
                elif isinstance(item, Custom):
                    branches = [
                        dict(read_items(branch, f"{name}.{branch_place}"))
                        for branch_place, branch in enumerate(item.branches)
                    ]
                    item = dataclasses.replace(item, branches=branches)
                yield name, item

        return read_items(module.tritium_layers(), path)

    def _read_layer(self, module: Any, path: str) -> Layer:
        import torch
        from torch import nn

        bitnet = sys.modules.get("transformers.integrations.bitnet")
        if bitnet is not None:
            if _computes(module, bitnet.BitLinear):
                return _packed_bit_linear(module, path)
            if _computes(module, bitnet.AutoBitLinear):
                return _auto_bit_linear(module, path)
        if _computes(module, nn.Linear):
            if self._all_ternary or path in self._to_ternarize:
                self._missed.discard(path)
                return _ternarized(module, path)
            return Linear(_floats(module, "weight", path), _bias(module, path))
        if _is_llama_norm(module):
            return _llama_norm(module, path)
        if _computes(module, nn.RMSNorm):
            eps = torch.finfo(torch.float32).eps if module.eps is None else module.eps
            return RMSNorm(_norm_weight(module, path), eps)
        if _computes(module, nn.LayerNorm):
            return LayerNorm(_norm_weight(module, path), _bias(module, path), module.eps)
        if _computes(module, nn.ReLU):
            return ReLU()
        if _computes(module, nn.SiLU):
            return SiLU()
        if _computes(module, nn.GELU):
            if module.approximate != "none":
                why = f"approximate={module.approximate!r}; taken is 'none', the form of erf"
                raise _refused(module, path, why)
            return GELU()
        if _computes(module, nn.Softmax):
            if module.dim not in (-1, 1):  # of (batch, width) both are the same
                raise _refused(module, path, f"dim={module.dim}; taken is the last one, -1")
            return Softmax()
        if _computes(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1):
                why = f"dimensions {module.start_dim} to {module.end_dim}; taken are all, 1 to -1"
                raise _refused(module, path, why)
            return Flatten()
        raise _refused(module, path, f"its forward is not known; {_TAKEN}")


def _packed_bit_linear(module: Any, path: str) -> BitLinear:
    """transformers' BitLinear: y = sums / (scale of the weight * scale of the sample) + bias."""
    packed = module.weight
    outputs, needed = module.out_features, (module.out_features // 4, module.in_features)
    if outputs % 4 or tuple(packed.shape) != needed:
        why = f"{outputs} outputs in packed weights of shape {tuple(packed.shape)}, not {needed}"
        raise _refused(module, path, f"{why}; outputs must be a multiple of 4")
    return BitLinear(
        _array(packed, module, path),
        _floats(module, "weight_scale", path),
        _bias(module, path),
        "divide",
        _inner_norm(module, path),
        packed_outputs=outputs,
    )


def _auto_bit_linear(module: Any, path: str) -> BitLinear:
    """transformers' AutoBitLinear: of masters (online), or of trits and a scale that multiplies."""
    import torch

    norm = _inner_norm(module, path)
    if module.online_quant:
        return _ternarized(module, path, norm)
    weight = _readable(module.weight, module, path)
    trits = weight.to(torch.int8)
    wrong = weight[(trits != weight) | (trits.abs() > 1)]
    if len(wrong):
        why = f"{len(wrong)} of {weight.numel()} offline weights are not -1, 0 or 1, the first is "
        raise _refused(module, path, f"{why}{wrong[0].item()}")
    scale = _floats(module, "weight_scale", path)
    bias = _bias(module, path)
    if bias is not None:
        bias = bias.astype(scale.dtype) * scale  # which multiplies the bias, too
    return BitLinear(_packed(trits), scale, bias, norm=norm, packed_outputs=len(trits))


def _ternarized(module: Any, path: str, norm: RMSNorm | None = None) -> BitLinear:
    """Trits, and what divides their sums, to the bit as transformers' AutoBitLinear has them."""
    import torch

    weight = _readable(module.weight, module, path).float()
    mean = weight.abs().mean()
    if not torch.isfinite(mean):
        raise _refused(module, path, "it holds a weight that is not finite")
    scale = 1.0 / mean.clamp(min=1e-5)
    trits = (weight * scale).round().clamp(-1, 1)
    bias = _bias(module, path)
    return BitLinear(_packed(trits), scale.numpy(), bias, "divide", norm, packed_outputs=len(trits))


def _packed(trits: torch.Tensor) -> NDArray[Any]:
    """As transformers packs them, see `layers.BitLinear`."""
    import torch

    stripe = -(-len(trits) // 4)
    codes = torch.zeros((4 * stripe, trits.shape[1]), dtype=torch.uint8)
    codes[: len(trits)] = trits + 1
    stripes = codes.view(4, stripe, -1)
    return (stripes[0] | stripes[1] << 2 | stripes[2] << 4 | stripes[3] << 6).numpy()


def _is_llama_norm(module: torch.nn.Module) -> bool:
    llama = sys.modules.get("transformers.models.llama.modeling_llama")
    return llama is not None and _computes(module, llama.LlamaRMSNorm)


def _llama_norm(module: Any, path: str) -> RMSNorm:
    return RMSNorm(_floats(module, "weight", path), module.variance_epsilon)


def _inner_norm(module: Any, path: str) -> RMSNorm | None:
    norm = module.rms_norm
    if norm is None:
        return None
    inner = _join(path, "rms_norm")
    if not _is_llama_norm(norm) or _has_hooks(norm):
        raise _refused(norm, inner, "a LlamaRMSNorm is needed here")
    return _llama_norm(norm, inner)


def _norm_weight(module: Any, path: str) -> NDArray[Any]:
    import numpy as np

    if len(module.normalized_shape) != 1:
        why = f"it normalises over {len(module.normalized_shape)} dimensions; taken is 1"
        raise _refused(module, path, why)
    if module.weight is None:
        return np.ones(module.normalized_shape, np.float32)
    return _floats(module, "weight", path)


def _bias(module: Any, path: str) -> NDArray[Any] | None:
    return None if module.bias is None else _floats(module, "bias", path)


def _floats(module: Any, attribute: str, path: str) -> NDArray[Any]:
    """float16 and float32 as they are, other floats as float32."""
    import torch

    tensor = _readable(getattr(module, attribute), module, path)
    if not tensor.is_floating_point():
        raise _refused(module, path, f"floats are needed as its {attribute}, got {tensor.dtype}")
    if tensor.dtype not in (torch.float32, torch.float16):
        tensor = tensor.float()
    return _array(tensor, module, path)


def _array(tensor: torch.Tensor, module: Any, path: str) -> NDArray[Any]:
    """Its memory, where that is contiguous and on the CPU."""
    return _readable(tensor, module, path).contiguous().numpy()


def _readable(tensor: torch.Tensor, module: Any, path: str) -> torch.Tensor:
    import torch

    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        what = f"{tensor.dtype}, {tensor.layout}, on {tensor.device}"
        raise _refused(module, path, f"its weights cannot be read: {what}")
    return tensor.detach().cpu()


def _computes(module: torch.nn.Module, kind: type[torch.nn.Module]) -> bool:
    """Whether it is of this class and runs its forward, not one of its own."""
    return isinstance(module, kind) and getattr(module.forward, "__func__", None) is kind.forward


def _has_hooks(module: torch.nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _refused(module: torch.nn.Module, path: str, why: str) -> ModelLoadError:
    kind = type(module)
    where = path or "the module itself"
    return ModelLoadError(
        f"[from_torch] {where} ({kind.__module__}.{kind.__qualname__}) cannot be taken: {why}"
    )
