"""config.json: what is understood, and that nonsense is refused with its field and both numbers."""

from __future__ import annotations

import json

import pytest

from hf_folders import FAMILIES, bitnet_config
from tritium.errors import ModelLoadError
from tritium.loaders.config import read_config
from tritium.loaders.kept_modules import KeptModules

QUANTIZATION = bitnet_config()["quantization_config"]


def write(tmp_path, **changes):
    config = bitnet_config() | changes
    path = tmp_path / "config.json"
    path.write_text(json.dumps({name: v for name, v in config.items() if v is not ...}))
    return path


def quantization(**changes):
    merged = QUANTIZATION | changes
    return {name: value for name, value in merged.items() if value is not ...}


def test_the_published_configuration_is_understood(tmp_path):
    # microsoft/bitnet-b1.58-2B-4T
    path = write(
        tmp_path,
        auto_map={"AutoConfig": "configuration_bitnet.BitNetConfig"},
        bos_token_id=128000,
        eos_token_id=128001,
        hidden_size=2560,
        intermediate_size=6912,
        num_hidden_layers=30,
        num_attention_heads=20,
        num_key_value_heads=5,
        max_position_embeddings=4096,
        rope_theta=500000.0,
        vocab_size=128256,
        quantization_config=quantization(quantization_mode="online"),
    )
    config = read_config(path)
    assert not config.packed
    model = config.model
    assert model.architecture == "bitnet"
    assert (model.vocab_size, model.hidden_size, model.intermediate_size) == (128256, 2560, 6912)
    assert (model.layers, model.heads, model.kv_heads, model.head_dim) == (30, 20, 5, 128)
    assert (model.context_length, model.rope.theta, model.rope.scaling) == (4096, 500000.0, "none")
    assert model.rms_norm_eps == 1e-5
    assert (model.activation, model.tied_head, model.scale_direction) == ("relu2", True, "multiply")


@pytest.mark.parametrize(
    ("changes", "packed", "direction"),
    [
        ({}, True, "multiply"),
        ({"quantization_mode": "online"}, False, "multiply"),
        ({"quantization_mode": ...}, True, "multiply"),
        ({"linear_class": "bitlinear"}, True, "divide"),
        ({"linear_class": ...}, True, "divide"),
        ({"linear_class": None, "quantization_mode": None}, True, "divide"),
        # transformers builds packed layers for bitlinear whatever the mode says
        ({"linear_class": "bitlinear", "quantization_mode": "online"}, True, "divide"),
    ],
)
def test_linear_class_and_mode_decide_form_and_scale_rule(tmp_path, changes, packed, direction):
    config = read_config(write(tmp_path, quantization_config=quantization(**changes)))
    assert config.packed == packed
    assert config.model.scale_direction == direction


@pytest.mark.parametrize("kept", [None, ["lm_head"], ["head", "o_proj"], [""], ...])
def test_layers_that_are_never_converted_may_be_named(tmp_path, kept):
    read_config(write(tmp_path, quantization_config=quantization(modules_to_not_convert=kept)))


@pytest.mark.parametrize("model_type", ["bitnet", "bitnet-25", "bitnet-b1.58"])
def test_each_name_of_the_family_is_known(tmp_path, model_type):
    assert read_config(write(tmp_path, model_type=model_type)).model.architecture == "bitnet"
    assert read_config(write(tmp_path, model_type=model_type, architectures=...))


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_theta": ..., "rope_parameters": {"rope_theta": 20000.0, "rope_type": "default"}},
        {"rope_theta": 20000, "rope_parameters": {"rope_type": "default"}},
        {"rope_theta": 20000, "rope_scaling": None},
        {"rope_theta": 20000, "rope_scaling": {"type": "default"}},
    ],
)
def test_the_rope_base_is_read_from_either_place(tmp_path, changes):
    rope = read_config(write(tmp_path, **changes)).model.rope
    assert (rope.theta, rope.scaling) == (20000.0, "none")


ABSENT = ["rope_theta", "rms_norm_eps", "hidden_act", "tie_word_embeddings", "attention_bias"]
ABSENT += ["mlp_bias", "max_position_embeddings", "num_key_value_heads", "head_dim"]


