"""Write a trained checkpoint as a Hugging Face repository: `python3 export.py --run run` fills `model/`.

Both weight formats are written by hand here: each is a header and the tensors' bytes, and to see the bytes is the
shortest way to know that both files hold the same model.
"""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
import torch

import chat
from model import Config, Llama

HERE = Path(__file__).parent
GGUF_NAME = "berth-starter-F16.gguf"


def hugging_face_names(config: Config) -> dict:
    """Our parameter name -> Hugging Face's."""
    names = {"embed.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
    parts = {
        "attn_norm": "input_layernorm", "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj",
        "o": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "gate": "mlp.gate_proj", "up": "mlp.up_proj",
        "down": "mlp.down_proj",
    }
    for i in range(config.layers):
        for ours, theirs in parts.items():
            names[f"blocks.{i}.{ours}.weight"] = f"model.layers.{i}.{theirs}.weight"
    return names


def gguf_names(config: Config) -> dict:
    """Our parameter name -> llama.cpp's."""
    names = {"embed.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
    parts = {
        "attn_norm": "attn_norm", "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output", "ffn_norm": "ffn_norm",
        "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down",
    }
    for i in range(config.layers):
        for ours, theirs in parts.items():
            names[f"blocks.{i}.{ours}.weight"] = f"blk.{i}.{theirs}.weight"
    return names


# ---- safetensors: length of the header, header in JSON, bytes ---------------------------------------------------


def write_safetensors(path: Path, tensors: dict):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F16", "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for array in tensors.values():
            file.write(array.tobytes())


def read_safetensors(path: Path) -> dict:
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + size + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[start:end], np.float16).reshape(entry["shape"])
    return tensors


# ---- GGUF: magic, metadata, tensor table, padding, bytes --------------------------------------------------------

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # value types of GGUF's metadata
TYPE_F32, TYPE_F16 = 0, 1  # tensor types
ALIGNMENT = 32
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # token types


def gguf_string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_value(kind: int, value) -> bytes:
    if kind == STRING:
        return gguf_string(value)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def gguf_field(key: str, kind, value) -> bytes:
    """One key of the metadata; `kind` is a value type, or [type] for an array."""
    if isinstance(kind, list):
        items = b"".join(gguf_value(kind[0], item) for item in value)
        return gguf_string(key) + struct.pack("<IIQ", ARRAY, kind[0], len(value)) + items
    return gguf_string(key) + struct.pack("<I", kind) + gguf_value(kind, value)


def write_gguf(path: Path, fields: list, tensors: dict):
    padded = {name: array.tobytes() + b"\0" * (-array.nbytes % ALIGNMENT) for name, array in tensors.items()}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + b"".join(gguf_field(*field) for field in fields)
    offset = 0
    for name, array in tensors.items():
        dims = array.shape[::-1]  # GGUF names the fastest dimension first
        kind = TYPE_F16 if array.dtype == np.float16 else TYPE_F32
        head += gguf_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
        offset += len(padded[name])
    head += b"\0" * (-len(head) % ALIGNMENT)
    path.write_bytes(head + b"".join(padded.values()))


def neighbours(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k from Hugging Face's rotary pairs (i, i + half) to llama.cpp's (2i, 2i + 1)."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def gguf_fields(config: Config, tokenizer) -> list:
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    tokens = [token for token, _ in vocabulary]
    types = [CONTROL if t in chat.CONTROL else USER_DEFINED if t in chat.MARKERS else NORMAL for t in tokens]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, "Berth starter"),
        ("general.license", STRING, "apache-2.0"),
        ("general.file_type", U32, 1),
        ("general.alignment", U32, ALIGNMENT),
        ("general.sampling.temp", F32, 0.0),  # so small a model has one good answer; anything else is noise
        ("llama.vocab_size", U32, config.vocab_size),
        ("llama.context_length", U32, config.context),
        ("llama.embedding_length", U32, config.width),
        ("llama.block_count", U32, config.layers),
        ("llama.feed_forward_length", U32, config.feed_forward),
        ("llama.attention.head_count", U32, config.heads),
        ("llama.attention.head_count_kv", U32, config.heads),
        ("llama.attention.layer_norm_rms_epsilon", F32, config.norm_eps),
        ("llama.rope.dimension_count", U32, config.head_size),
        ("llama.rope.freq_base", F32, config.rope_theta),
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, "smollm"),
        ("tokenizer.ggml.tokens", [STRING], tokens),
        ("tokenizer.ggml.token_type", [I32], types),
        ("tokenizer.ggml.merges", [STRING], [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]),
        ("tokenizer.ggml.bos_token_id", U32, 1),
        ("tokenizer.ggml.eos_token_id", U32, chat.END_OF_TURN),
        ("tokenizer.ggml.padding_token_id", U32, 0),
        ("tokenizer.ggml.add_bos_token", BOOL, False),
        ("tokenizer.ggml.add_space_prefix", BOOL, False),
        ("tokenizer.chat_template", STRING, chat.TEMPLATE),
    ]


