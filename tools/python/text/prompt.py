# SPDX-License-Identifier: Apache-2.0
"""Text to token ids and back, for morph generate.

    prompt.py encode --model DIR --prompt-file FILE --max-tokens N --out FILE [--chat]   writes {"tokens": [...], "eos": [...]}
    prompt.py decode --model DIR [--after FILE] [--json --prompt-file FILE]   reads {"token": id} lines, prints text as it
                                                                              comes, behind the tokens that encode wrote
"""

import argparse
import json
import os
import pathlib
import sys

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))
from data.files import InputError, print_error
from model_text import Detokenizer, encode_text, end_tokens, load_tokenizer, read_json, render_chat


def read_text(path):
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InputError(f"the prompt is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}") from error


def encode(arguments):
    tokenizer = load_tokenizer(arguments.model)
    text = read_text(arguments.prompt_file)
    if arguments.chat:
        text = render_chat(arguments.model, [{"role": "user", "content": text}])
    ids = encode_text(arguments.model, tokenizer, text, special=not arguments.chat)
    most = read_json(arguments.model / "config.json").get("max_position_embeddings")
    if isinstance(most, int) and len(ids) + arguments.max_tokens > most:
        print(f"morph: note: the prompt has {len(ids)} tokens and {arguments.max_tokens} may follow, the model was made for "
              f"{most} (max_position_embeddings)", file=sys.stderr)
    arguments.out.write_text(json.dumps({"tokens": ids, "eos": end_tokens(arguments.model, tokenizer)}))


def decode(arguments):
    tokenizer = load_tokenizer(arguments.model)
    text = Detokenizer(tokenizer, json.loads(arguments.after.read_text())["tokens"] if arguments.after else ())

    def show(piece):
        if piece and not arguments.json:
            sys.stdout.write(piece)
            sys.stdout.flush()

    for line in sys.stdin:
        if line.strip():
            show(text.add(json.loads(line)["token"]))
    show(text.rest())
    if arguments.json:
        print(json.dumps({"prompt": read_text(arguments.prompt_file), "text": text.whole(), "tokens": text.tokens},
                         ensure_ascii=False))
    else:
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("encode", "decode"))
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--prompt-file", type=pathlib.Path)
    parser.add_argument("--max-tokens", type=int, default=0, help="what may follow, of which is said where it is too much")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--after", type=pathlib.Path)
    parser.add_argument("--chat", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        encode(arguments) if arguments.action == "encode" else decode(arguments)
    except InputError as error:
        print_error("morph", error)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Nobody reads on, which is no error.
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
