"""Folders: both forms load, shards equal a single file, and what contradicts itself is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tritium
from hf_folders import edit_json, write_bitnet_folder, write_weights
from tritium.errors import ModelLoadError
from tritium.loaders.config import read_config
from tritium.loaders.huggingface import tensor_source
from tritium.loaders.weight_files import find_weights, read_weights

Q = "model.layers.0.self_attn.q_proj.weight"
EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"


def stored_tensors(folder: Path):
    """name -> (dtype word, elements) of a folder with one file, for writing it again, changed."""
    content = (folder / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header.pop("__metadata__")
    types = {"U8": np.uint8, "BF16": np.uint16, "F16": np.float16, "F32": np.float32}
    tensors = {}
    for name, entry in header.items():
        begin, stop = entry["data_offsets"]
        elements = np.frombuffer(content[end + begin : end + stop], types[entry["dtype"]])
        tensors[name] = (entry["dtype"], elements.reshape(entry["shape"]))
    return tensors


def change(folder: Path, **tensors):
    """Write the folder's weights again with some of them replaced, or removed by `...`."""
    stored = stored_tensors(folder) | tensors
    write_weights(folder, {name: tensor for name, tensor in stored.items() if tensor is not ...})


def refused(folder: Path) -> str:
    with pytest.raises(ModelLoadError) as caught:
        tritium.load(folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 900
    return str(caught.value)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("form", ["packed", "masters"])
def test_both_forms_load_from_one_file_and_from_shards(tmp_path, form, shards, mmap):
    write_bitnet_folder(tmp_path, seed=1, form=form, shards=shards)
    model = tritium.load(tmp_path, mmap=mmap)
    assert model.core.weight_form == form
    assert model.config.layers == 2
    matrices = 2 * (64 * 64 * 2 + 32 * 64 * 2 + 96 * 64 * 3)
    assert model.core.ternary_parameter_count == matrices
    assert model.core.parameter_count == matrices + 96 * 64 + 2 * (3 * 64 + 96) + 64


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("form", ["packed", "masters"])
def test_each_float_type_loads(tmp_path, form, dtype):
    write_bitnet_folder(tmp_path, seed=1, form=form, dtype=dtype, tied=False)
    assert tritium.load(tmp_path).core.weight_form == form


def test_sizes_that_are_no_multiple_of_four_load(tmp_path):
    write_bitnet_folder(
        tmp_path, seed=1, hidden=50, intermediate=27, heads=5, kv_heads=1, head_dim=6, vocab=37
    )
    model = tritium.load(tmp_path)
    assert (model.config.head_dim, model.config.hidden_size) == (6, 50)


def test_shards_give_the_same_tensors_as_one_file(tmp_path):
    write_bitnet_folder(tmp_path / "one", seed=1)
    write_bitnet_folder(tmp_path / "three", seed=1, shards=3)
    contents = []
    for folder in (tmp_path / "one", tmp_path / "three"):
        tensors = read_weights(find_weights(folder))
        contents.append(
            {
                name: bytes(memoryview(t.file)[t.entry.offset : t.entry.offset + t.entry.nbytes])
                for name, t in tensors.items()
            }
        )
    assert contents[0] == contents[1]
    assert len(set(map(str, find_weights(tmp_path / "three")))) == 3


def test_the_source_holds_all_tensors_but_those_that_are_ignored(packed_folder):
    names = stored_tensors(packed_folder).keys()
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change(packed_folder, **{name: ("F64", np.zeros(8, np.float64))})
    config = read_config(packed_folder / "config.json")
    source = tensor_source(config, read_weights(find_weights(packed_folder)))
    assert set(source.names()) == names


def test_a_model_says_where_it_is_from_and_what_it_is(packed_folder):
    model = tritium.load(str(packed_folder))
    assert model.name == "packed"
    assert model.folder == packed_folder
    assert model.tokenizer_file is None
    assert model.eos_token_ids == (1, 2)
    assert model.bos_token_id == 0
    assert model.generation_config["do_sample"] is False
    assert "packed" in repr(model)
    assert "2 layers of 64" in repr(model)
    with pytest.raises(AttributeError):
        model.name = "other"


def test_a_path_to_the_weights_loads_the_folder_around_them(packed_folder):
    (packed_folder / "tokenizer.json").write_text("{}")
    (packed_folder / "model.safetensors").rename(packed_folder / "other.safetensors")
    model = tritium.load(packed_folder / "other.safetensors")
    assert model.core.weight_form == "packed"
    assert model.tokenizer_file == packed_folder / "tokenizer.json"


def test_one_shard_alone_is_refused_with_what_is_missing(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, shards=2)
    shard = tmp_path / "model-00001-of-00002.safetensors"
    with pytest.raises(ModelLoadError, match=r"19 tensors .* are missing") as caught:
        tritium.load(shard)
    assert f"(in {shard}, described by {tmp_path / 'config.json'})" in str(caught.value)


# Tensors that do not fit the configuration


def test_missing_tensors_are_counted_and_the_first_named(packed_folder):
    names = [name for name in stored_tensors(packed_folder) if ".0.self_attn." in name]
    change(packed_folder, **dict.fromkeys(names, ...))
    message = refused(packed_folder)
    # scales are asked for only where there are codes
    assert "5 tensors that the model asks for are missing: " in message
    assert "model.layers.0.self_attn.q_proj.weight" in message
    assert "and 2 more" in message
    assert str(packed_folder / "model.safetensors") in message


def test_a_missing_scale_is_named(packed_folder):
    change(packed_folder, **{Q + "_scale": ...})
    message = refused(packed_folder)
    assert f"1 tensors that the model asks for are missing: {Q}_scale" in message


def test_layers_that_no_file_has_are_counted(packed_folder):
    edit_json(packed_folder / "config.json", num_hidden_layers=4096)
    assert "45034 tensors" in refused(packed_folder)


def test_an_untied_model_without_a_head_is_refused(packed_folder):
    edit_json(packed_folder / "config.json", tie_word_embeddings=False)
    assert "missing: lm_head.weight" in refused(packed_folder)


def test_a_copy_of_tied_embeddings_is_ignored(packed_folder):
    change(packed_folder, **{HEAD: stored_tensors(packed_folder)[EMBEDDING]})
    assert tritium.load(packed_folder).config.tied_head


def test_a_head_that_differs_from_tied_embeddings_is_refused(packed_folder):
    # transformers does not tie them, and says so in a warning
    dtype, embedding = stored_tensors(packed_folder)[EMBEDDING]
    head = embedding.copy()
    head[-1, -1] ^= 1
    change(packed_folder, **{HEAD: (dtype, head)})
    message = refused(packed_folder)
    assert f"'{HEAD}': BF16 [96, 64] differs from {EMBEDDING}, BF16 [96, 64]" in message
    assert "tie_word_embeddings" in message
    edit_json(packed_folder / "config.json", tie_word_embeddings=False)
    assert not tritium.load(packed_folder).config.tied_head


def test_a_name_that_no_weight_has_is_not_printed(packed_folder):
    change(packed_folder, **{"x" * 5000: ("F32", np.zeros(1, np.float32))})
    assert "a name of 5000 characters" in refused(packed_folder)
    change(packed_folder, **{"x" * 5000: ..., "a\x1b[2J": ("F32", np.zeros(1, np.float32))})
    assert "\x1b" not in refused(packed_folder)


def test_tables_of_old_checkpoints_are_ignored(packed_folder):
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change(packed_folder, **{name: ("F64", np.zeros(8, np.float64))})
    tritium.load(packed_folder)


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.q_proj.rms_norm.weight",
        "model.layers.2.input_layernorm.weight",
        "model.layers.0.self_attn.q_norm.weight",
    ],
)
def test_a_tensor_without_a_place_in_the_model_is_refused(packed_folder, name):
    change(packed_folder, **{name: ("F32", np.zeros(64, np.float32))})
    message = refused(packed_folder)
    assert "1 of 39 tensors have no place in the model" in message
    assert name in message