# ---- the repository ---------------------------------------------------------------------------------------------


def repository_files(config: Config) -> dict:
    tokens = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    added = {
        str(i): {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": token in chat.CONTROL}
        for i, token in [*enumerate(chat.CONTROL), *enumerate(chat.MARKERS, config.vocab_size - len(chat.MARKERS))]
    }
    return {
        "config.json": {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": config.vocab_size,
            "hidden_size": config.width, "intermediate_size": config.feed_forward, "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads, "num_key_value_heads": config.heads, "head_dim": config.head_size,
            "hidden_act": "silu", "max_position_embeddings": config.context, "rms_norm_eps": config.norm_eps,
            "rope_theta": config.rope_theta, "rope_scaling": None, "attention_bias": False, "attention_dropout": 0.0,
            "mlp_bias": False, "tie_word_embeddings": True, "initializer_range": 0.02, "use_cache": True,
            "bos_token_id": 1, "eos_token_id": chat.END_OF_TURN, "pad_token_id": 0, "torch_dtype": "float16",
        },
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": [chat.END_OF_TURN], "pad_token_id": 0, "do_sample": False},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": config.context, "add_bos_token": False,
            "add_prefix_space": False, "clean_up_tokenization_spaces": False, "added_tokens_decoder": added, **tokens,
            "chat_template": chat.TEMPLATE,
        },
        "special_tokens_map.json": tokens,
    }


def write_repository(folder: Path, model: Llama, tokenizer):
    config, state = model.config, model.state_dict()
    folder.mkdir(exist_ok=True)
    for name, content in repository_files(config).items():
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    (folder / "chat_template.jinja").write_text(chat.TEMPLATE)
    tokenizer.save(str(folder / "tokenizer.json"))

    half = {name: state[name].to(torch.float16).numpy() for name in hugging_face_names(config)}
    write_safetensors(folder / "model.safetensors", {theirs: half[ours] for ours, theirs in hugging_face_names(config).items()})
    tensors = {}
    for ours, theirs in gguf_names(config).items():
        array = half[ours]
        if ours.endswith((".q.weight", ".k.weight")):
            array = neighbours(array, config.heads)
        # llama.cpp wants norms in F32.
        tensors[theirs] = np.ascontiguousarray(array if array.ndim == 2 else array.astype(np.float32))
    write_gguf(folder / GGUF_NAME, gguf_fields(config, tokenizer), tensors)


def load(folder: Path):
    """The shipped model and tokenizer, from `model.safetensors`."""
    shape = json.loads((folder / "config.json").read_text())
    config = Config(
        vocab_size=shape["vocab_size"], width=shape["hidden_size"], layers=shape["num_hidden_layers"],
        heads=shape["num_attention_heads"], feed_forward=shape["intermediate_size"], context=shape["max_position_embeddings"],
        rope_theta=shape["rope_theta"], norm_eps=shape["rms_norm_eps"],
    )
    theirs = read_safetensors(folder / "model.safetensors")
    model = Llama(config)
    model.load_state_dict({ours: torch.tensor(theirs[name]).float() for ours, name in hugging_face_names(config).items()})
    return model, chat.load_tokenizer(folder / "tokenizer.json")


def main():
    import evaluate

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=HERE / "run", help="folder of the training run")
    write_repository(HERE / "model", *evaluate.load_run(parser.parse_args().run))


if __name__ == "__main__":
    main()
