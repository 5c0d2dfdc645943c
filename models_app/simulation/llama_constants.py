"""Constants of llama-server's answers that no simulated machine changes: sampling defaults and the names of its metrics."""

from __future__ import annotations

from typing import Any

SAMPLING: dict[str, Any] = {
    "seed": 4294967295,
    "temperature": 0.800000011920929,
    "dynatemp_range": 0.0,
    "dynatemp_exponent": 1.0,
    "top_k": 40,
    "top_p": 0.949999988079071,
    "min_p": 0.05000000074505806,
    "top_n_sigma": -1.0,
    "xtc_probability": 0.0,
    "xtc_threshold": 0.10000000149011612,
    "typical_p": 1.0,
    "repeat_last_n": 64,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "dry_multiplier": 0.0,
    "dry_base": 1.75,
    "dry_allowed_length": 2,
    "dry_penalty_last_n": 64,
    "mirostat": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.10000000149011612,
    "adaptive_target": -1.0,
    "adaptive_decay": 0.8999999761581421,
    "max_tokens": -1,
    "n_predict": -1,
    "n_keep": 0,
    "n_discard": 0,
    "ignore_eos": False,
    "stream": False,
    "n_probs": 0,
    "min_keep": 0,
    "chat_format": "Content-only",
    "reasoning_format": "none",
    "reasoning_in_content": False,
    "generation_prompt": "",
    "samplers": ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"],
    "speculative.types": "none",
    "timings_per_token": False,
    "post_sampling_probs": False,
    "backend_sampling": False,
    "lora": [],
}
"""The parameters in ``/props`` and in a busy slot."""

CHAT_TEMPLATE_CAPABILITIES = {
    "supports_object_arguments": False,
    "supports_parallel_tool_calls": False,
    "supports_preserve_reasoning": False,
    "supports_reasoning_effort": False,
    "supports_string_content": True,
    "supports_system_role": True,
    "supports_tool_calls": False,
    "supports_tools": False,
    "supports_typed_content": False,
}

METRICS = (
    ("prompt_tokens_total", "Number of prompt tokens processed, excluding cached tokens", "counter"),
    ("prompt_tokens_cached_total", "Number of prompt tokens reused from the cache", "counter"),
    ("prompt_seconds_total", "Total time spent processing prompts", "counter"),
    ("tokens_predicted_total", "Number of generation tokens processed", "counter"),
    ("tokens_predicted_seconds_total", "Total time spent generating tokens", "counter"),
    (
        "n_decode_total",
        "Total number of llama_decode() calls, excluding speculative decoding and multimodal decoding",
        "counter",
    ),
    ("n_tokens_max", "Largest observed sequence length (prompt + generation)", "counter"),
    ("spec_decode_num_draft_tokens_total", "Speculative: Total draft tokens generated", "counter"),
    ("spec_decode_num_accepted_tokens_total", "Speculative: Total draft tokens accepted by the target model", "counter"),
    ("spec_decode_num_drafts_total", "Speculative: Total speculative decoding verification steps", "counter"),
    ("prompt_tokens_seconds", "Average prompt throughput in tokens/s", "gauge"),
    ("predicted_tokens_seconds", "Average generation throughput in tokens/s", "gauge"),
    ("requests_processing", "Number of requests processing", "gauge"),
    ("requests_deferred", "Number of requests deferred", "gauge"),
    ("n_busy_slots_per_decode", "Average number of busy slots per llama_decode() call", "gauge"),
)
"""Name, help and type of each series of ``/metrics``."""