def test_more_words_than_embedding_rows_are_refused_with_both_numbers(packed_folder):
    edit_json(packed_folder / "config.json", vocab_size=97)
    weights = packed_folder / "model.safetensors"
    assert f"{EMBEDDING} ({weights}) has shape [96, 64], the model needs [97, 64]" in refused(
        packed_folder
    )


def test_fewer_words_than_embedding_rows_are_refused_with_both_numbers(packed_folder):
    edit_json(packed_folder / "config.json", vocab_size=95)
    assert "has shape [96, 64], the model needs [95, 64]" in refused(packed_folder)


def test_a_wrong_shape_of_a_norm_gives_both_shapes(packed_folder):
    change(packed_folder, **{"model.norm.weight": ("F32", np.ones(63, np.float32))})
    message = refused(packed_folder)
    assert message.startswith("[tensor] model.norm.weight (")
    assert "has shape [63], the model needs [64]" in message


def test_a_wrong_shape_of_packed_codes_gives_both_shapes(packed_folder):
    change(packed_folder, **{Q: ("U8", np.zeros((17, 64), np.uint8))})
    message = refused(packed_folder)
    assert "has shape [17, 64], the model needs [16, 64]: 4 rows a byte of" in message
    assert "the matrix [64, 64]" in message


def test_unpacked_uint8_is_refused(packed_folder):
    change(packed_folder, **{Q: ("U8", np.zeros((64, 64), np.uint8))})
    assert "has shape [64, 64], the model needs [16, 64]" in refused(packed_folder)


