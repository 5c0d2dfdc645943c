"""A stand-in fleet: simulated hosts, GPUs, Ollama and llama-server over real HTTP, for the demo and the tests.

The answers follow what real servers gave (``tests/fixtures/recorded``); the memory follows
``weights + KV cache + compute + CUDA context`` with a small deviation per model, so that an estimate comes near
and is never equal.
"""
