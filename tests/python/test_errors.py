"""Each kind of error is a TritiumError and the builtin that a caller expects."""

from __future__ import annotations

import pytest

from tritium import errors

KINDS = {
    "ModelLoadError": ValueError,
    "DeviceError": RuntimeError,
    "BatchProcessingError": ValueError,
    "MemoryLimitError": MemoryError,
    "OptimizationError": RuntimeError,
}


@pytest.mark.parametrize(("name", "builtin"), KINDS.items())
def test_a_kind_can_be_caught_as_tritium_error_and_as_the_builtin(name, builtin):
    kind = getattr(errors, name)
    for caught in (kind, errors.TritiumError, builtin):
        with pytest.raises(caught, match="3 lengths given for 4 sequences"):
            raise kind("[batch] 3 lengths given for 4 sequences")


@pytest.mark.parametrize("name", KINDS)
def test_no_kind_is_another_kind(name):
    kinds = [getattr(errors, other) for other in KINDS if other != name]
    assert not any(issubclass(getattr(errors, name), other) for other in kinds)


def test_all_kinds_are_exported():
    assert set(errors.__all__) == {"TritiumError", *KINDS}
