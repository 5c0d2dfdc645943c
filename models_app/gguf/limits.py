"""Bounds on what a header may claim, so that hostile input costs bounded time and memory.

Real headers stay far below: the largest vocabularies make some 30 MiB, the largest models some 3000 tensors.
"""

MAX_HEADER_BYTES = 128 * 1024**2
MAX_METADATA_ENTRIES = 65_536
MAX_TENSORS = 131_072
MAX_NAME_BYTES = 65_535
MAX_STRING_BYTES = 16 * 1024**2
MAX_ARRAY_ITEMS = 4_096
"""Arrays of more numbers are skipped: per-layer arrays are shorter, vocabularies longer."""
MAX_DIMENSIONS = 4
MAX_TENSOR_ELEMENTS = 2**62
MAX_ALIGNMENT = 2**20
MAX_SPLITS = 1_024
