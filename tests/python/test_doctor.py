"""The doctor passes a sound installation, and notices each way to compute wrongly."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys

import pytest

import tritium
from tritium import ModelLoadError, _core, doctor

MODEL_CHECKS = ["tokenizer", "greedy tokens", "best tokens", "logit values"]


@pytest.fixture(scope="module")
def demo():
    return tritium.load().folder


@pytest.fixture
def copy(demo, tmp_path):
    return shutil.copytree(demo, tmp_path / "model")


def run(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "tritium", "doctor", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={k: v for k, v in os.environ.items() if not k.startswith("TRITIUM_")}
        | {"TRITIUM_DEVICE": "cpu"}
        | variables,
    )


def edit_json(file, change) -> None:
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")


def fill_with_ones(folder, suffix: str) -> int:
    """Overwrite each bfloat16 tensor whose name ends with `suffix`. How many there were."""
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    count = 0
    for name, tensor in header.items():
        if name.endswith(suffix):
            assert tensor["dtype"] == "BF16"
            begin, end = (8 + length + offset for offset in tensor["data_offsets"])
            data[begin:end] = struct.pack("<H", 0x3F80) * ((end - begin) // 2)
            count += 1
    file.write_bytes(data)
    return count


def use_silu(folder) -> None:
    edit_json(folder / "config.json", lambda config: config.update(hidden_act="silu"))


def divide_by_scales(folder) -> None:
    edit_json(
        folder / "config.json", lambda config: config["quantization_config"].pop("linear_class")
    )


def drop_attention_norm(folder) -> None:
    assert fill_with_ones(folder, "self_attn.attn_sub_norm.weight") > 0


def drop_feed_forward_norm(folder) -> None:
    assert fill_with_ones(folder, "mlp.ffn_sub_norm.weight") > 0


def swap_two_tokens(folder) -> None:
    """Give two tokens of the first golden prompt each other's ids."""
    golden = json.loads((folder / "golden.json").read_text("utf-8"))
    one, other = golden["cases"][0]["prompt_ids"][1:3]

    def swap(content):
        vocabulary = content["model"]["vocab"]
        spelling = {id_: text for text, id_ in vocabulary.items()}
        vocabulary[spelling[one]], vocabulary[spelling[other]] = other, one

    edit_json(folder / "tokenizer.json", swap)


def test_a_sound_installation_passes():
    report = doctor.examine()
    assert report.ok, report
    supported = [s.name for s in _core.kernel_sets() if s.supported]
    assert [c.name for c in report.checks] == [f"kernels {n}" for n in supported] + MODEL_CHECKS
    assert report.model == "demo"
    assert report.selected in supported


def test_the_command_prints_a_verdict():
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "all is well"
    assert "FAIL" not in done.stdout
    assert "(selected)" in done.stdout


def test_the_command_prints_json():
    done = run("--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["version"] == tritium.__version__
    assert report["cpu_features"] == _core.cpu_features()
    assert [d["name"] for d in report["devices"]] == ["mlx", "metal", "cpu"]
    assert [d["available"] for d in report["devices"]] == [
        d.is_available for d in tritium.devices()
    ]
    assert [s["name"] for s in report["kernel_sets"]] == [s.name for s in _core.kernel_sets()]
    assert [s["name"] for s in report["kernel_sets"] if s["selected"]] == [report["selected"]]
    assert all(set(check) == {"name", "ok", "detail"} for check in report["checks"])
    assert all(check["ok"] and check["detail"] for check in report["checks"])


@pytest.mark.parametrize("name", [s.name for s in _core.kernel_sets() if s.supported])
def test_every_supported_kernel_set_passes_with_the_model(name):
    done = run("--json", TRITIUM_KERNELS=name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["selected"] == name


def test_an_unknown_kernel_set_is_a_failed_check():
    done = run("--json", TRITIUM_KERNELS="abacus")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["ok"], report["selected"]) == (False, None)
    failed = [check for check in report["checks"] if not check["ok"]]
    assert [check["name"] for check in failed] == ["engine"]
    assert "abacus" in failed[0]["detail"]


def test_an_unchanged_copy_passes(copy):
    assert doctor.examine(copy).ok


@pytest.mark.parametrize(
    "break_model", [use_silu, divide_by_scales, drop_attention_norm, drop_feed_forward_norm]
)
def test_a_model_that_computes_otherwise_fails(copy, break_model):
    break_model(copy)
    done = run("-m", copy, "--json")
    assert done.returncode == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["tokenizer"]["ok"]
    assert not checks["best tokens"]["ok"]
    assert "golden" in checks["best tokens"]["detail"]
    assert not checks["logit values"]["ok"]
    assert "relative rms" in checks["logit values"]["detail"]


def test_a_failure_is_said_in_text_too(copy):
    use_silu(copy)
    done = run("-m", copy)
    assert done.returncode == 1
    assert "FAIL  best tokens: " in done.stdout
    assert done.stdout.splitlines()[-1].endswith("checks failed")


def test_a_changed_tokenizer_fails(copy):
    swap_two_tokens(copy)
    checks = {check.name: check for check in doctor.examine(copy).checks}
    assert not checks["tokenizer"].ok
    assert checks["best tokens"].ok


def test_a_folder_without_golden_answers_is_run_and_its_perplexity_told(copy):
    (copy / "golden.json").unlink()
    done = run("-m", copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no golden.json says which are right" in done.stdout
    assert re.search(r"^perplexity +[\d.]+ per token, [\d.]+ per byte", done.stdout, re.MULTILINE)
    report = doctor.examine(copy)
    assert report.chat is None
    assert report.perplexity == doctor.examine().perplexity


@pytest.mark.parametrize(
    "content", ["", "[]", '{"cases": []}', '{"cases": [{}]}', '{"cases": [{"prompt": "a"}]}']
)
def test_golden_answers_that_are_none_are_refused(tmp_path, content):
    file = tmp_path / "golden.json"
    file.write_text(content)
    with pytest.raises(ModelLoadError, match=r"golden\.json"):
        doctor.read_golden(file)


def test_a_folder_that_does_not_exist_is_a_failed_check():
    report = doctor.examine("/no/such/folder")
    assert not report.ok
    assert report.checks[-1].name == "model"
    assert "/no/such/folder" in report.checks[-1].detail


class BrokenSet:
    """What a kernel set with one wrong kernel reports."""

    name = "broken"

    def __init__(self, results):
        self.results = results

    def check(self, seed=0):
        return self.results


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([("gemv", 10, ""), ("norm", 10, "row 3: 1.5, scalar 1.25")], "norm: row 3"),
        ([("gemv", 0, "")], "gemv: no problem"),
        ([], "no kernel"),
    ],
)
def test_a_kernel_that_differs_or_did_not_run_fails(results, message):
    check = doctor.check_kernel_set(BrokenSet(results))
    assert not check.ok
    assert message in check.detail