def test_a_transposed_master_is_refused(masters_folder):
    name = "model.layers.1.mlp.up_proj.weight"
    change(masters_folder, **{name: ("F32", np.zeros((64, 96), np.float32))})
    assert "has shape [64, 96], the model needs [96, 64]" in refused(masters_folder)


def test_several_scales_of_one_matrix_are_refused(packed_folder):
    change(packed_folder, **{Q + "_scale": ("F32", np.ones(2, np.float32))})
    message = refused(packed_folder)
    assert f"{Q}_scale" in message
    assert "has shape [2], the model needs [1]" in message


def test_a_scale_without_dimensions_is_one_scale(packed_folder):
    change(packed_folder, **{Q + "_scale": ("F32", np.ones((), np.float32))})
    tritium.load(packed_folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_scale_that_is_not_finite_is_refused(packed_folder, value):
    change(packed_folder, **{Q + "_scale": ("F32", np.full(1, value, np.float32))})
    assert Q + "_scale" in refused(packed_folder)


@pytest.mark.parametrize(
    ("dtype", "elements"),
    [("F64", np.ones(64)), ("I8", np.ones(64, np.int8)), ("U8", np.ones(64, np.uint8))],
)
def test_a_norm_that_is_no_float_is_refused_by_its_name(packed_folder, dtype, elements):
    change(packed_folder, **{"model.norm.weight": (dtype, elements)})
    message = refused(packed_folder)
    assert f"'model.norm.weight': dtype '{dtype}' stored, one of BF16, F16, F32" in message


def test_codes_in_online_mode_are_refused(packed_folder):
    edit_json(
        packed_folder / "config.json",
        quantization_config={
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "online",
        },
    )
    for name in stored_tensors(packed_folder):
        if name.endswith("_scale"):
            change(packed_folder, **{name: ...})
    message = refused(packed_folder)
    assert "dtype U8 stored, a float expected" in message
    assert "offline" in message


def test_floats_in_offline_mode_are_refused(packed_folder):
    change(packed_folder, **{Q: ("F32", np.zeros((64, 64), np.float32))})
    message = refused(packed_folder)
    assert f"'{Q}': dtype F32 stored, U8 expected" in message
    assert "online" in message


# Families


def test_the_names_of_a_reproduction_become_neutral(tmp_path):
    write_bitnet_folder(
        tmp_path, seed=1, family="reproduction", form="masters", hidden=200, heads=2
    )
    assert "model.layers.0.self_attn.inner_attn_ln.weight" in stored_tensors(tmp_path)
    model = tritium.load(tmp_path)
    assert (model.config.architecture, model.config.head_dim) == ("bitnet", 100)
    assert model.core.weight_form == "masters"
    graph = model.core.graph
    assert "attn_sub_norm" in graph
    assert "ffn_sub_norm" in graph


def test_both_names_of_a_norm_at_once_are_refused(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, family="reproduction", form="masters")
    norm = stored_tensors(tmp_path)["model.layers.0.mlp.ffn_layernorm.weight"]
    change(tmp_path, **{"model.layers.0.mlp.ffn_sub_norm.weight": norm})
    message = refused(tmp_path)
    assert message.startswith("[tensor] model.layers.0.mlp.ffn_sub_norm.weight (")
    assert message.endswith(") is given twice")


def test_codes_in_a_reproduction_without_a_rule_are_refused(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, family="reproduction")
    edit_json(tmp_path / "config.json", quantization_config=...)
    message = refused(tmp_path)
    assert "dtype U8 stored, a float expected" in message
    assert 'quantization_mode "offline"' in message


def test_a_llama_model_has_no_sub_norms(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, family="llama")
    model = tritium.load(tmp_path)
    assert model.config.architecture == "llama"
    assert "sub_norm" not in model.core.graph
    edit_json(tmp_path / "config.json", architectures=["BitNetForCausalLM"], model_type="bitnet")
    assert "4 tensors that the model asks for are missing" in refused(tmp_path)


def test_sub_norms_in_a_llama_model_are_refused(packed_folder):
    edit_json(packed_folder / "config.json", architectures=["LlamaForCausalLM"], model_type="llama")
    assert "4 of 38 tensors have no place" in refused(packed_folder)


def test_a_projection_that_is_kept_is_used_as_it_is(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, kept=["lm_head", "down_proj"])
    model = tritium.load(tmp_path)
    assert "mlp.down_proj: dense_linear(" in model.core.graph
    assert model.core.ternary_parameter_count == 2 * (64 * 64 * 2 + 32 * 64 * 2 + 96 * 64 * 2)


def test_codes_of_a_projection_that_is_kept_are_refused(packed_folder):
    rule = {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head", "up_proj"]}
    edit_json(packed_folder / "config.json", quantization_config=rule)
    message = refused(packed_folder)
    assert "mlp.up_proj.weight': dtype 'U8' stored, one of BF16, F16, F32 expected" in message


def test_floats_of_a_projection_that_is_not_kept_are_refused(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, kept=["lm_head", "down_proj"])
    rule = {"quant_method": "bitnet", "linear_class": "autobitlinear"}
    edit_json(tmp_path / "config.json", quantization_config=rule)
    message = refused(tmp_path)
    assert "mlp.down_proj.weight': dtype BF16 stored, U8 expected" in message
    assert "modules_to_not_convert" in message


@pytest.mark.parametrize("part", ["attention_bias", "mlp_bias"])
def test_biases_are_loaded_if_the_configuration_says_so(tmp_path, part):
    write_bitnet_folder(tmp_path, seed=1, **{part: True})
    plain = 2 * (64 * 64 * 2 + 32 * 64 * 2 + 96 * 64 * 3) + 96 * 64 + 2 * (3 * 64 + 96) + 64
    biases = 2 * (64 + 32 + 32 + 64 if part == "attention_bias" else 96 + 96 + 64)
    assert tritium.load(tmp_path).core.parameter_count == plain + biases
    edit_json(tmp_path / "config.json", **{part: False})
    assert f"{8 if part == 'attention_bias' else 6} of " in refused(tmp_path)


def test_norms_inside_linear_layers_are_loaded_if_the_configuration_says_so(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, use_rms_norm=True)
    model = tritium.load(tmp_path)
    assert model.config.linear_norm_eps == 1e-6
    assert "q_proj: ternary_linear(model.layers.0.self_attn.q_proj.rms_norm)" in model.core.graph
    edit_json(tmp_path / "config.json", quantization_config={"quant_method": "bitnet"})
    assert "14 of 52 tensors have no place" in refused(tmp_path)


def test_of_two_rules_the_last_one_counts(tmp_path):
    # HF1BitLLM/Llama3-8B-1.58-100B-tokens writes the name twice
    write_bitnet_folder(tmp_path, seed=1, family="llama", linear_class="bitlinear")
    path = tmp_path / "config.json"
    first = '{"quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"},'
    path.write_text(first + path.read_text().lstrip("{"))
    assert tritium.load(tmp_path).config.scale_direction == "divide"


# Files


def test_a_folder_of_pickled_weights_names_the_way_out(packed_folder):
    (packed_folder / "model.safetensors").rename(packed_folder / "pytorch_model.bin")
    message = refused(packed_folder)
    assert "only pickled weights (['pytorch_model.bin'])" in message
    assert "save_pretrained(folder, safe_serialization=True)" in message


def test_a_folder_without_weights_says_what_was_looked_for(packed_folder):
    (packed_folder / "model.safetensors").rename(packed_folder / "adapter.safetensors")
    message = refused(packed_folder)
    assert "neither model.safetensors nor model.safetensors.index.json" in message
    assert "['adapter.safetensors']" in message


def test_a_folder_without_config_is_refused(packed_folder):
    (packed_folder / "config.json").unlink()
    assert "config.json: no such file" in refused(packed_folder)


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/model.safetensors",
        "..\\model.safetensors",
        "C:model.safetensors",
        "sub/model.safetensors",
        "..",
        "",
        ".safetensors",
        "pytorch_model.bin",
        "a\0.safetensors",
        7,
        None,
        ["model.safetensors"],
    ],
)
def test_an_index_that_leaves_the_folder_is_refused(tmp_path, name):
    folder = tmp_path / "model"
    write_bitnet_folder(folder, seed=1, shards=2)
    (tmp_path / "model.safetensors").write_bytes(b"")
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": weight_map | {Q: name}}))
    message = refused(folder)
    assert f"weight_map sends '{Q}' to" in message
    assert "expected the name of a .safetensors file in the same folder" in message


