"""What a config.json says about rotary positions, in its old and new forms.

Up to transformers 4: `rope_theta`, and `rope_scaling` with "type" or "rope_type". Since 5: all of
it in `rope_parameters`. Fields and defaults are those of transformers 5.23.
"""

from __future__ import annotations

from .._core import RopeConfig
from .fields import Fields

_SCALINGS = {"default": "none", "linear": "linear", "llama3": "llama3"}
_THETA = 1.0, 1e30
_FACTOR = 1e-6, 1e6


def read_rope(fields: Fields, *, default_theta: float, context_length: int) -> RopeConfig:
    """The rule of a model that was made for `context_length` tokens.

    Raises ModelLoadError for a kind that is not known, for fields that it lacks, and for two
    places that say different things.
    """
    outer = fields.number("rope_theta", *_THETA, None)
    rule = _rule(fields)
    if rule is None:
        return RopeConfig(theta=default_theta if outer is None else outer)
    theta = rule.number("rope_theta", *_THETA, outer)
    if outer is not None and theta != outer:
        raise rule.error("rope_theta", theta, f"rope_theta = {outer:g} as beside it")
    scaling = _SCALINGS[_rope_type(rule)]
    if rule.raw("partial_rotary_factor", 1) != 1:
        raise rule.error(
            "partial_rotary_factor", rule.raw("partial_rotary_factor"), "1: all of a head turns"
        )
    if scaling == "none" and rule.raw("factor", 1) != 1:
        raise rule.error("factor", rule.raw("factor"), "1 for rope_type default")
    parameters: dict[str, float] = {"theta": default_theta if theta is None else theta}
    if scaling != "none":
        parameters["factor"] = rule.number("factor", *_FACTOR)
    if scaling == "llama3":
        parameters["low_freq_factor"] = rule.number("low_freq_factor", *_FACTOR)
        parameters["high_freq_factor"] = rule.number("high_freq_factor", *_FACTOR)
        parameters["original_context"] = _original_context(fields, rule, context_length)
    return RopeConfig(scaling=scaling, **parameters)


def _rule(fields: Fields) -> Fields | None:
    """The object that holds the rule; None when there is none, or an empty one."""
    names = [n for n in ("rope_scaling", "rope_parameters") if fields.object(n) and fields.raw(n)]
    if not names:
        return None
    if len(names) == 2 and fields.raw(names[0]) != fields.raw(names[1]):
        raise fields.error(
            names[0], fields.raw(names[0]), f"rope_parameters beside it: {fields.raw(names[1])}"
        )
    for name, value in fields.raw(names[0]).items():
        if isinstance(value, dict):
            raise fields.error_text(
                names[0], f"got rules by kind of layer ({name!r}), expected one for all layers"
            )
    return fields.object(names[0])


def _rope_type(rule: Fields) -> str:
    new: str | None = rule.choice("rope_type", tuple(_SCALINGS), None)
    old: str | None = rule.choice("type", tuple(_SCALINGS), new)
    if new is not None and old != new:
        raise rule.error("type", old, f"rope_type = {new} as beside it")
    return old or "default"


def _original_context(fields: Fields, rule: Fields, context_length: int) -> float:
    """Beside the rule it wins over inside, as in transformers."""
    name, low, high = "original_max_position_embeddings", 1, 2**31
    inside = rule.number(name, low, high, context_length)
    original: float = fields.number(name, low, high, inside)
    return original
