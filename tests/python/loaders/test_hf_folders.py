"""The folders that the tests write are what transformers would write."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hf_folders import (
    encode,
    from_bfloat16,
    pack_stripes,
    ternarize,
    to_bfloat16,
    unpack_stripes,
    write_bitnet_folder,
)


def test_packing_gives_the_bytes_that_transformers_gives():
    first = [-1, 0, 1, -1, 0, 1, -1, 0]
    trits = np.array([first, [-t for t in first], [0] * 8, [1] * 8], np.int8)
    assert pack_stripes(trits).tolist() == [[152, 149, 146, 152, 149, 146, 152, 149]]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 64])
def test_unpacking_gives_the_trits_back_for_any_number_of_rows(rows):
    trits = np.random.default_rng(rows).integers(-1, 2, (rows, 5)).astype(np.int8)
    packed = pack_stripes(trits)
    assert packed.shape == ((rows + 3) // 4, 5)
    assert (unpack_stripes(packed, rows) == trits).all()


def test_rows_lie_in_four_stripes_and_not_beside_each_other():
    trits = np.zeros((8, 1), np.int8)
    trits[3] = 1  # stripe 3 // 2 = 1, byte 3 % 2 = 1
    assert pack_stripes(trits)[:, 0].tolist() == [0b01010101, 0b01011001]


def test_bfloat16_rounds_to_nearest_with_ties_to_even():
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0xBF80FFFF], np.uint32)
    assert to_bfloat16(bits.view(np.float32)).tolist() == [0x3F80, 0x3F82, 0x3F81, 0xBF81]
    assert from_bfloat16(np.array([0x3FC0], np.uint16)).tolist() == [1.5]


def test_ternarising_divides_by_the_mean_magnitude_and_rounds_half_to_even():
    weight = np.array([[4.0, -0.5, 0.5], [-1.0, 0.0, 0.0]], np.float32)  # mean magnitude 1
    trits, mean = ternarize(weight)
    assert mean == 1.0
    assert trits.tolist() == [[1, 0, 0], [-1, 0, 0]]


def test_the_same_seed_gives_the_same_model_in_both_forms(tmp_path):
    packed = write_bitnet_folder(tmp_path / "packed", seed=3)
    masters = write_bitnet_folder(tmp_path / "masters", seed=3, form="masters")
    for name, master in masters.items():
        if "_proj." in name:
            trits, mean = ternarize(master)
            assert (packed[name] == trits).all()
            assert packed[name + "_scale"] == encode(np.array([mean], np.float32), "bfloat16")[2]
        else:
            assert (packed[name] == master).all()


def test_bitlinear_stores_the_reciprocal_scale(tmp_path):
    multiply = write_bitnet_folder(tmp_path / "a", seed=3, dtype="float32")
    divide = write_bitnet_folder(tmp_path / "b", seed=3, dtype="float32", linear_class="bitlinear")
    name = "model.layers.0.mlp.up_proj.weight_scale"
    assert divide[name] * multiply[name] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("shards", [1, 3])
def test_the_official_reader_reads_what_is_written(tmp_path, shards):
    safetensors = pytest.importorskip("safetensors", reason="needs the safetensors library")
    seen = write_bitnet_folder(tmp_path, seed=3, dtype="float32", shards=shards)
    found = set()
    for path in sorted(tmp_path.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118
                found.add(name)
                values = file.get_tensor(name)
                if values.dtype == np.uint8:
                    values = unpack_stripes(values, len(seen[name]))
                assert (values == seen[name]).all()
    assert found == set(seen)
    if shards > 1:
        index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
        assert set(index["weight_map"]) == found
