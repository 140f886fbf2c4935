"""A hub id: only the needed files are fetched, the cache is used, every failure says what to do.

Everything runs against a server on localhost, each load in a process of its own, because
huggingface_hub reads its environment when it is imported.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub

from hf_folders import write_bitnet_folder
from tritium.loaders.hub import HubId, parse_hub_id

CLUTTER = [
    "README.md",
    "pytorch_model.bin",
    "consolidated.safetensors",
    "original/model.safetensors",
    "model.gguf",
    "modeling_bitnet.py",
]

LOAD = """
import json, sys, tritium
try:
    model = tritium.load(sys.argv[1])
    print(json.dumps({"name": model.name, "folder": str(model.folder),
                      "tokenizer": str(model.tokenizer_file)}))
except tritium.ModelLoadError as error:
    print(json.dumps({"error": str(error)}))
"""


class Machine:
    """A fresh cache, and a process that loads from the hub into it."""

    def __init__(self, home: Path, endpoint: str) -> None:
        self.home = home
        self.endpoint = endpoint

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        return {k: v for k, v in kept.items() if not k.lower().endswith("_proxy")} | {
            "HF_HOME": str(self.home),
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def load(self, source: str, **environment: str) -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", LOAD, source],
            env=self.environment() | environment,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        # stderr is no terminal here
        assert "%|" not in done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def hub(tmp_path):
    model = tmp_path / "hub" / "org" / "model"
    write_bitnet_folder(model, seed=1)
    (model / "tokenizer.json").write_text("{}")
    (model / "original").mkdir()
    for name in CLUTTER:
        (model / name).write_bytes(b"not needed")
    server = Hub(tmp_path / "hub", gated=frozenset({"org/gated"}))
    yield server
    server.close()


@pytest.fixture
def machine(tmp_path, hub):
    return Machine(tmp_path / "home", hub.endpoint)


def test_only_what_loading_needs_is_fetched_and_once(hub, machine):
    loaded = machine.load("org/model")
    assert loaded["name"] == "org/model"
    assert Path(loaded["folder"]).name == COMMIT
    assert loaded["tokenizer"] == str(Path(loaded["folder"]) / "tokenizer.json")
    needed = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
    assert hub.fetched == dict.fromkeys(needed, 1)
    assert machine.load("org/model") == loaded
    assert hub.fetched == dict.fromkeys(needed, 1)


def test_a_sentencepiece_model_is_fetched_only_where_there_is_no_tokenizer_json(hub, machine):
    model = hub.root / "org" / "model"
    (model / "tokenizer.model").write_bytes(b"x")
    machine.load("org/model")
    assert "tokenizer.model" not in hub.fetched
    other = shutil.copytree(model, hub.root / "org" / "other")
    (other / "tokenizer.json").unlink()
    loaded = machine.load("org/other")
    assert hub.fetched["tokenizer.model"] == 1
    assert (Path(loaded["folder"]) / "tokenizer.model").read_bytes() == b"x"


def test_the_files_lie_in_the_shared_cache(machine):
    loaded = machine.load("org/model")
    assert Path(loaded["folder"]).is_relative_to(machine.home / "hub" / "models--org--model")


def test_of_a_sharded_model_the_shards_of_the_index_are_fetched(tmp_path, hub, machine):
    folder = tmp_path / "hub" / "org" / "sharded"
    write_bitnet_folder(folder, seed=1, shards=3)
    (folder / "unrelated.safetensors").write_bytes(b"")
    machine.load("org/sharded")
    shards = {f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)}
    assert {name for name in hub.fetched if name.endswith(".safetensors")} == shards


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_revision_is_pinned(machine, revision):
    loaded = machine.load(f"org/model@{revision}")
    assert loaded["name"] == f"org/model@{revision}"
    assert Path(loaded["folder"]).name == COMMIT


def test_offline_the_cache_is_enough(hub, machine):
    online = machine.load("org/model")
    hub.close()
    hub.fetched.clear()
    assert machine.load("org/model", HF_HUB_OFFLINE="1") == online
    assert machine.load(f"org/model@{COMMIT}", HF_HUB_OFFLINE="1")["folder"] == online["folder"]
    assert not hub.fetched


def test_offline_without_the_cache_the_error_says_so(hub, machine):
    error = machine.load("org/model", HF_HUB_OFFLINE="1")["error"]
    assert "[hub] org/model: not complete in the cache" in error
    assert str(machine.home) in error
    assert "unset HF_HUB_OFFLINE" in error
    assert not hub.fetched
    assert not hub.tokens


def test_offline_with_half_of_the_model_cached_the_error_says_so(hub, machine):
    folder = Path(machine.load("org/model")["folder"])
    (folder / "model.safetensors").unlink()
    error = machine.load("org/model", HF_HUB_OFFLINE="1")["error"]
    assert "not complete in the cache" in error or "'model.safetensors'] not in the cache" in error
    assert "unset HF_HUB_OFFLINE" in error


def test_a_model_that_does_not_exist_is_named(machine):
    error = machine.load("org/nothing")["error"]
    assert "[hub] org/nothing: no such model" in error
    assert "check the spelling" in error
    assert "is not a path in" in error


def test_a_revision_that_does_not_exist_is_named(machine):
    error = machine.load("org/model@v7")["error"]
    assert "[hub] org/model@v7: no such revision" in error


def test_a_gated_model_names_the_page_and_the_token(hub, machine):
    error = machine.load("org/gated")["error"]
    assert f"accept the conditions at {hub.endpoint}/org/gated and set HF_TOKEN" in error


def test_the_token_is_sent(hub, machine):
    machine.load("org/model", HF_TOKEN="hf_sesame")
    assert "Bearer hf_sesame" in hub.tokens


def test_without_a_network_the_error_says_so(hub, machine):
    hub.close()
    error = machine.load("org/model")["error"]
    assert f"{hub.endpoint} cannot be reached" in error


def test_a_model_of_pickled_weights_only_names_the_way_out(tmp_path, hub, machine):
    (tmp_path / "hub" / "org" / "model" / "model.safetensors").unlink()
    error = machine.load("org/model")["error"]
    assert "only pickled weights (['pytorch_model.bin'])" in error
    assert "safe_serialization=True" in error
    assert "pytorch_model.bin" not in hub.fetched


def test_a_repository_without_a_configuration_is_refused(tmp_path, hub, machine):
    (tmp_path / "hub" / "org" / "model" / "config.json").unlink()
    error = machine.load("org/model")["error"]
    assert "[hub] org/model: the model has no ['config.json']" in error
    assert not any(name.endswith(".safetensors") for name in hub.fetched)


def test_a_shard_that_the_repository_lacks_is_named(tmp_path, hub, machine):
    folder = tmp_path / "hub" / "org" / "sharded"
    write_bitnet_folder(folder, seed=1, shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    error = machine.load("org/sharded")["error"]
    assert "the model has no ['model-00002-of-00002.safetensors']" in error


def test_an_unknown_architecture_is_refused_before_the_weights_are_fetched(tmp_path, hub, machine):
    config = tmp_path / "hub" / "org" / "model" / "config.json"
    config.write_text(json.dumps({"architectures": ["MambaForCausalLM"]}))
    error = machine.load("org/model")["error"]
    assert "got ['MambaForCausalLM'], expected one of BitNetForCausalLM" in error
    assert "model.safetensors" not in hub.fetched


def test_an_index_that_leaves_the_folder_fetches_nothing(tmp_path, hub, machine):
    folder = tmp_path / "hub" / "org" / "sharded"
    write_bitnet_folder(folder, seed=1, shards=2)
    shutil.copy(folder / "model-00001-of-00002.safetensors", tmp_path / "hub" / "org")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../model-00001-of-00002.safetensors"}}))
    assert "weight_map sends 'a' to" in machine.load("org/sharded")["error"]
    assert not any(name.endswith(".safetensors") for name in hub.fetched)


def test_a_connection_that_breaks_is_a_model_load_error(hub, machine):
    hub.fail_weights = True
    assert "[hub] org/model: the download failed" in machine.load("org/model")["error"]


@pytest.mark.skipif(sys.platform == "win32", reason="opens a pseudo-terminal")
def test_a_terminal_sees_a_progress_bar_on_stderr_only(machine):
    import fcntl
    import pty
    import struct
    import termios

    terminal, stderr = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 120, 0, 0))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, "org/model"],
        env=machine.environment() | {"TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=stderr,
        timeout=120,
        check=True,
    )
    os.close(stderr)
    assert b"%|" in os.read(terminal, 1 << 16)
    os.close(terminal)
    assert b"%|" not in done.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/name", HubId("org/name")),
        ("microsoft/bitnet-b1.58-2B-4T", HubId("microsoft/bitnet-b1.58-2B-4T")),
        ("org/name@main", HubId("org/name", "main")),
        ("org/name@refs/pr/7", HubId("org/name", "refs/pr/7")),
        ("name", None),
        ("org/name/file", None),
        ("./org/name", None),
        ("../name", None),
        ("/org/name", None),
        ("org/", None),
        ("org/name@", None),
        ("org/name@../../x", None),
        ("org/..", None),
        ("org/a--b", None),
        ("org/na me", None),
        ("org\\name", None),
        ("https://hub/org/name", None),
        ("org/" + "x" * 97, None),
        ("org/name\n", None),
    ],
)
def test_what_is_a_hub_id(text, expected):
    assert parse_hub_id(text) == expected
