"""Settings of a model under the names that older readers know.

transformers 5 stores rotary embeddings as `rope_parameters` and the dtype as `dtype`. transformers 4, mlx-lm and others look for
`rope_theta`, `rope_scaling` and `torch_dtype`; where they find none they take a default without a word, and compute another model.
"""

import copy
import json

OF_A_SAVE = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path")  # not of the model


def config_with_older_names(new: dict, source: dict | None) -> dict:
    """A config.json that transformers 5 wrote, with what it left out of its source's.

    Args:
        new: the config.json as transformers 5 writes it.
        source: the config.json that it was read from, if it describes the same model; see `describes`.

    Returns:
        `new` with every key of `source` that it lacks but where that lay, and with `rope_theta`, `rope_scaling`, `rope_local_base_freq`
        and `torch_dtype` for the numbers that it holds, where the source did not have them.
    """
    merged = {key: value for key, value in (source or {}).items() if key != "_name_or_path"} | new
    for key, value in new.items():
        if isinstance(value, dict) and key.endswith("_config"):
            part = (source or {}).get(key)
            merged[key] = config_with_older_names(value, part if isinstance(part, dict) else None)
    if isinstance(rope := new.get("rope_parameters"), dict) and not {"rope_theta", "rope_scaling"} & set(source or {}):
        merged |= _older_rope(rope)
    if "dtype" in new:
        merged["torch_dtype"] = new["dtype"]
    return merged


def _older_rope(rope: dict) -> dict:
    """`rope_parameters` as transformers 4 named them; {} for rotations by kinds of layers that it did not know."""
    if "rope_theta" not in rope and isinstance(rope.get("full_attention"), dict):
        local = rope.get("sliding_attention") or {}
        found = _older_rope(rope["full_attention"])
        return found | ({"rope_local_base_freq": local["rope_theta"]} if "rope_theta" in local else {})
    if "rope_theta" not in rope:
        return {}
    beside = {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if key in rope}
    scaling = {key: value for key, value in rope.items() if key not in beside}
    if scaling.get("rope_type", "default") == "default":
        scaling = None
    elif scaling["rope_type"] == "longrope":  # Phi 3's config refuses any other key; the original length stands outside
        kept = ("short_factor", "long_factor", "factor", "attention_factor")
        scaling = {"type": "longrope", **{key: rope[key] for key in kept if rope.get(key) is not None}}
    return {**beside, "rope_scaling": scaling}


def describes(source: dict, config) -> bool:
    """Whether a config.json, as it was read, is that of a transformers `config`: whether it loads as the same settings."""
    try:
        loaded = type(config).from_dict(copy.deepcopy(source)).to_dict()  # which writes into what it is given
    except Exception:  # whatever a config class raises: then it is another one's
        return False
    kept = config.to_dict()
    return _comparable(loaded) == _comparable(kept)


def _comparable(settings: dict) -> str:
    def of_the_model(value):
        if isinstance(value, dict):
            return {key: of_the_model(part) for key, part in value.items() if key not in OF_A_SAVE}
        return value

    return json.dumps(of_the_model(settings), sort_keys=True, default=str)
