"""config.json: what is understood, and that nonsense is refused with its field and both numbers."""

from __future__ import annotations

import json

import pytest

from hf_folders import bitnet_config
from tritium.errors import ModelLoadError
from tritium.loaders.config import read_config

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
    assert (model.context_length, model.rope_theta) == (4096, 500000.0)
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


@pytest.mark.parametrize("kept", [None, [], ["lm_head"], ...])
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
    assert read_config(write(tmp_path, **changes)).model.rope_theta == 20000.0


def test_absent_fields_have_the_defaults_of_transformers(tmp_path):
    absent = ["rope_theta", "rms_norm_eps", "hidden_act", "tie_word_embeddings"]
    absent += ["max_position_embeddings", "num_key_value_heads"]
    model = read_config(write(tmp_path, **dict.fromkeys(absent, ...))).model
    assert (model.rope_theta, model.rms_norm_eps, model.activation) == (500000.0, 1e-5, "relu2")
    assert (model.tied_head, model.context_length, model.kv_heads) == (False, 2048, 4)


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
    "attention bias": ("attention_bias", True, "got true, expected false"),
    "unknown architecture": (
        "architectures",
        ["LlamaForCausalLM"],
        r"got \['LlamaForCausalLM'\], expected one of BitNetForCausalLM",
    ),
    "architectures of text": ("architectures", "BitNetForCausalLM", "expected a list of names"),
    "architecture of a number": ("architectures", [3], r"got \[3\], expected one of"),
    "another model type": ("model_type", "llama", "got 'llama', expected one of bitnet, bitnet-25"),
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
    "norm inside": (
        "quantization_config",
        quantization(use_rms_norm=True),
        "quantization_config.use_rms_norm: got true, expected false",
    ),
    "layers left alone": (
        "quantization_config",
        quantization(modules_to_not_convert=["lm_head", "model.layers.0"]),
        "modules_to_not_convert: got .*model.layers.0.*, expected null",
    ),
    "unknown rope": (
        "rope_parameters",
        {"rope_type": "yarn", "factor": 4.0},
        "rope_parameters.rope_type: got 'yarn', expected default",
    ),
    "scaled rope": (
        "rope_scaling",
        {"type": "linear", "factor": 2.0},
        "rope_scaling.type: got 'linear', expected default",
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
    "partial rope": ("partial_rotary_factor", 0.5, "got 0.5, expected 1"),
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
