"""What does transformers compute?  Folders in float32, with every linear layer recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # read when torch is imported

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitNetConfig,
    DynamicCache,
    PreTrainedModel,
)
from transformers.integrations.bitnet import ActQuant, AutoBitLinear, BitLinear
from transformers.models.bitnet import modeling_bitnet

from agreement import DenseCall, LinearCall

torch.set_num_threads(1)  # these models are too small for more


@dataclass(frozen=True)
class Recording:
    """One forward pass."""

    logits: NDArray[np.float32]  # (tokens, vocab)
    linears: dict[str, LinearCall]
    dense: dict[str, DenseCall]  # layers in floats, the head among them


@contextmanager
def _sub_norm_of_all_heads() -> Iterator[None]:
    """transformers gives attn_sub_norm hidden_size weights; it normalises heads * head_dim values.

    The two differ only where head_dim is not hidden_size / heads, which crashes there.
    """
    original = modeling_bitnet.BitNetAttention.__init__

    def init(self: Any, config: Any, layer_idx: int) -> None:
        original(self, config, layer_idx)
        self.attn_sub_norm = modeling_bitnet.BitNetRMSNorm(
            config.num_attention_heads * self.head_dim, eps=config.rms_norm_eps
        )

    modeling_bitnet.BitNetAttention.__init__ = init
    try:
        yield
    finally:
        modeling_bitnet.BitNetAttention.__init__ = original


# The reproductions of BitNet b1.58 have code of their own, which transformers does not have. They
# are a BitNet with online weights, and these names instead of transformers'.
NAMES = {"inner_attn_ln": "attn_sub_norm", "ffn_layernorm": "ffn_sub_norm"}


def bitnet_config(values: dict[str, Any]) -> BitNetConfig:
    """The configuration of a reproduction, from its config.json."""
    own = ("architectures", "model_type", "auto_map", "weight_bits", "input_bits")
    rule = {"linear_class": "autobitlinear", "quantization_mode": "online"}
    return BitNetConfig(
        **{name: value for name, value in values.items() if name not in own},
        quantization_config={"quant_method": "bitnet", **rule},
    )


def load_float32(folder: Path) -> PreTrainedModel:
    """The folder's model, computing in float32 whatever its file holds."""
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    is_reproduction = values.get("architectures") == ["BitnetForCausalLM"]
    config = bitnet_config(values) if is_reproduction else AutoConfig.from_pretrained(folder)
    with _sub_norm_of_all_heads():
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation="eager",
            key_mapping=NAMES if is_reproduction else None,
            output_loading_info=True,
        )
    assert not any(loading.values()), loading  # every tensor was found and had its place
    # from_pretrained casts the packed projections alone, and model.float() refuses.
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.float()
    return model.eval()


def linear_layers(model: torch.nn.Module) -> dict[str, AutoBitLinear | BitLinear]:
    """The ternary layers by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, AutoBitLinear | BitLinear)}


def codes_of(layer: AutoBitLinear | BitLinear, x: torch.Tensor) -> torch.Tensor:
    """The int8 codes that the layer makes of its input, by its own function."""
    if isinstance(layer, BitLinear):
        return layer.activation_quant(x)[0]
    # AutoBitLinear keeps code / scale in float32: multiplying by the scale brings the code back.
    scale = 127 / x.abs().max(dim=-1, keepdim=True).values.clamp(min=1e-5)
    return (ActQuant.apply(x) * scale).round().to(torch.int8)


@torch.inference_mode()
def record(model: PreTrainedModel, token_ids: list[int]) -> Recording:
    """Run token ids (tokens,) through the model."""
    linears: dict[str, LinearCall] = {}
    dense: dict[str, DenseCall] = {}

    def array(tensor: torch.Tensor) -> NDArray[Any]:
        return tensor[0].detach().numpy().copy()

    def keep_linear(name: str) -> Any:
        def keep(layer: Any, inputs: tuple[torch.Tensor], y: torch.Tensor) -> None:
            x = inputs[0] if layer.rms_norm is None else layer.rms_norm(inputs[0])
            linears[name] = LinearCall(array(x), array(codes_of(layer, x)), array(y))

        return keep

    def keep_dense(name: str) -> Any:
        def keep(_: Any, inputs: tuple[torch.Tensor], y: torch.Tensor) -> None:
            dense[name] = DenseCall(array(inputs[0]), array(y))

        return keep

    layers = linear_layers(model)
    handles = [layer.register_forward_hook(keep_linear(n)) for n, layer in layers.items()]
    handles += [
        module.register_forward_hook(keep_dense(name))
        for name, module in model.named_modules()
        if type(module) is torch.nn.Linear
    ]
    assert layers, "transformers made no ternary layer of this folder"
    try:
        logits = model(torch.tensor([token_ids]), use_cache=False).logits[0].numpy()
    finally:
        for handle in handles:
            handle.remove()
    return Recording(logits, linears, dense)


class HalfCache(DynamicCache):
    """Keeps keys and values rounded to float16, as Tritium does, and gives them in float32."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return super().update(
            key_states.half().float(), value_states.half().float(), *args, **kwargs
        )


@torch.inference_mode()
def half_cache_logits(model: PreTrainedModel, token_ids: list[int]) -> NDArray[np.float32]:
    """Logits (tokens, vocab) with keys and values in float16, everything else in float32."""
    ids = torch.tensor([token_ids])
    return model(ids, past_key_values=HalfCache(), use_cache=True).logits[0].numpy()


@torch.inference_mode()
def sdpa_logits(model: PreTrainedModel, token_ids: list[int]) -> NDArray[np.float32]:
    """Logits (tokens, vocab) with torch's fused attention: how far transformers is from itself."""
    model.set_attn_implementation("sdpa")
    try:
        return model(torch.tensor([token_ids]), use_cache=False).logits[0].numpy()
    finally:
        model.set_attn_implementation("eager")


@torch.inference_mode()
def greedy(
    model: PreTrainedModel, token_ids: list[int], count: int
) -> tuple[list[int], NDArray[np.float32]]:
    """`count` tokens after token ids (tokens,), and the logits (count, vocab) that chose them.

    Keys and values are in float16. The sequence is computed anew for every token: no past can be
    wrong.
    """
    ids, chosen_by = list(token_ids), []
    for _ in range(count):
        logits = half_cache_logits(model, ids)[-1]
        ids.append(int(logits.argmax()))
        chosen_by.append(logits)
    return ids[len(token_ids) :], np.stack(chosen_by)