@pytest.mark.parametrize(
    ("family", "theta", "eps", "activation", "kv_heads"),
    [
        ("bitnet", 500000.0, 1e-5, "relu2", 5),
        ("llama", 10000.0, 1e-6, "silu", 10),
        ("reproduction", 10000.0, 1e-6, "silu", 10),
    ],
)
def test_absent_fields_have_the_defaults_of_the_family(
    tmp_path, family, theta, eps, activation, kv_heads
):
    config = bitnet_config(family=family, heads=10, hidden=80)
    absent = dict.fromkeys(ABSENT, ...)
    model = read_config(write(tmp_path, **config | absent)).model
    assert (model.rope.theta, model.rms_norm_eps, model.activation) == (theta, eps, activation)
    assert (model.tied_head, model.attention_bias, model.mlp_bias) == (False, False, False)
    assert (model.context_length, model.kv_heads, model.head_dim) == (2048, kv_heads, 8)
    config["num_key_value_heads"] = None
    assert read_config(write(tmp_path, **config)).model.kv_heads == 10


# The published configurations: those that were seen, without the fields that say nothing.
REPRODUCTION_3B = FAMILIES["reproduction"] | {
    "vocab_size": 32002, "hidden_size": 3200, "intermediate_size": 8640, "num_hidden_layers": 26,
    "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 2048,
    "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "rope_scaling": None,
    "tie_word_embeddings": True, "pad_token_id": 32000, "attention_bias": False,
    "pretraining_tp": 1, "attention_dropout": 0.0, "use_cache": True, "torch_dtype": "float16",
}  # fmt: skip
HF1BITLLM = FAMILIES["llama"] | {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "max_position_embeddings": 8192, "hidden_act": "silu", "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0, "rope_scaling": None, "tie_word_embeddings": False,
    "is_bitnet_config": True, "mlp_bias": False, "pretraining_tp": 1,
    "quantization_config": {"quant_method": "bitnet", "modules_to_not_convert": None},
}  # fmt: skip
FALCON3_7B_BASE = FAMILIES["llama"] | {
    "vocab_size": 131072, "hidden_size": 3072, "intermediate_size": 23040,
    "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 4,
    "head_dim": 256, "max_position_embeddings": 32768, "hidden_act": "silu",
    "rms_norm_eps": 1e-06, "rope_theta": 1000042, "rope_scaling": None,
    "tie_word_embeddings": False, "is_bitnet_config": True, "activation": "swiglu",
    "auto_map": {"AutoModelForCausalLM": "modeling.LlamaForCausalLM"}, "mlp_bias": False,
    "quantization_config": {"modules_to_not_convert": ["lm_head"], "quant_method": "bitnet"},
}  # fmt: skip


def written(tmp_path, config):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return path


def test_the_reproduction_of_3b_has_heads_of_100_and_masters(tmp_path):
    config = read_config(written(tmp_path, REPRODUCTION_3B))
    model = config.model
    assert not config.packed
    assert (model.architecture, model.head_dim, model.activation) == ("bitnet", 100, "silu")
    assert (model.tied_head, model.scale_direction, model.rms_norm_eps) == (True, "multiply", 1e-5)


@pytest.mark.parametrize("name", ["REPRODUCTION_3B", "HF1BITLLM", "FALCON3_7B_BASE"])
def test_configurations_are_understood_without_their_model_type(tmp_path, name):
    config = {k: v for k, v in globals()[name].items() if k != "model_type"}
    assert read_config(written(tmp_path, config))


def test_a_llama_of_packed_weights_divides_by_its_scales(tmp_path):
    config = read_config(written(tmp_path, HF1BITLLM))
    assert config.packed
    assert (config.model.architecture, config.model.scale_direction) == ("llama", "divide")
    assert (config.model.tied_head, config.model.head_dim) == (False, 128)
    assert config.model.linear_norm_eps is None


def test_falcon_says_its_head_dim_and_what_it_says_beside_changes_nothing(tmp_path):
    config = read_config(written(tmp_path, FALCON3_7B_BASE))
    model = config.model
    assert (model.head_dim, model.rope.theta, model.rms_norm_eps) == (256, 1000042.0, 1e-6)
    assert (model.architecture, model.activation, model.scale_direction) == (
        "llama", "silu", "divide",
    )  # fmt: skip
    assert config.packed
    assert "lm_head" in config.kept
    assert "model.layers.0.mlp.up_proj" not in config.kept


