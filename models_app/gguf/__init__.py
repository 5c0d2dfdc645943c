"""The reader of GGUF headers: pure, bounded, and quick because it skips what nobody asked for."""
