"""`tritium show`: what is this model, and what does it need here?"""

from __future__ import annotations

import argparse
import json
from typing import Any

from .._core import RopeConfig
from ..engine import InferenceEngine
from ..model import LanguageModel, as_language_model, load
from ..tokenizer import find_tokenizer_file
from .arguments import add_model_options, add_switch

SUMMARY = "describe a model and its memory"
DESCRIPTION = "Describe a model, and what running it takes here. Its weights are not computed with."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    add_switch(parser, "--plan", help="also the steps that the engine would run")
    add_switch(parser, "--json", help="print JSON")


def execute(arguments: argparse.Namespace) -> int:
    model = as_language_model(load(arguments.model))
    engine = InferenceEngine(
        arguments.device,
        fallback=arguments.fallback,
        threads=arguments.threads,
        optimization_level=arguments.optimization_level,
        ternary_format=arguments.ternary_format,
    )
    facts = describe_model(
        model,
        engine,
        context_size=arguments.ctx_size,
        kv_dtype=arguments.kv_dtype,
        head=arguments.head,
    )
    if not arguments.plan:
        del facts["plan"]
    print(json.dumps(facts, indent=2) if arguments.json else as_table(facts))
    return 0


def describe_model(
    model: LanguageModel,
    engine: InferenceEngine,
    *,
    context_size: int | None = None,
    kv_dtype: str = "f16",
    head: str = "auto",
) -> dict[str, Any]:
    """Facts about a model on an engine, ready for JSON. Sizes in bytes."""
    config = model.config
    plan = engine.plan(model, context_size=context_size, kv_dtype=kv_dtype, head=head)
    tokenizer = find_tokenizer_file(model.files)
    return {
        "name": model.name,
        "folder": str(model.folder),
        "architecture": config.architecture,
        "parameters": {
            "total": model.core.parameter_count,
            "ternary": model.core.ternary_parameter_count,
        },
        "layers": config.layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "heads": config.heads,
        "kv_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "tied_head": config.tied_head,
        "weight_form": model.core.weight_form,
        "scale_rule": config.scale_direction,
        "activation": config.activation,
        "biases": {"attention": config.attention_bias, "mlp": config.mlp_bias},
        "rope": _rope_facts(config.rope),
        "rms_norm_eps": config.rms_norm_eps,
        "linear_norm_eps": config.linear_norm_eps,
        "context_length": config.context_length,
        "tokenizer": None if tokenizer is None else tokenizer.name,
        "bos_token_id": model.bos_token_id,
        "eos_token_ids": list(model.eos_token_ids),
        "memory": {
            "weights": plan.weight_bytes,
            "arena": plan.arena_bytes,
            "kv_cache": plan.kv_bytes,
            "outputs": plan.output_bytes,
            "total": plan.estimated_memory,
        },
        "device": engine.device,
        "threads": engine.threads,
        "kernel_set": engine.kernel_set,
        "plan": {"steps": plan.steps, "fusions": plan.fusions},
    }


def _rope_facts(rope: RopeConfig) -> dict[str, Any]:
    """The base, the kind of scaling, and the numbers that this kind has."""
    facts: dict[str, Any] = {"theta": rope.theta, "scaling": rope.scaling}
    if rope.scaling != "none":
        facts["factor"] = rope.factor
    if rope.scaling == "llama3":
        facts["low_freq_factor"] = rope.low_freq_factor
        facts["high_freq_factor"] = rope.high_freq_factor
        facts["original_context"] = rope.original_context
    return facts


_WEIGHT_FORMS = {
    "packed": "packed, 2-bit codes with stored scales",
    "masters": "masters, floats made ternary by their mean magnitude at load",
}
_SCALE_RULES = {
    "multiply": "multiply: y = sum * scale",
    "divide": "divide: y = sum / scale",
}


def as_table(facts: dict[str, Any]) -> str:
    """The facts of `describe_model` as aligned lines."""
    parameters, memory = facts["parameters"], facts["memory"]
    share = parameters["ternary"] / parameters["total"]
    rows = [
        ("model", f"{facts['name']} ({facts['folder']})"),
        ("architecture", facts["architecture"]),
        (
            "parameters",
            f"{parameters['total']:,}, {parameters['ternary']:,} of them ternary ({share:.0%})",
        ),
        ("layers", facts["layers"]),
        ("heads", f"{facts['heads']}, {facts['kv_heads']} for keys and values"),
        (
            "dimensions",
            f"hidden {facts['hidden_size']}, intermediate {facts['intermediate_size']}, "
            f"head {facts['head_dim']}",
        ),
        ("vocabulary", f"{facts['vocab_size']}, head {'tied' if facts['tied_head'] else 'untied'}"),
        ("weights", _WEIGHT_FORMS.get(facts["weight_form"], facts["weight_form"])),
        ("scale rule", _SCALE_RULES.get(facts["scale_rule"], facts["scale_rule"])),
        ("activation", facts["activation"]),
        ("biases", ", ".join(name for name, there in facts["biases"].items() if there) or "none"),
        ("RoPE", _rope_text(facts["rope"])),
        ("RMSNorm", _norm_text(facts)),
        ("context", f"{facts['context_length']} tokens"),
        ("tokenizer", facts["tokenizer"] or "none, token ids only"),
        ("end tokens", ", ".join(map(str, facts["eos_token_ids"])) or "none"),
        ("device", f"{facts['device']}, {facts['threads']} threads"),
        ("kernel set", facts["kernel_set"]),
        ("memory", f"{_mebibytes(memory['total'])} estimated"),
        ("  weights", _mebibytes(memory["weights"])),
        ("  arena", _mebibytes(memory["arena"])),
        ("  KV cache", f"{_mebibytes(memory['kv_cache'])} for one full context"),
        ("  outputs", _mebibytes(memory["outputs"])),
    ]
    lines = [f"{name:<14}{value}" for name, value in rows]
    if "plan" in facts:
        fusions, steps = facts["plan"]["fusions"], facts["plan"]["steps"]
        lines += ["", f"fusions ({len(fusions)})", *(f"  {fusion}" for fusion in fusions)]
        lines += ["", f"steps ({len(steps)})", *(f"  {step}" for step in steps)]
    return "\n".join(lines)


def _rope_text(rope: dict[str, Any]) -> str:
    numbers = [
        f"{name} {value:g}" for name, value in rope.items() if name not in ("theta", "scaling")
    ]
    scaling = "" if rope["scaling"] == "none" else f", {rope['scaling']} ({', '.join(numbers)})"
    return f"theta {rope['theta']:.10g}{scaling}"


def _norm_text(facts: dict[str, Any]) -> str:
    inner = facts["linear_norm_eps"]
    within = "" if inner is None else f"; one in front of every ternary linear, eps {inner:g}"
    return f"eps {facts['rms_norm_eps']:g}{within}"


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.2f} MiB"