def test_an_ordinary_llama_model_is_refused_as_not_ternary(tmp_path):
    config = {name: v for name, v in HF1BITLLM.items() if name != "quantization_config"}
    with pytest.raises(ModelLoadError, match="an ordinary Llama model is not ternary"):
        read_config(written(tmp_path, config))


@pytest.mark.parametrize(
    ("field", "value", "expected"), [("weight_bits", 2, "1"), ("input_bits", 4, "8")]
)
def test_other_numbers_of_bits_are_refused(tmp_path, field, value, expected):
    with pytest.raises(ModelLoadError, match=f"{field}: got {value}, expected {expected}"):
        read_config(written(tmp_path, REPRODUCTION_3B | {field: value}))


def test_of_two_quantization_rules_the_last_one_counts(tmp_path):
    path = written(tmp_path, HF1BITLLM)
    first = '"quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"}'
    path.write_text("{" + first + ", " + path.read_text()[1:])
    assert read_config(path).model.scale_direction == "divide"


# Rotary positions


def rope_of(tmp_path, **changes):
    rope = read_config(write(tmp_path, **changes)).model.rope
    return {
        name: getattr(rope, name)
        for name in ("theta", "scaling", "factor", "low_freq_factor", "high_freq_factor")
    } | {"original_context": rope.original_context}


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.mark.parametrize("place", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("kind", ["type", "rope_type"])
def test_scaled_positions_are_read_in_old_and_new_forms(tmp_path, place, kind):
    linear = rope_of(tmp_path, **{place: {kind: "linear", "factor": 2}})
    assert (linear["theta"], linear["scaling"], linear["factor"]) == (10000.0, "linear", 2.0)
    rule = {kind: "llama3", "rope_theta": 10000.0, "original_max_position_embeddings": 64}
    llama3 = rope_of(tmp_path, **{place: rule | LLAMA3})
    assert llama3 == {
        "theta": 10000.0, "scaling": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_context": 64.0,
    }  # fmt: skip


def test_the_original_context_is_that_of_the_model_unless_it_is_said(tmp_path):
    rule = {"rope_type": "llama3", **LLAMA3}
    assert rope_of(tmp_path, rope_scaling=rule)["original_context"] == 256
    inside = rule | {"original_max_position_embeddings": 64}
    assert rope_of(tmp_path, rope_scaling=inside)["original_context"] == 64
    beside = {"rope_scaling": inside, "original_max_position_embeddings": 32}
    assert rope_of(tmp_path, **beside)["original_context"] == 32


def test_the_same_rule_in_both_places_is_one_rule(tmp_path):
    rule = {"rope_type": "linear", "factor": 2.0}
    assert rope_of(tmp_path, rope_scaling=rule, rope_parameters=rule)["factor"] == 2.0
    assert rope_of(tmp_path, rope_scaling=rule, rope_parameters={})["factor"] == 2.0


# Which modules stay in floats


@pytest.mark.parametrize(
    ("names", "kept", "converted"),
    [
        # from the start, to a dot or the end
        (["model.layers.1"], ["model.layers.1.mlp.up_proj"], ["model.layers.11.mlp.up_proj"]),
        (["layers.1"], [], ["model.layers.1.mlp.up_proj"]),
        (["model.layers.0.mlp.up"], [], ["model.layers.0.mlp.up_proj"]),
        # an end, wherever it begins
        (["proj"], ["model.layers.0.mlp.up_proj"], []),
        (["mlp.up_proj", "p.down_proj"], ["model.layers.3.mlp.down_proj"], ["model.mlp.gate_proj"]),
        # expressions
        (["model.layers.*.mlp"], ["model.layers.10.mlp.up_proj"], ["model.layers.1.self_attn.q"]),
        ([r"model\.layers\..\.mlp"], ["model.layers.1.mlp.up_proj"], ["model.layers.11.mlp.up"]),
        (["model.layers.1."], ["model.layers.1.mlp.up_proj"], []),
        ([".*"], ["model.layers.0.mlp.up_proj", "lm_head"], []),
        ([""], ["model.layers.0.mlp.up_proj", "lm_head"], []),
    ],
)
def test_names_keep_modules_as_in_transformers(names, kept, converted):
    modules = KeptModules(names)
    for name in kept:
        assert name in modules, name
    for name in converted:
        assert name not in modules, name


def test_matching_takes_no_longer_than_the_names_are(tmp_path):
    # a program that goes back and tries again would not return from this
    names = ["lm_head", ".*a" * 60 + "x"]
    config = read_config(
        write(tmp_path, quantization_config=quantization(modules_to_not_convert=names))
    )
    assert "a" * 200 not in config.kept


# A window


@pytest.mark.parametrize(
    "changes",
    [
        {"sliding_window": None},
        {"sliding_window": 256},
        {"sliding_window": 4096, "layer_types": ["sliding_attention", "full_attention"]},
        {"sliding_window": 32, "use_sliding_window": False},
    ],
)
def test_a_window_that_hides_nothing_changes_nothing(tmp_path, changes):
    assert read_config(write(tmp_path, **changes))


def test_an_explicit_head_dim_wins_over_the_quotient(tmp_path):
    assert read_config(write(tmp_path, head_dim=100)).model.head_dim == 100
    assert read_config(write(tmp_path, head_dim=None)).model.head_dim == 16
    # heads that do not divide the width matter only without it
    assert read_config(write(tmp_path, head_dim=32, num_attention_heads=6)).model.heads == 6


def test_of_a_name_given_twice_the_last_value_counts(tmp_path):
    path = write(tmp_path)
    text = path.read_text()
    path.write_text('{"hidden_act": "gelu", "quantization_config": 3, ' + text[1:])
    assert read_config(path).model.activation == "relu2"


def test_a_name_of_a_word_that_matters_to_nobody_may_hold_anything(tmp_path):
    read_config(write(tmp_path, time_step_limit=[0.0, float("inf")], note=10**300))


NONSENSE = {
    # field, value, what the message says
    "zero": ("hidden_size", 0, "got 0, expected an integer from 1 to 2147483648"),
    "negative": ("intermediate_size", -96, "got -96, expected an integer from 1"),
    "negative layers": ("num_hidden_layers", -1, "got -1, expected an integer from 1 to 4096"),
    "too many layers": ("num_hidden_layers", 10**6, "got 1000000, expected .* to 4096"),
    "huge": ("vocab_size", 2**31 + 1, "got 2147483649, expected an integer from 1 to 2147483648"),
    "400 digits": ("vocab_size", 10**399, r"got 10+\.\.\.0+, expected an integer"),
    "bool": ("hidden_size", True, "got true, expected an integer"),
    "float": ("hidden_size", 64.0, "got 64.0, expected an integer"),
    "text": ("hidden_size", "64", "got '64', expected an integer"),
    "list": ("hidden_size", [64], r"got \[64\], expected an integer"),
    "null": ("hidden_size", None, "got null, expected an integer"),
    "absent": ("hidden_size", ..., "got nothing, expected an integer"),
    "no vocabulary": ("vocab_size", ..., "got nothing, expected an integer"),
    "no heads": ("num_attention_heads", 0, "got 0, expected an integer"),
    "heads that do not divide": (
        "num_attention_heads",
        6,
        "got 6, expected a divisor of hidden_size = 64",
    ),
    "kv heads that do not divide": (
        "num_key_value_heads",
        3,
        "got 3, expected a divisor of num_attention_heads = 4",
    ),
    "more kv heads than heads": ("num_key_value_heads", 8, "got 8, expected a divisor of .* = 4"),
    "kv heads of 0": ("num_key_value_heads", 0, "got 0, expected an integer from 1"),
    "head_dim of 0": ("head_dim", 0, "got 0, expected an integer from 2"),
    "context of 0": ("max_position_embeddings", 0, "got 0, expected an integer from 1"),
    "context of a float": ("max_position_embeddings", 1e9, "got 1000000000.0, expected an integer"),
    "eps of 0": ("rms_norm_eps", 0, "got 0, expected a number from 1e-30 to 0.999"),
    "negative eps": ("rms_norm_eps", -1e-5, "got -1e-05, expected a number"),
    "NaN eps": ("rms_norm_eps", float("nan"), "got nan, expected a number"),
    "eps of text": ("rms_norm_eps", "1e-5", "got '1e-5', expected a number"),
    "bool eps": ("rms_norm_eps", True, "got true, expected a number"),
    "infinite theta": ("rope_theta", float("inf"), "got inf, expected a number from 1 to 1e.30"),
    "NaN theta": ("rope_theta", float("nan"), "got nan, expected a number"),
    "negative theta": ("rope_theta", -10000.0, "got -10000.0, expected a number from 1"),
    "theta too long for a float": ("rope_theta", 10**399, "expected a number"),
    "unknown activation": ("hidden_act", "gelu", "got 'gelu', expected one of relu2, silu"),
    "activation of a list": ("hidden_act", ["relu2"], "expected one of relu2, silu"),
    "tie of a number": ("tie_word_embeddings", 1, "got 1, expected true or false"),
    "tie of text": ("tie_word_embeddings", "false", "got 'false', expected true or false"),
    "attention bias": ("attention_bias", 1, "got 1, expected true or false"),
    "biases of the feed-forward": ("mlp_bias", "yes", "got 'yes', expected true or false"),
    "a short window": (
        "sliding_window",
        255,
        "got 255, expected null or at least max_position_embeddings = 256",
    ),
    "a window of 0": ("sliding_window", 0, "got 0, expected an integer from 1"),
    "layers of another kind": (
        "layer_types",
        ["full_attention", "linear_attention"],
        "linear_attention.*expected a list of full_attention, sliding_attention",
    ),
    "unknown architecture": (
        "architectures",
        ["MambaForCausalLM"],
        r"got \['MambaForCausalLM'\], expected one of BitNetForCausalLM, BitnetForCausalLM, Llama",
    ),
    "architectures of text": ("architectures", "BitNetForCausalLM", "expected a list of names"),
    "architecture of a number": ("architectures", [3], r"got \[3\], expected one of"),
    "another model type": ("model_type", "mamba", "got 'mamba', expected one of bitnet, bitnet-25"),
    "a model type of a number": ("model_type", 3, "got 3, expected one of bitnet"),
    "no quantisation": (
        "quantization_config",
        ...,
        "got nothing, expected the rule of the weights. .*online",
    ),
    "quantisation of text": ("quantization_config", "bitnet", "got 'bitnet', expected an object"),
    "unknown method": (
        "quantization_config",
        quantization(quant_method="gptq"),
        "quantization_config.quant_method: got 'gptq', expected bitnet",
    ),
    "no method": (
        "quantization_config",
        quantization(quant_method=...),
        "quantization_config.quant_method: got nothing, expected bitnet",
    ),
    "unknown linear class": (
        "quantization_config",
        quantization(linear_class="linear"),
        "quantization_config.linear_class: got 'linear', expected one of autobitlinear, bitlinear",
    ),
    "unknown mode": (
        "quantization_config",
        quantization(quantization_mode="lazy"),
        "quantization_config.quantization_mode: got 'lazy', expected one of online, offline",
    ),
    "norm inside of a number": (
        "quantization_config",
        quantization(use_rms_norm=1),
        "quantization_config.use_rms_norm: got 1, expected true or false",
    ),
    "eps of the norm inside": (
        "quantization_config",
        quantization(use_rms_norm=True, rms_norm_eps=0),
        "quantization_config.rms_norm_eps: got 0, expected a number from 1e-30",
    ),
    "a ternary head": (
        "quantization_config",
        quantization(modules_to_not_convert=["model.layers.0"]),
        "modules_to_not_convert: got .*expected null or a list with .lm_head.: a ternary head",
    ),
    "an empty list, which makes the head ternary": (
        "quantization_config",
        quantization(modules_to_not_convert=[]),
        r"modules_to_not_convert: got \[\], expected null or a list",
    ),
    "kept modules of text": (
        "quantization_config",
        quantization(modules_to_not_convert="lm_head"),
        "modules_to_not_convert: got 'lm_head', expected null or a list of at most 2048",
    ),
    "a kept module of a number": (
        "quantization_config",
        quantization(modules_to_not_convert=["lm_head", 3]),
        "modules_to_not_convert: got 3, expected names of modules",
    ),
    "more expressions than could be matched soon": (
        "quantization_config",
        quantization(modules_to_not_convert=["lm_head", *[".*a.*b"] * 33]),
        r"modules_to_not_convert: got 66 times \.\*, expected at most 64",
    ),
    "an expression that may take forever": (
        "quantization_config",
        quantization(modules_to_not_convert=["lm_head", "(a+)+b"]),
        r"modules_to_not_convert: got '\(a\+\)\+b', expected names of modules",
    ),
    "unknown rope": (
        "rope_parameters",
        {"rope_type": "yarn", "factor": 4.0},
        "rope_parameters.rope_type: got 'yarn', expected one of default, linear, llama3",
    ),
    "linear rope without a factor": (
        "rope_scaling",
        {"type": "linear"},
        "rope_scaling.factor: got nothing, expected a number",
    ),
    "llama3 rope without a factor of high frequencies": (
        "rope_scaling",
        {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0},
        "rope_scaling.high_freq_factor: got nothing, expected a number",
    ),
    "two kinds of rope": (
        "rope_scaling",
        {"type": "linear", "rope_type": "llama3", "factor": 2.0},
        "rope_scaling.type: got 'linear', expected rope_type = llama3",
    ),
    "a rope for each kind of layer": (
        "rope_parameters",
        {"full_attention": {"rope_type": "default"}},
        "got rules by kind of layer .'full_attention'., expected one",
    ),
    "half of a head turns": (
        "rope_parameters",
        {"rope_type": "default", "partial_rotary_factor": 0.5},
        "rope_parameters.partial_rotary_factor: got 0.5, expected 1",
    ),
    "default rope with a factor": (
        "rope_scaling",
        {"type": "default", "factor": 2.0},
        "rope_scaling.factor: got 2.0, expected 1",
    ),
    "two rope bases": (
        "rope_parameters",
        {"rope_theta": 500.0},
        "rope_parameters.rope_theta: got 500.0, expected rope_theta = 10000",
    ),
    "partial rope": ("partial_rotary_factor", 0.5, "got 0.5, expected nothing or 1"),
    "capped logits": ("final_logit_softcapping", 30.0, "got 30.0, expected nothing: it is not"),
    "capped attention": ("attn_logit_softcapping", 50.0, "got 50.0, expected nothing"),
    "experts": ("num_local_experts", 8, "got 8, expected nothing or 0 or 1: it is not implemented"),
    "several scales a matrix": ("pretraining_model_parallel", 2, "got 2, expected nothing or 1"),
    "rope of a list": ("rope_parameters", [], r"got \[\], expected an object"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused_with_its_field_and_what_was_expected(tmp_path, case):
    field, value, message = NONSENSE[case]
    path = write(tmp_path, **{"architectures": ...} if field == "model_type" else {})
    path = write(tmp_path, **{field: value})
    with pytest.raises(ModelLoadError, match=message) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"[config] {field}")
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "changes",
    [
        {"head_dim": 15},
        {"hidden_size": 2**31, "head_dim": 16},
        {"intermediate_size": 2**31},
        {"head_dim": 2**31},
    ],
)
def test_what_only_the_core_refuses_names_the_file_too(tmp_path, changes):
    path = write(tmp_path, **changes)
    with pytest.raises(ModelLoadError, match=r"\[config\]") as caught:
        read_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "got a JSON list, expected an object"),
        ("3", "got a JSON int, expected an object"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        ('{"vocab_size": ' + "9" * 100_000 + "}", "100000 digits, expected at most 400"),
        (" " * 3_000_000, "3000000 bytes, expected at most 2097152"),
    ],
    ids=["empty", "cut", "array", "number", "deep and cut", "deep", "digits", "large"],
)
def test_what_is_not_a_json_object_is_refused(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ModelLoadError, match=message) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


def test_what_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ModelLoadError, match="not UTF-8 at byte 7 of 10"):
        read_config(path)


def test_a_missing_configuration_is_named(tmp_path):
    with pytest.raises(ModelLoadError, match=r"config\.json: no such file"):
        read_config(tmp_path / "config.json")


def test_a_folder_in_place_of_the_configuration_is_refused(tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ModelLoadError, match="not a regular file"):
        read_config(tmp_path / "config.json")
