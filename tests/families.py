"""A tiny random model of every family that transformers' map of causal LMs knows, for tests that no family is served wrongly.

Facts of a family are keyword arguments of its config, over `SIZES`. Windows, chunks and the like are shorter than `LENGTH`.
"""

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig

from hyperfitting.models import causal_lm

VOCABULARY, LENGTH = 128, 28
OMITTED = object()  # a size that a config refuses
SIZES = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    head_dim=8, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0, is_decoder=True, sliding_window=16,
    chunk_size=16, index_topk=16,
    # mixtures of experts
    num_experts=4, num_local_experts=4, n_routed_experts=4, moe_num_experts=4, num_experts_per_tok=2, n_shared_experts=1,
    num_shared_experts=1, moe_intermediate_size=16, shared_expert_intermediate_size=16, moe_shared_expert_intermediate_size=16,
    n_group=1, topk_group=1, first_k_dense_replace=1,
    # compressed keys and values
    q_lora_rank=16, kv_lora_rank=16, qk_rope_head_dim=4, qk_nope_head_dim=8, v_head_dim=8,
    # decoders of encoder-decoder models
    encoder_layers=1, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48,
    d_model=32, ffn_dim=48,
    # recurrent layers
    mamba_n_heads=8, mamba_d_head=8, mamba_n_groups=1, mamba_d_state=8, mamba_chunk_size=16, linear_num_key_heads=2,
    linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=8,
)  # fmt: skip
COMPRESSED = dict(num_key_value_heads=4, head_dim=4)
BOTH = ["sliding_attention", "full_attention"]
LINEAR = dict(layer_types=["linear_attention", "full_attention"])
QSA = LINEAR | dict(
    indexer_n_heads=2, indexer_kv_heads=1, indexer_head_dim=8, indexer_budget=16, indexer_compress_ratio=4, hc_count=2, hc_lowrank=8
)  # fmt: skip
VISION = dict(
    hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
)
BYTES = dict(
    vocab_size=260,
    hidden_size=32,
    hidden_size_global=32,
    intermediate_size=48,
    num_hidden_layers=1,
    num_attention_heads=4,
)
PLACEHOLDERS = dict(image_token_id=120, video_token_id=121, vision_start_token_id=122, vision_end_token_id=123)
QWEN_VISION = dict(depth=1, hidden_size=16, num_heads=2, intermediate_size=16, out_hidden_size=32)


def multimodal(text: dict, **others) -> dict:
    return {"text_config": {**SIZES, "sliding_window": None, **text}, **others}


