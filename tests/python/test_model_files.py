"""Does a model that was saved into one file come back as it was?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tritium
from chat_folders import write_chat_folder
from tritium.layers import (
    GELU,
    BitLinear,
    Flatten,
    LayerNorm,
    Linear,
    ReLU2,
    Residual,
    RMSNorm,
    Softmax,
)

RANDOM = np.random.default_rng(0)


def trits(*shape: int) -> np.ndarray:
    return RANDOM.integers(-1, 2, shape, dtype=np.int8)


def floats(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, dtype=np.float32)


def network(name: str = "digits") -> tritium.Model:
    """Every kind of layer."""
    return tritium.build_model(
        [
            Flatten(),
            BitLinear(trits(40, 24), 0.3, bias=floats(40)),
            GELU(),
            Residual([RMSNorm(floats(40)), BitLinear(floats(40, 40).astype(np.float16))]),
            LayerNorm(floats(40), floats(40)),
            BitLinear(
                trits(30, 40),
                np.abs(floats(30)) + 0.1,
                norm=RMSNorm(floats(40), eps=1e-6),
                scale_direction="divide",
            ),
            ReLU2(),
            Linear(floats(10, 30).astype(np.float16), floats(10)),
            Softmax(),
        ],
        input_shape=(4, 6),
        name=name,
    )


@pytest.fixture(scope="module")
def engine() -> tritium.InferenceEngine:
    return tritium.InferenceEngine(threads=1)


@pytest.mark.parametrize("mmap", [True, False])
def test_a_network_gives_the_same_bits(tmp_path, engine, mmap):
    model = network()
    model.save(tmp_path / "digits.gguf")
    loaded = tritium.load(tmp_path / "digits.gguf", mmap=mmap)
    assert type(loaded) is tritium.Model
    assert (loaded.name, loaded.input_shape, loaded.output_shape) == ("digits", (4, 6), (10,))
    assert loaded.core.graph == model.core.graph
    x = floats(7, 4, 6)
    assert np.array_equal(engine.infer(loaded, x), engine.infer(model, x))


def test_a_network_can_be_saved_again_from_its_file_and_over_it(tmp_path, engine):
    path = tmp_path / "digits.gguf"
    model = network()
    model.save(path)
    first = path.read_bytes()
    loaded = tritium.load(path)
    loaded.save(path)
    assert path.read_bytes() == first
    x = floats(4, 6)
    assert np.array_equal(engine.infer(loaded, x), engine.infer(model, x))
    assert [file.name for file in tmp_path.iterdir()] == ["digits.gguf"]


def test_a_language_model_gives_the_same_text(tmp_path):
    demo = tritium.load()
    demo.save(tmp_path / "demo.gguf")
    loaded = tritium.load(tmp_path / "demo.gguf")
    assert isinstance(loaded, tritium.LanguageModel)
    assert loaded.name == "demo"
    assert loaded.eos_token_ids == demo.eos_token_ids
    assert loaded.bos_token_id == demo.bos_token_id
    assert loaded.generation_config == demo.generation_config
    with tritium.LLM(demo) as expected, tritium.LLM(str(tmp_path / "demo.gguf")) as llm:
        prompt = "Once upon a time"
        assert (
            llm.generate(prompt, max_tokens=20).token_ids
            == expected.generate(prompt, max_tokens=20).token_ids
        )


def test_a_chat_template_goes_along(tmp_path):
    folder = write_chat_folder(tmp_path / "model")
    tritium.load(folder).save(tmp_path / "chat.gguf")
    question = [{"role": "user", "content": "Hello! Who are you?"}]
    with tritium.LLM(folder) as expected, tritium.LLM(tmp_path / "chat.gguf") as llm:
        assert "chat.gguf" in llm.chat_format.source
        answer, same = llm.chat(question, max_tokens=12), expected.chat(question, max_tokens=12)
        assert (answer.text, answer.token_ids) == (same.text, same.token_ids)


@pytest.mark.parametrize(
    "name", ["packed", "masters", "bitnet-biases", "llama-divide", "llama-kept"]
)
def test_every_form_of_a_language_model_gives_the_same_logits(tmp_path, engine, name):
    folder = Path(__file__).parent.parent / "fixtures" / name
    model = tritium.load(folder)
    model.save(tmp_path / "x.gguf")
    ids = list(range(1, 30))
    loaded = tritium.load(tmp_path / "x.gguf")
    assert loaded.core.weight_form == model.core.weight_form
    assert np.array_equal(engine.infer(loaded, ids), engine.infer(model, ids))


def test_a_model_without_a_tokenizer_says_what_is_missing(tmp_path):
    model = tritium.load(Path(__file__).parent.parent / "fixtures" / "packed")
    model.save(tmp_path / "x.gguf")
    with tritium.LLM(tmp_path / "x.gguf") as llm, pytest.raises(tritium.ModelLoadError) as raised:
        llm.generate("text")
    assert "x.gguf/tokenizer.json is missing" in str(raised.value)


def test_it_needs_no_other_file_and_no_memory_of_the_process_that_saved(tmp_path):
    folder = shutil.copytree(tritium.load().folder, tmp_path / "model")
    tritium.load(folder).save(tmp_path / "x.gguf")
    shutil.rmtree(folder)
    code = (
        "import sys, tritium; llm = tritium.LLM(sys.argv[1]); "
        "print(llm.generate('One day', max_tokens=8).token_ids)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "x.gguf"],
        capture_output=True,
        text=True,
        check=True,
    )
    with tritium.LLM() as llm:
        assert run.stdout.strip() == str(llm.generate("One day", max_tokens=8).token_ids)


def test_what_is_no_model_file_is_an_error_with_its_path(tmp_path):
    path = tmp_path / "x.gguf"
    for content in (b"", b"GGUF", b"not a model", b"GGUF" + bytes(100), os.urandom(500)):
        path.write_bytes(content)
        with pytest.raises(tritium.ModelLoadError, match="gguf"):
            tritium.load(path)
    with pytest.raises(tritium.ModelLoadError, match="does not exist"):
        tritium.load(tmp_path / "none.gguf")


def test_every_truncation_is_an_error(tmp_path):
    path = tmp_path / "x.gguf"
    network().save(path)
    content = path.read_bytes()
    for size in [*range(600), *range(600, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(tritium.ModelLoadError, match="gguf"):
            tritium.load(path)


def test_a_newer_version_is_an_error_with_both_numbers(tmp_path):
    path = tmp_path / "x.gguf"
    network().save(path)
    key = b"tritium.format_version" + (4).to_bytes(4, "little")
    content = path.read_bytes()
    assert content.count(key + (1).to_bytes(4, "little")) == 1
    path.write_bytes(content.replace(key + b"\1", key + b"\7"))
    with pytest.raises(
        tritium.ModelLoadError, match="format_version is 7; this version of Tritium reads 1 to 1"
    ):
        tritium.load(path)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(tritium.ModelLoadError, match="cannot create"):
        network().save(tmp_path / "none" / "x.gguf")
    (tmp_path / "x.gguf").mkdir()
    with pytest.raises(tritium.ModelLoadError, match="cannot create"):
        network().save(tmp_path / "x.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["x.gguf"]


def test_a_full_disk_is_an_error_that_keeps_the_old_file(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "x.gguf"
    network().save(path)
    before = path.read_bytes()
    code = (
        "import resource, signal, sys, tritium\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))\n"
        "try:\n    tritium.load().save(sys.argv[1])\n"
        "except tritium.ModelLoadError as error:\n    print(error)\n"
    )
    assert resource.RLIM_INFINITY is not None
    run = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert "cannot write" in run.stdout
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.gguf"]
