"""Small vocabularies in the three forms that llama.cpp reads: SentencePiece, byte-level BPE and WordPiece.

Each function writes its vocabulary into a ``GGUFWriter`` and returns how many tokens there are and which of them must
never be drawn: the special ones and the bytes outside printable ASCII. With the output rows of those set to zero, text
drawn from random weights stays printable and a completion runs to its limit of tokens.
"""

from __future__ import annotations

from typing import NamedTuple

from gguf import GGUFWriter, TokenType

WORD_LIST = """
the of and to in is it you that he was for on are with as his they be at one have this from or had by hot word but what
some we can out other were all there when up use your how said an each she which do their time if will way about many
then them write would like so these her long make thing see him two has look more day could go come did number sound no
most people my over know water than call first who may down side been now find model load unload swap gpu memory layer
token cache server ready hello world
"""
WORDS = tuple(dict.fromkeys(WORD_LIST.split()))
WORD_START = "\u2581"
PRINTABLE = [chr(code) for code in range(33, 127)]
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class Vocabulary(NamedTuple):
    """What the weights need to know of a vocabulary."""

    size: int
    muted: list[int]


def write_sentencepiece(writer: GGUFWriter, *, gemma: bool = False) -> Vocabulary:
    """Write specials, 256 byte tokens, then pieces with falling scores, in the order that llama or gemma expects."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>"] if gemma else ["<unk>", "<s>", "</s>"]
    unknown = specials.index("<unk>")
    controls = [*specials, "<|im_start|>", "<|im_end|>"]
    pieces = _sentence_pieces()
    tokens = [*controls, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    muted = len(controls) + 256
    types = [TokenType.CONTROL] * len(controls) + [TokenType.BYTE] * 256 + [TokenType.NORMAL] * len(pieces)
    types[unknown] = TokenType.UNKNOWN

    _write_tokens(writer, "llama", "default", tokens, types)
    writer.add_token_scores([0.0] * muted + [-1.0 - rank for rank in range(len(pieces))])
    writer.add_bos_token_id(2 if gemma else 1)
    writer.add_eos_token_id(1 if gemma else 2)
    writer.add_unk_token_id(unknown)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(not gemma)
    writer.add_chat_template(CHAT_TEMPLATE)
    return Vocabulary(len(tokens), list(range(muted)))


def _sentence_pieces() -> list[str]:
    """Single characters and every prefix of every word: SentencePiece reaches a word only by merging its prefixes."""
    prefixes = (WORD_START + word[:length] for word in WORDS for length in range(1, len(word) + 1))
    return list(dict.fromkeys([WORD_START, *PRINTABLE, *prefixes]))


def write_byte_level_bpe(writer: GGUFWriter) -> Vocabulary:
    """Write GPT-2's 256 byte symbols, the words with their merges, then the specials, as Qwen2 does."""
    symbols = _gpt2_byte_symbols()
    tokens = dict.fromkeys(symbols.values())
    merges = []
    for word in WORDS:
        piece = symbols[ord(" ")]
        for letter in word:
            if piece + letter not in tokens:
                merges.append(f"{piece} {letter}")
                tokens[piece + letter] = None
            piece += letter
    end_of_text = len(tokens)
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    types = [TokenType.NORMAL] * end_of_text + [TokenType.CONTROL] * len(specials)

    _write_tokens(writer, "gpt2", "qwen2", [*tokens, *specials], types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(end_of_text)
    writer.add_eos_token_id(end_of_text + 2)
    writer.add_pad_token_id(end_of_text)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    unprintable = [index for index, byte in enumerate(symbols) if not 33 <= byte < 127]
    return Vocabulary(len(types), [*unprintable, *range(end_of_text, len(types))])


def _gpt2_byte_symbols() -> dict[int, str]:
    """GPT-2's table from bytes to characters: the printable stand for themselves, the others move up to U+0100."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + rank) for rank, byte in enumerate(hidden)}


def write_wordpiece(writer: GGUFWriter) -> Vocabulary:
    """Write BERT's vocabulary in llama.cpp's form: a word starts with U+2581, a continuation with nothing."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [char for char in PRINTABLE if not char.isupper()]
    pieces = [form for char in letters for form in (WORD_START + char, char)]
    tokens = list(dict.fromkeys([*specials, *pieces, *(WORD_START + word for word in WORDS)]))
    types = [TokenType.CONTROL] * len(specials) + [TokenType.NORMAL] * (len(tokens) - len(specials))
    types[1] = TokenType.UNKNOWN

    _write_tokens(writer, "bert", "default", tokens, types)
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    return Vocabulary(len(tokens), [])


def _write_tokens(writer: GGUFWriter, model: str, pre: str, tokens: list[str], types: list[TokenType]) -> None:
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([int(kind) for kind in types])
