"""Does `from_torch` take modules for what they are, and refuse the others by name?"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers.integrations.bitnet import AutoBitLinear, BitLinear, WeightQuant, pack_weights
from transformers.models.llama.modeling_llama import LlamaRMSNorm

import tritium
from test_readme import PAGES, blocks
from tritium import ModelLoadError, layers
from tritium.loaders.torch_modules import read_layers

# Of the largest magnitude of an output, for one layer: both sum in float32, in different orders,
# and now and then PyTorch rounds an activation to the code beside ours.
LAYER_TOLERANCE = 1e-5
TERNARY_TOLERANCE = 2e-4
# Such a code moves everything behind it, so that networks agree less.
NETWORK_TOLERANCE = 2e-3


class Residual(nn.Module):
    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)

    def tritium_layers(self) -> Sequence[layers.Layer]:
        return [layers.Residual([self.inner])]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def difference(module: nn.Module, x: torch.Tensor, **options: object) -> float:
    """The largest one between outputs, by the largest magnitude of an output."""
    module.eval()
    with torch.no_grad():
        expected = module(x).double().numpy()
    model = tritium.from_torch(module, input_shape=tuple(x.shape[1:]), **options)
    got = tritium.InferenceEngine(threads=1).infer(model, x)
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def random_trits(outputs: int, inputs: int) -> torch.Tensor:
    return torch.randint(-1, 2, (outputs, inputs)).float()


def packed_bit_linear(
    inputs: int, outputs: int, *, bias: bool = False, use_rms_norm: bool = False
) -> tuple[BitLinear, torch.Tensor]:
    """A layer and its trits."""
    layer = BitLinear(inputs, outputs, bias, dtype=torch.float32, use_rms_norm=use_rms_norm)
    trits = random_trits(outputs, inputs)
    layer.weight.copy_(pack_weights(trits.clone()))
    layer.weight_scale.fill_(23.7)
    if bias:
        layer.bias.normal_()
    if use_rms_norm:
        nn.init.normal_(layer.rms_norm.weight, mean=1)
    return layer, trits


def auto_bit_linear(
    inputs: int, outputs: int, *, online: bool, bias: bool = False, use_rms_norm: bool = False
) -> AutoBitLinear:
    layer = AutoBitLinear(inputs, outputs, bias, online_quant=online, use_rms_norm=use_rms_norm)
    if not online:
        layer.weight.data = random_trits(outputs, inputs)
        layer.weight_scale.fill_(0.043)
    if use_rms_norm:
        nn.init.normal_(layer.rms_norm.weight, mean=1)
    return layer


# One layer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(64, 30),
        nn.Linear(64, 30, bias=False),
        nn.Linear(64, 30).double(),
        nn.ReLU(inplace=False),
        nn.SiLU(),
        nn.GELU(),
        nn.Softmax(dim=-1),
        nn.Softmax(dim=1),
        nn.LayerNorm(64),
        nn.LayerNorm(64, eps=1e-3, bias=False),
        nn.LayerNorm(64, elementwise_affine=False),
        nn.RMSNorm(64),
        nn.RMSNorm(64, eps=1e-4, elementwise_affine=False),
        LlamaRMSNorm(64, eps=1e-5),
    ],
    ids=str,
)
def test_a_layer_gives_what_pytorch_gives(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=0.5)
    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float32)
    assert difference(module, torch.randn(100, 64, dtype=dtype)) < LAYER_TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_run_in_float32(dtype: torch.dtype) -> None:
    module = nn.Linear(64, 30, dtype=dtype)
    model = tritium.from_torch(module, input_shape=(64,))
    x = torch.randn(100, 64)
    got = tritium.InferenceEngine(threads=1).infer(model, x)
    expected = module.float()(x).detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=LAYER_TOLERANCE)


@pytest.mark.parametrize("use_rms_norm", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_packed_bit_linears_give_what_transformers_gives(bias: bool, use_rms_norm: bool) -> None:
    module, _ = packed_bit_linear(200, 60, bias=bias, use_rms_norm=use_rms_norm)
    assert difference(module, torch.randn(100, 200)) < TERNARY_TOLERANCE


@pytest.mark.parametrize("use_rms_norm", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("online", [False, True])
def test_auto_bit_linears_give_what_transformers_gives(
    online: bool, bias: bool, use_rms_norm: bool
) -> None:
    module = auto_bit_linear(200, 61, online=online, bias=bias, use_rms_norm=use_rms_norm)
    assert difference(module, torch.randn(100, 200)) < TERNARY_TOLERANCE


def trits_of(model: tritium.Model) -> np.ndarray:
    """Read by what the model gives for unit vectors, (outputs, inputs)."""
    units = np.eye(model.input_shape[0], dtype=np.float32)
    return np.sign(tritium.InferenceEngine(threads=1).infer(model, units).T)


def test_trits_and_scales_of_packed_weights_are_exactly_those_of_transformers() -> None:
    module, trits = packed_bit_linear(200, 60)
    model = tritium.from_torch(module, input_shape=(200,))
    np.testing.assert_array_equal(trits_of(model), trits)
    (layer,) = read_layers(module).values()
    assert isinstance(layer, layers.BitLinear)
    assert layer.scale_direction == "divide"
    np.testing.assert_array_equal(layer.scale, module.weight_scale)


def test_trits_and_scale_of_offline_weights_are_exactly_those_of_transformers() -> None:
    module = auto_bit_linear(200, 60, online=False)
    model = tritium.from_torch(module, input_shape=(200,))
    np.testing.assert_array_equal(trits_of(model), module.weight.detach())
    (layer,) = read_layers(module).values()
    assert isinstance(layer, layers.BitLinear)
    assert layer.scale_direction == "multiply"
    np.testing.assert_array_equal(layer.scale, module.weight_scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7, 5), (600, 701)])
def test_trits_and_scale_of_masters_are_exactly_those_of_transformers(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    outputs, inputs = shape
    auto = AutoBitLinear(inputs, outputs, bias=False, online_quant=True, dtype=dtype)
    plain = nn.Linear(inputs, outputs, bias=False)
    plain.weight = auto.weight
    expected = WeightQuant.apply(auto.weight.float()).detach().numpy()
    for module in (auto, plain):
        (layer,) = read_layers(module, ternarize=True).values()
        assert isinstance(layer, layers.BitLinear)
        assert layer.scale_direction == "divide"
        model = tritium.from_torch(module, input_shape=(inputs,), ternarize=True)
        np.testing.assert_array_equal(trits_of(model) / np.float32(layer.scale), expected)


def test_further_training_does_not_change_ternarised_weights() -> None:
    module = auto_bit_linear(64, 30, online=True)
    x = torch.randn(10, 64)
    model = tritium.from_torch(module, input_shape=(64,))
    before = tritium.from_torch(module, input_shape=(64,))
    engine = tritium.InferenceEngine(threads=1)
    expected = engine.infer(before, x)
    nn.init.normal_(module.weight)
    np.testing.assert_array_equal(engine.infer(model, x), expected)


def test_float_and_packed_weights_are_lent() -> None:
    packed, _ = packed_bit_linear(200, 60)
    linear = nn.Linear(60, 10)
    half = nn.Linear(10, 10).half()
    for module in (packed, linear, half):
        (layer,) = read_layers(module).values()
        assert np.shares_memory(np.asarray(layer.weight), module.weight.detach().numpy())


# Networks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ternarize", [False, True, ["0", "2"]], ids=str)
def test_linears_are_ternarised_on_request(ternarize: bool | list[str]) -> None:
    module = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 50), nn.Linear(50, 10))
    reference = nn.Sequential(*module)
    for path, layer in module.named_children():
        ternary = path in ternarize if isinstance(ternarize, list) else ternarize
        if isinstance(layer, nn.Linear) and ternary:
            auto = AutoBitLinear(layer.in_features, layer.out_features, online_quant=True)
            auto.load_state_dict(layer.state_dict())
            reference[int(path)] = auto
    x = torch.randn(100, 64)
    model = tritium.from_torch(module, input_shape=(64,), ternarize=ternarize)
    got = tritium.InferenceEngine(threads=1).infer(model, x)
    with torch.no_grad():
        expected = reference(x).numpy()
    assert np.abs(got - expected).max() < NETWORK_TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("seed", range(5))
def test_nested_networks_agree(seed: int) -> None:
    torch.manual_seed(seed)
    network = nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            encoder=nn.Sequential(
                nn.LayerNorm(64),
                packed_bit_linear(64, 96, bias=True, use_rms_norm=True)[0],
                nn.GELU(),
                nn.Dropout(0.5),
            ),
            block=Residual(
                nn.RMSNorm(96), auto_bit_linear(96, 128, online=True, bias=True), nn.SiLU(),
                auto_bit_linear(128, 96, online=False),
            ),
            head=nn.Sequential(nn.Identity(), nn.Linear(96, 10), nn.Softmax(dim=-1)),
        )
    )  # fmt: skip
    network.eval()
    x = torch.randn(100, 8, 8)
    assert difference(network, x) < NETWORK_TOLERANCE
    model = tritium.from_torch(network, input_shape=(8, 8))
    with torch.no_grad():
        predictions = network(x).argmax(dim=1)
    got = tritium.InferenceEngine(threads=1).infer(model, x).argmax(axis=1)
    np.testing.assert_array_equal(got, predictions)


def test_layers_are_named_by_their_paths() -> None:
    act = nn.ReLU()
    network = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4), act),
        Residual(nn.Linear(4, 4), act, nn.Linear(4, 4), act),
    )
    read = read_layers(network)
    assert list(read) == ["0.0", "0.1", "1"]
    inner = read["1"]
    assert isinstance(inner, layers.Residual)
    assert list(inner.layers) == ["1.inner.0", "1.inner.1", "1.inner.2", "1.inner.3"]
    plan = tritium.InferenceEngine().plan(tritium.from_torch(network, input_shape=(4,)))
    assert "1.inner.2" in plan.describe()


class TwoActivations(nn.Module):
    """Uses a module twice, and one that is not its own."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.act = nn.Linear(4, 8), nn.Linear(8, 4), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.silu(self.act(self.down(self.act(self.up(x)))))

    def tritium_layers(self) -> list[layers.Layer | nn.Module]:
        return [self.up, self.act, self.down, self.act, nn.SiLU(), layers.ReLU2()]