@pytest.mark.parametrize("weight_map", [None, [], {}, "model.safetensors", 3])
def test_an_index_without_a_map_is_refused(tmp_path, weight_map):
    write_bitnet_folder(tmp_path, seed=1, shards=2)
    edit_json(tmp_path / "model.safetensors.index.json", weight_map=weight_map)
    assert "weight_map is" in refused(tmp_path)


def test_an_index_that_names_a_tensor_twice_is_refused(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, shards=2)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}')
    assert "'a' is given twice" in refused(tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    message = refused(tmp_path)
    assert "1 of 3 shards are missing (['model-00002-of-00003.safetensors'])" in message


def test_a_tensor_that_is_not_in_its_shard_is_named(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, shards=2)
    index = tmp_path / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    weight_map[Q] = "model-00001-of-00002.safetensors"
    weight_map[EMBEDDING] = "model-00002-of-00002.safetensors"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert "is not in model-0000" in refused(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, shards=2)
    first = (tmp_path / "model-00001-of-00002.safetensors").read_bytes()
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(first)
    message = refused(tmp_path)
    assert "model-00002-of-00002.safetensors: tensor" in message
    assert f"is also in {tmp_path / 'model-00001-of-00002.safetensors'}" in message


def test_a_shard_of_another_format_is_named(tmp_path):
    write_bitnet_folder(tmp_path, seed=1, shards=2)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"PK\x03\x04 not safetensors")
    assert "model-00002-of-00002.safetensors: a header of" in refused(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "generation_config.json"])
