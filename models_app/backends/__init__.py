"""The clients of Ollama and llama-server: one protocol, one error family, one guarded way out.

``detect.connect(url)`` finds out what listens at an address and returns a ``protocol.Backend``; ``detect.backend_for(mode,
url)`` makes one without asking. A backend belongs to the event loop that first uses it and is closed with ``aclose``.
"""
