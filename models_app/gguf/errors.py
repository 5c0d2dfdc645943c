"""What can be wrong with a GGUF file. Every error names the byte offset or the key at which reading stopped."""


class GgufError(ValueError):
    """The file is no readable GGUF model; the message says why."""


class NotGguf(GgufError):
    """The file does not begin as a GGUF file of a supported version does."""


class TruncatedGguf(GgufError):
    """The file ends before its header does."""


class MalformedGguf(GgufError):
    """The header contradicts itself or exceeds a limit."""


class MissingSplit(GgufError):
    """A part of a split model is absent or does not belong to it."""
