"""What does the shipped folder hold?  A packed Hugging Face BitNet checkpoint and its tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from .model import BitLinear, DemoModel, Shape
from .packing import pack_ternary, unpack_ternary
from .train_tokenizer import BEGIN, END


def config_of(shape: Shape, begin: int, end: int) -> dict[str, object]:
    """config.json with the keys of the packed microsoft/bitnet-b1.58-2B-4T."""
    return {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "max_position_embeddings": shape.max_position_embeddings,
        "hidden_act": "relu2",
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_theta": shape.rope_theta,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        "tie_word_embeddings": True,
        "bos_token_id": begin,
        "eos_token_id": end,
        "torch_dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "offline",
        },
    }


def packed_state(model: DemoModel) -> dict[str, torch.Tensor]:
    """Projections as uint8 (N/4, K) with a bf16 `weight_scale` [1]; everything else bf16."""
    state: dict[str, torch.Tensor] = {}
    quantised = set()
    for name, module in model.named_modules():
        if isinstance(module, BitLinear):
            t, mean = module.ternary()
            state[f"{name}.weight"] = pack_ternary(t.cpu())
            state[f"{name}.weight_scale"] = mean.cpu().bfloat16().reshape(1)
            quantised.add(f"{name}.weight")
    for name, tensor in model.state_dict().items():
        if name not in quantised:
            state[name] = tensor.detach().cpu().bfloat16()
    return {name: tensor.contiguous() for name, tensor in sorted(state.items())}


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def export(model: DemoModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Write config, weights, tokenizer and generation settings to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    write_json(folder / "config.json", config_of(model.shape, begin, end))
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": begin,
            "eos_token_id": end,
            "do_sample": False,
            "max_length": model.shape.max_position_embeddings,
        },
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BEGIN,
            "eos_token": END,
            "clean_up_tokenization_spaces": False,
            "model_max_length": model.shape.max_position_embeddings,
        },
    )
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    save_file(packed_state(model), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


def load_exported(folder: Path) -> DemoModel:
    """The exported checkpoint in this package's own network, in float32, for evaluation."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = DemoModel(Shape(**{k: config[k] for k in Shape.__dataclass_fields__}))
    state = load_file(folder / "model.safetensors")
    for name, module in model.named_modules():
        if isinstance(module, BitLinear):
            module.weight_scale = state.pop(f"{name}.weight_scale").float()
            state[f"{name}.weight"] = unpack_ternary(state[f"{name}.weight"])
    missing = model.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    unexpected = [k for k in missing.missing_keys if not k.endswith("weight_scale")]
    if unexpected or missing.unexpected_keys:
        raise ValueError(f"[load_exported] missing {unexpected}, extra {missing.unexpected_keys}")
    return model.eval()