OTHERS = {
    **dict.fromkeys(
        ("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa", "longcat_flash", "minicpm3",
         "sarvam_mla"),
        COMPRESSED,
    ),
    "bailing_hybrid": dict(layer_group_size=2, num_key_value_heads=4, head_dim=4),
    "bamba": dict(attn_layer_indices=[1]),
    "granitemoehybrid": LINEAR,
    "jamba": dict(attn_layer_period=2, attn_layer_offset=1),
    "lfm3": dict(layer_types=["conv", "full_attention"]),
    "recurrent_gemma": dict(num_hidden_layers=3, attention_window_size=16),
    "blt": dict(
        vocab_size=260, patcher_config=BYTES, encoder_config=BYTES, decoder_config=BYTES, global_config=BYTES, encoder_hash_byte_group_vocab=64
    ),
    "codegen": dict(rotary_dim=4),
    "cohere_compass_text": dict(
        layer_types=BOTH, rope_parameters={name: dict(rope_type="default", rope_theta=10000.0) for name in BOTH}
    ),
    "cpmant": dict(dim_head=8, dim_ff=48, prompt_length=4),
    "ctrl": dict(dff=48),
    "dbrx": dict(
        n_heads=4, n_layers=2, max_seq_len=128, attn_config=dict(kv_n_heads=2, clip_qkv=8, rope_theta=10000.0),
        ffn_config=dict(ffn_hidden_size=48, hidden_size=32, moe_num_experts=4, moe_top_k=2),
    ),
    "dots3_note": multimodal(
        COMPRESSED | dict(index_head_dim=8, index_n_heads=2), vision_config={**VISION, "num_hidden_layers": 42, "adapter_in_dim": 16, "adapter_out_dim": 32},
        audio_config={**VISION, "adapter_input_size": 16, "adapter_out_dim": 32, "downsample_hidden_size": 8, "feature_size": 8},
    ),
    "dots3_note_text": COMPRESSED | dict(index_head_dim=8, index_n_heads=2),
    "falcon": dict(head_dim=OMITTED),
    "falcon_h1": dict(mamba_d_ssm=64),
    "gemma3": multimodal(dict(layer_types=BOTH, sliding_window=16), vision_config=VISION, mm_tokens_per_image=4, image_token_index=120),
    "gemma3n_text": dict(
        hidden_size_per_layer_input=8, vocab_size_per_layer_input=VOCABULARY, laurel_rank=8, num_kv_shared_layers=0, layer_types=BOTH
    ),
    "gemma4": multimodal(
        dict(hidden_size_per_layer_input=8, vocab_size_per_layer_input=VOCABULARY, global_head_dim=8, layer_types=BOTH, sliding_window=16),
        vision_config={**VISION, "num_key_value_heads": 2, "head_dim": 8, "position_embedding_size": 16}, audio_config=None,
        image_token_id=120, video_token_id=121, audio_token_id=122,
    ),
    "gemma4_text": dict(hidden_size_per_layer_input=8, vocab_size_per_layer_input=VOCABULARY, global_head_dim=8, layer_types=BOTH),
    "gemma4_unified": multimodal(
        dict(global_head_dim=8, layer_types=BOTH, sliding_window=16), vision_config=dict(mm_embed_dim=16, mm_posemb_size=16, output_proj_dims=32),
        audio_config=None, image_token_id=120, video_token_id=121, audio_token_id=122,
    ),
    "git": dict(vision_config=VISION),
    "got_ocr2": multimodal({"model_type": "qwen2"}, vision_config={**VISION, "mlp_dim": 16, "output_channels": 8, "image_size": 64}),
    "gpt_neo": dict(attention_types=[[["global", "local"], 1]], window_size=16),
    "gptj": dict(rotary_dim=4),
    "inkling2_loop_text": dict(unpadded_vocab_size=VOCABULARY, swa_num_attention_heads=4, swa_num_key_value_heads=2, swa_head_dim=8, sliding_window_size=16, rel_extent=16),
    "inkling2_text": dict(unpadded_vocab_size=VOCABULARY, swa_num_attention_heads=4, swa_num_key_value_heads=2, swa_head_dim=8, sliding_window_size=16, rel_extent=16),
    "inkling_text": dict(unpadded_vocab_size=VOCABULARY, swa_num_attention_heads=4, swa_num_key_value_heads=2, swa_head_dim=8, sliding_window_size=16, rel_extent=16),
    "kimi_linear": COMPRESSED | dict(linear_head_dim=8, linear_num_heads=4) | LINEAR,
    "lfm2_moe": dict(layer_types=["conv", "full_attention"]),
    "llama4_text": dict(attention_chunk_size=16, intermediate_size_mlp=48),
    "llama4": multimodal(dict(attention_chunk_size=16, intermediate_size_mlp=48), vision_config={**VISION, "vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16}),
    "mamba2": dict(num_heads=8, head_dim=8, n_groups=1, state_size=8),
    "moss_transcribe_diarize": multimodal(
        {"model_type": "qwen3"}, audio_config=dict(num_hidden_layers=1, hidden_size=16, num_attention_heads=2, intermediate_size=16, max_source_positions=16)
    ),
    "phi4_multimodal": dict(
        vision_config={**VISION, "crop_size": 28},
        audio_config=dict(hidden_size=16, intermediate_size=16, num_blocks=1, num_attention_heads=2, ext_pw_out_channel=16, depthwise_separable_out_channel=16, nemo_conv_channels=16),
    ),
    "prophetnet": dict(num_hidden_layers=OMITTED, encoder_layers=OMITTED, decoder_layers=OMITTED, num_encoder_layers=1, num_decoder_layers=2, num_encoder_attention_heads=4, num_decoder_attention_heads=4),
    "qwen3_5": multimodal(LINEAR, vision_config=QWEN_VISION, **PLACEHOLDERS),
    "qwen3_5_moe": multimodal(LINEAR, vision_config=QWEN_VISION, **PLACEHOLDERS),
    "qwen3_5_text": LINEAR,
    "qwen3_5_moe_text": LINEAR,
    "qwen3_next": LINEAR,
    "qwen4_exp": multimodal(QSA, vision_config=QWEN_VISION, **PLACEHOLDERS),
    "qwen4_exp_text": QSA,
    "reformer": dict(
        attn_layers=["local", "local"], attention_head_size=8, feed_forward_size=48, axial_pos_shape=[4, 7], axial_pos_embds_dim=[16, 16],
        local_attn_chunk_length=4, max_position_embeddings=LENGTH,
    ),
    "roc_bert": dict(pronunciation_embed_dim=8, pronunciation_vocab_size=VOCABULARY, shape_embed_dim=8, shape_vocab_size=VOCABULARY),
    "xlnet": dict(max_position_embeddings=OMITTED, d_inner=48, d_head=8, n_head=4),
    "xlstm": dict(v_head_dim=OMITTED, num_heads=4),
    "xlm": dict(causal=True),
    "xmod": dict(default_language="en_XX"),
    "zamba": dict(num_hidden_layers=4, layer_types=["mamba", "hybrid", "mamba", "hybrid"]),
    "zamba2": dict(num_hidden_layers=3, layers_block_type=["mamba", "hybrid", "mamba"], hybrid_layer_ids=[1], n_mamba_heads=8, num_key_value_heads=4),
    "youtu": COMPRESSED | dict(pad_token_id=None),  # transformers 5.24 empties the embedding of its pad at each load
    "zaya": dict(num_experts_per_tok=1),
}  # fmt: skip
NOT_BUILT = {
    "emu3": "transformers loads its text part, and saves that under a type that it cannot load",
    "mllama": "transformers loads its text part, and saves that under a type that it cannot load",
    "gemma3n": "its vision tower needs timm, which is not a dependency; gemma3n_text is built",
    "gemma4_assistant": "a drafter: it reads the hidden states and keys of another model",
    "gemma4_unified_assistant": "a drafter: it reads the hidden states and keys of another model",
    "musicgen": "its config is that of the whole model, which its causal LM cannot be built from; it makes codes of sound",
    "musicgen_melody": "its config is that of the whole model, which its causal LM cannot be built from; it makes codes of sound",
}


def build(model_type: str, **over) -> nn.Module:
    """A model in evaluation mode, whose weights are large enough that each token says something of those before it."""
    window = {} if "sliding_window" in dir(CONFIG_MAPPING[model_type]()) else {"sliding_window": OMITTED}
    facts = {**SIZES, **window, **OTHERS.get(model_type, {}), **over}
    config = AutoConfig.for_model(model_type, **{name: fact for name, fact in facts.items() if fact is not OMITTED})
    torch.manual_seed(0)
    model = causal_lm().from_config(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return model.eval()