def test_a_named_pipe_is_refused_and_not_waited_for(packed_folder, name):
    (packed_folder / name).unlink()
    os.mkfifo(packed_folder / name)
    assert "not a regular file" in refused(packed_folder)


# Which source is meant


@pytest.mark.parametrize(
    "source",
    ["nowhere", "./org/name", "/nowhere/at/all", "a/b/c", "x.safetensors", "a\0b", "~no/x"],
)
def test_a_path_that_does_not_exist_is_named_with_the_working_directory(source):
    with pytest.raises(ModelLoadError, match="does not exist") as caught:
        tritium.load(source)
    assert repr(source) in str(caught.value)
    assert str(Path.cwd()) in str(caught.value)


def test_a_path_object_that_does_not_exist_is_never_a_hub_id():
    with pytest.raises(ModelLoadError, match="'org/name' does not exist"):
        tritium.load(Path("org/name"))


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"GGUF")
    with pytest.raises(ModelLoadError, match=r"neither a folder nor a .gguf or .safetensors file"):
        tritium.load(tmp_path / "notes.txt")


def test_a_folder_wins_over_a_hub_id(tmp_path, monkeypatch):
    write_bitnet_folder(tmp_path / "org" / "name", seed=1)
    monkeypatch.chdir(tmp_path)
    assert tritium.load("org/name").folder == Path("org/name")