def test_a_module_that_is_used_twice_has_two_names() -> None:
    network = nn.Sequential(TwoActivations())
    assert list(read_layers(network)) == ["0.up", "0.act", "0.down", "0.act:2", "0.4", "0.5"]


class Stand(nn.Linear):
    """Is taken as another module."""

    def tritium_layers(self) -> list[nn.Module]:
        return [nn.Linear(4, 4)]


def test_a_module_may_say_that_it_computes_what_another_does() -> None:
    network = nn.Sequential(Stand(4, 4))
    (name,) = read_layers(network, ternarize=["0"])
    assert name == "0"


class Gated(nn.Module):
    """Has two branches, which a custom operator multiplies."""

    multiply = tritium.CustomOperator("multiply", lambda x, z: x * z)

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(4, 8), nn.Linear(4, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.silu(self.gate(x)) * self.up(x)

    def tritium_layers(self) -> list[layers.Layer]:
        return [layers.Custom(self.multiply, branches=[[self.gate, layers.SiLU()], [self.up]])]


def test_branches_of_custom_operators_may_be_modules() -> None:
    module, x = Gated(), torch.randn(10, 4)
    engine = tritium.InferenceEngine(threads=1, custom_operators=[Gated.multiply])
    got = engine.infer(tritium.from_torch(module, input_shape=(4,)), x)
    expected = module(x).detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=LAYER_TOLERANCE)


