"""Are models loaded as the loader's choices say, and described before?"""

from __future__ import annotations

import shutil
import time
import warnings

import numpy as np
import pytest

import tritium
from tritium.layers import BitLinear, Linear, ReLU
from tritium.synthetic import Geometry, write_checkpoint

# 16.8 MB of panels: large enough to be kept in the packed cache.
LARGE = Geometry(
    vocab_size=300,
    hidden_size=1024,
    intermediate_size=4096,
    layers=4,
    heads=8,
    kv_heads=8,
    head_dim=128,
    context_length=64,
)
IDS = [5, 7, 11]


def network() -> tritium.Model:
    random = np.random.default_rng(0)
    layers = [BitLinear(random.integers(-1, 2, (30, 20)), 0.5), ReLU(), Linear(np.ones((4, 30)))]
    return tritium.build_model(layers, input_shape=(20,), name="net")


@pytest.mark.parametrize("threshold", [0, 10**12])
def test_a_file_is_described_and_loaded(tmp_path, threshold):
    model = network()
    model.save(tmp_path / "net.gguf", version="1.4")
    loader = tritium.ModelLoader(mmap_threshold=threshold)
    metadata = loader.metadata(tmp_path / "net.gguf")
    assert isinstance(metadata, tritium.ModelMetadata)
    assert metadata.name == "net"
    assert metadata.version == "1.4"
    assert metadata.architecture == "network"
    assert metadata.parameter_count == 30 * 20 + 4 * 30
    assert metadata.quantization_bits == 2
    assert metadata.input_shape == (20,)
    assert metadata.output_shape == (4,)
    assert "'net' version 1.4: network, 720 parameters, 2 bits" in repr(metadata)
    loaded = loader.load(tmp_path / "net.gguf")
    x = np.linspace(-1, 1, 20)
    engine = tritium.InferenceEngine(threads=1)
    assert np.array_equal(engine.infer(loaded, x), engine.infer(model, x))


def test_folders_and_the_bundled_model_are_described_and_loaded(tmp_path):
    folder = shutil.copytree(tritium.load().folder, tmp_path / "model")
    for source in (folder, str(folder), None, "demo"):
        loader = tritium.ModelLoader()
        metadata = loader.metadata(source)
        assert metadata.name == ("model" if source in (folder, str(folder)) else "demo")
        assert metadata.architecture == "bitnet"
        assert metadata.input_shape == ()
        assert metadata.output_shape == (tritium.load().config.vocab_size,)
        model = loader.load(source)
        assert isinstance(model, tritium.LanguageModel)
        assert metadata.parameter_count == model.parameter_count
    model.save(tmp_path / "x.gguf")
    assert loader.metadata(tmp_path / "x.gguf") == metadata


def test_a_description_that_cannot_be_is_an_error_before_any_weight_is_read(tmp_path):
    network().save(tmp_path / "net.gguf")
    content = (tmp_path / "net.gguf").read_bytes()
    place = content.index(b"tritium.quantization_bits") + len(b"tritium.quantization_bits") + 4
    (tmp_path / "net.gguf").write_bytes(content[:place] + b"\x63" + content[place + 1 :])
    with pytest.raises(tritium.ModelLoadError, match="quantization_bits is 99; it must be 1 to 32"):
        tritium.ModelLoader().metadata(tmp_path / "net.gguf")
    with pytest.raises(tritium.ModelLoadError, match="does not exist"):
        tritium.ModelLoader().metadata(tmp_path / "none.gguf")


def test_numbers_of_bytes_are_not_negative():
    with pytest.raises(tritium.MemoryLimitError, match=r"max_cache_size .* got -1"):
        tritium.ModelLoader("cache", -1)
    with pytest.raises(tritium.MemoryLimitError, match=r"mmap_threshold .* got -5"):
        tritium.ModelLoader(mmap_threshold=-5)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = write_checkpoint(LARGE, tmp_path_factory.mktemp("checkpoint"))
    tritium.load(folder).save(folder / "large.gguf")
    time.sleep(2.1)  # a file that changed just now is not trusted to stay as it is
    return folder / "large.gguf"


def test_packed_weights_are_kept_where_the_loader_says(large, tmp_path):
    expected = tritium.InferenceEngine(threads=2, cache_dir=None).infer(tritium.load(large), IDS)
    loader = tritium.ModelLoader(tmp_path / "loader")
    for engine_dir in (None, tmp_path / "engine"):
        engine = tritium.InferenceEngine(threads=2, cache_dir=engine_dir)
        assert np.array_equal(engine.infer(loader.load(large), IDS), expected)
    assert len(list((tmp_path / "loader").iterdir())) == 1
    assert not (tmp_path / "engine").exists()
    engine.infer(tritium.ModelLoader().load(large), IDS)  # who says nothing leaves it to the engine
    assert len(list((tmp_path / "engine").iterdir())) == 1


def test_nothing_is_kept_beyond_the_loaders_size(large, tmp_path):
    engine = tritium.InferenceEngine(threads=2, cache_dir=None)
    engine.infer(tritium.ModelLoader(tmp_path / "loader", 1000).load(large), IDS)
    assert not (tmp_path / "loader").exists() or not list((tmp_path / "loader").iterdir())


def test_a_folder_that_cannot_be_written_is_one_warning(large, tmp_path):
    (tmp_path / "file").touch()
    loader = tritium.ModelLoader(tmp_path / "file" / "cache")
    engine = tritium.InferenceEngine(threads=2, cache_dir=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = engine.infer(loader.load(large), IDS)
        second = engine.infer(loader.load(large), IDS)
    [warning] = caught
    assert warning.category is RuntimeWarning
    assert "packed weights cannot be kept" in str(warning.message)
    assert np.array_equal(first, second)