@pytest.mark.parametrize("source", [3, b"folder", ["folder"]])
def test_a_source_of_another_type_is_a_type_error(source):
    with pytest.raises(TypeError):
        tritium.load(source)


# generation_config.json


@pytest.mark.parametrize(
    ("value", "ids"), [(5, (5,)), ([5, 6, 5], (5, 6)), ([], ()), (None, (1,)), (..., (1,))]
)
def test_end_tokens_are_a_number_or_a_list(packed_folder, value, ids):
    edit_json(packed_folder / "generation_config.json", eos_token_id=value)
    assert tritium.load(packed_folder).eos_token_ids == ids


def test_without_generation_config_the_tokens_are_those_of_config(packed_folder):
    (packed_folder / "generation_config.json").unlink()
    model = tritium.load(packed_folder)
    assert (model.generation_config, model.eos_token_ids, model.bos_token_id) == ({}, (1,), 0)


def test_a_model_may_have_no_begin_and_end_tokens(packed_folder):
    (packed_folder / "generation_config.json").unlink()
    edit_json(packed_folder / "config.json", eos_token_id=None, bos_token_id=...)
    model = tritium.load(packed_folder)
    assert (model.eos_token_ids, model.bos_token_id) == ((), None)


@pytest.mark.parametrize("value", [96, -1, True, 1.0, "1", [1, 96], [[1]], {"a": 1}])
def test_an_end_token_outside_the_vocabulary_is_refused(packed_folder, value):
    edit_json(packed_folder / "generation_config.json", eos_token_id=value)
    message = refused(packed_folder)
    assert message.startswith("[generation] eos_token_id: got ")
    assert "from 0 to 95" in message


@pytest.mark.parametrize("value", [96, -1, True, 1.0, "1", [1]])
def test_a_begin_token_outside_the_vocabulary_is_refused(packed_folder, value):
    edit_json(packed_folder / "config.json", bos_token_id=value)
    edit_json(packed_folder / "generation_config.json", bos_token_id=...)
    assert refused(packed_folder).startswith("[config] bos_token_id: got ")


def test_importing_the_package_imports_no_download_library():
    code = "import sys, tritium; print(sorted({'huggingface_hub', 'tqdm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