class Subclass(nn.Linear):
    """Computes what Linear computes."""


def test_subclasses_with_the_same_forward_are_taken() -> None:
    assert difference(Subclass(64, 30), torch.randn(10, 64)) < LAYER_TOLERANCE


# What cannot be taken -----------------------------------------------------------------------------


class OwnForward(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Itself(nn.Module):
    def tritium_layers(self) -> list[nn.Module]:
        return [self]


def hooked() -> nn.Module:
    module = nn.Linear(4, 4)
    module.register_forward_hook(lambda module, inputs, output: 2 * output)
    return module


def replaced_forward() -> nn.Module:
    module = nn.Linear(4, 4)
    module.forward = lambda x: 2 * x
    return module


def wrong_trits() -> nn.Module:
    module = auto_bit_linear(4, 4, online=False)
    with torch.no_grad():
        module.weight[2, 1] = 0.5
    return module


def not_finite() -> nn.Module:
    module = auto_bit_linear(4, 4, online=True)
    with torch.no_grad():
        module.weight[2, 1] = torch.nan
    return module


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Conv2d(1, 1, 1), r"\(torch.nn.modules.conv.Conv2d\).* forward is not known; taken are"),
        (nn.ModuleList([nn.ReLU()]), r"\(torch.nn.modules.container.ModuleList\)"),
        (OwnForward(nn.ReLU()), r"\(\w*test_torch_modules.OwnForward\).* forward is not known"),
        (hooked(), "forward hooks"),
        (replaced_forward(), "forward is not known"),
        (Itself(), "holds the module itself"),
        (nn.GELU(approximate="tanh"), "approximate='tanh'; taken is 'none'"),
        (nn.Softmax(dim=0), "dim=0; taken is the last one"),
        (nn.Flatten(0), "dimensions 0 to -1; taken are all, 1 to -1"),
        (nn.LayerNorm((2, 2)), "normalises over 2 dimensions; taken is 1"),
        (nn.Linear(4, 4, device="meta"), "cannot be read: torch.float32, .* on meta"),
        (nn.Linear(4, 4, dtype=torch.complex64), "floats are needed as its weight, got .*complex"),
        (BitLinear(4, 6, False), r"6 outputs in packed weights of shape \(1, 4\)"),
        (wrong_trits(), "1 of 16 offline weights are not -1, 0 or 1, the first is 0.5"),
        (not_finite(), "not finite"),
    ],
)
def test_a_module_that_cannot_be_taken_is_named(module: nn.Module, message: str) -> None:
    network = nn.Sequential(OrderedDict(first=nn.ReLU(), block=nn.Sequential(module)))
    with pytest.raises(ModelLoadError, match=rf"^\[from_torch\] block\.0 .*{message}"):
        tritium.from_torch(network, input_shape=(4,))
    with pytest.raises(ModelLoadError, match="the module itself"):
        tritium.from_torch(module, input_shape=(4,))


def test_shapes_that_do_not_fit_are_named_by_path() -> None:
    network = nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.Linear(4, 2)))
    with pytest.raises(ModelLoadError, match=r"1\.0\.weight"):
        tritium.from_torch(network, input_shape=(4,))


def test_a_path_to_ternarise_must_be_that_of_a_linear() -> None:
    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU())
    with pytest.raises(ModelLoadError, match=r"1 of 2 paths are not .*, the first is '1'"):
        tritium.from_torch(network, input_shape=(4,), ternarize=["0", "1"])


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(ModelLoadError, match=re.escape("a torch.nn.Module is needed, got list")):
        tritium.from_torch([nn.ReLU()], input_shape=(4,))


def test_tritium_does_not_import_pytorch() -> None:
    code = "import sys, tritium; sys.exit('torch' in sys.modules)"
    package = str(Path(tritium.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=package)


EXAMPLES = [body for page in PAGES for body in blocks(page, "python") if "import torch" in body]


def test_the_examples_of_the_documentation_run() -> None:
    assert EXAMPLES
    for code in EXAMPLES:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
