"""What is the network, and how is it trained with ternary weights?

The transformer of microsoft/bitnet-b1.58-2B-4T (arXiv:2504.12285) at toy size: RMSNorm, grouped
query attention with half-split RoPE, a squared-ReLU gated MLP, one extra RMSNorm before `o_proj`
and one before `down_proj`, tied embeddings, no biases.  Module names follow transformers'
`BitNetForCausalLM`, so a state dict is a checkpoint.

Quantisation (arXiv:2402.17764): weights w -> t·m with m = mean|W| and t = clip(rint(w/m), -1, 1);
activations x -> q·a/127 with a = max|x| of the token and q = rint(127·x/a).  Rounding passes the
gradient straight through.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; the defaults are the shipped demo model."""

    vocab_size: int = 2048
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 8
    num_attention_heads: int = 8
    num_key_value_heads: int = 2
    max_position_embeddings: int = 512
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


def _straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    return x + (rounded - x).detach()


class BitLinear(nn.Module):
    """y = x·Wᵀ with ternary W and int8 x; `weight_scale` set means W holds ternary values."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))  # (outputs, inputs)
        self.register_buffer("weight_scale", None)
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:  # (..., inputs) -> (..., outputs)
        x = x.float()
        amax = x.detach().abs().amax(-1, keepdim=True).clamp(min=1e-5)
        scaled = x * (127 / amax)
        q = _straight_through(scaled, scaled.round().clamp(-128, 127))
        if self.weight_scale is not None:
            return F.linear(q, self.weight) * (amax / 127 * self.weight_scale)
        mean = self.weight.detach().abs().mean().clamp(min=1e-5)
        w = self.weight / mean
        t = _straight_through(w, w.round().clamp(-1, 1))
        return F.linear(q, t).float() * (amax / 127 * mean)

    def ternary(self) -> tuple[Tensor, Tensor]:
        """(t in {-1, 0, 1} as float, m = mean|W|)."""
        mean = self.weight.detach().float().abs().mean().clamp(min=1e-5)
        return (self.weight.detach().float() / mean).round().clamp(-1, 1), mean


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotary_angles(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """cos and sin, each (length, head_dim), the two halves equal."""
    half = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
    angle = torch.outer(torch.arange(length).float(), shape.rope_theta**-half)
    angle = torch.cat((angle, angle), -1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE on (batch, heads, length, head_dim), pairing j with j + head_dim/2."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv = shape.num_key_value_heads * shape.head_dim
        self.q_proj = BitLinear(shape.hidden_size, shape.hidden_size)
        self.k_proj = BitLinear(shape.hidden_size, kv)
        self.v_proj = BitLinear(shape.hidden_size, kv)
        self.o_proj = BitLinear(shape.hidden_size, shape.hidden_size)
        self.attn_sub_norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape

        def heads(y: Tensor) -> Tensor:  # -> (batch, heads, length, head_dim)
            return y.view(batch, length, -1, self.shape.head_dim).transpose(1, 2)

        q = rotate(heads(self.q_proj(x)), cos, sin)
        k = rotate(heads(self.k_proj(x)), cos, sin)
        v = heads(self.v_proj(x))
        groups = self.shape.num_attention_heads // self.shape.num_key_value_heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        if torch.is_autocast_enabled(x.device.type):
            q, k, v = q.bfloat16(), k.bfloat16(), v.bfloat16()
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = y.transpose(1, 2).reshape(batch, length, -1)
        return self.o_proj(self.attn_sub_norm(y))


class MLP(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = BitLinear(shape.hidden_size, shape.intermediate_size)
        self.up_proj = BitLinear(shape.hidden_size, shape.intermediate_size)
        self.down_proj = BitLinear(shape.intermediate_size, shape.hidden_size)
        self.ffn_sub_norm = RMSNorm(shape.intermediate_size, shape.rms_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        gated = self.gate_proj(x).relu().square() * self.up_proj(x)
        return self.down_proj(self.ffn_sub_norm(gated))


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = MLP(shape)
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class _Trunk(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)


class DemoModel(nn.Module):
    """Token ids (batch, length) -> logits (batch, length, vocab) in float32."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = _Trunk(shape)
        cos, sin = rotary_angles(shape, shape.max_position_embeddings)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        x = self.model.embed_tokens(ids).float()
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight).float()
