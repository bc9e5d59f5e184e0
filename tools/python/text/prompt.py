# SPDX-License-Identifier: Apache-2.0
"""Text to token ids and back, for morph generate.

    prompt.py encode --model DIR --prompt-file FILE --out FILE [--chat]   writes {"tokens": [...], "eos": [...]}
    prompt.py decode --model DIR [--json --prompt-file FILE]   reads {"token": id} lines, prints text as it comes
"""

import argparse
import json
import pathlib
import sys


class InputError(Exception):
    """The model folder cannot be used; the message says why."""


def load_tokenizer(folder):
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.exists():
        raise InputError(f"{folder} has no tokenizer.json")
    return Tokenizer.from_file(str(path))


def read_text(path):
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InputError(f"the prompt is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}") from error


def read_json(path):
    return json.loads(path.read_text()) if path.exists() else {}


def token_text(value):
    """A token of tokenizer_config.json: a string, or an object that holds it."""
    return value.get("content") if isinstance(value, dict) else value


def end_tokens(folder, tokenizer):
    """Ids that end a text: of the generation config, the config, or the tokenizer's end token."""
    for file in ("generation_config.json", "config.json"):
        ids = read_json(folder / file).get("eos_token_id")
        if ids is not None:
            return ids if isinstance(ids, list) else [ids]
    token = token_text(read_json(folder / "tokenizer_config.json").get("eos_token"))
    return [tokenizer.token_to_id(token)] if token and tokenizer.token_to_id(token) is not None else []


def render_chat(folder, prompt):
    """The prompt as a user's message through the model's chat template."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    config = read_json(folder / "tokenizer_config.json")
    file = folder / "chat_template.jinja"
    template = file.read_text() if file.exists() else config.get("chat_template")
    if isinstance(template, list):
        template = next((entry["template"] for entry in template if entry["name"] == "default"), None)
    if not template:
        raise InputError(f"{folder} has no chat template; leave out --chat")

    def raise_exception(message):
        raise InputError(f"the chat template says: {message}")

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = raise_exception
    tokens = {name: token_text(config.get(name)) or "" for name in ("bos_token", "eos_token")}
    return environment.from_string(template).render(messages=[{"role": "user", "content": prompt}],
                                                    add_generation_prompt=True, **tokens)


def encode(arguments):
    tokenizer = load_tokenizer(arguments.model)
    text = read_text(arguments.prompt_file)
    if arguments.chat:
        text = render_chat(arguments.model, text)
    # A template writes its own special tokens.
    ids = tokenizer.encode(text, add_special_tokens=not arguments.chat).ids
    if not ids:
        raise InputError("the prompt has no tokens")
    arguments.out.write_text(json.dumps({"tokens": ids, "eos": end_tokens(arguments.model, tokenizer)}))


def decode(arguments):
    tokenizer = load_tokenizer(arguments.model)
    ids, shown = [], ""
    for line in sys.stdin:
        if not line.strip():
            continue
        ids.append(json.loads(line)["token"])
        text = tokenizer.decode(ids, skip_special_tokens=True)
        # An unfinished character of several bytes is shown once it is whole.
        if not arguments.json and not text.endswith("\ufffd"):
            sys.stdout.write(text[len(shown):])
            sys.stdout.flush()
            shown = text
    if arguments.json:
        print(json.dumps({"prompt": read_text(arguments.prompt_file), "text": tokenizer.decode(ids, skip_special_tokens=True),
                          "tokens": ids}, ensure_ascii=False))
    else:
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("encode", "decode"))
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--prompt-file", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--chat", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        encode(arguments) if arguments.action == "encode" else decode(arguments)
    except InputError as error:
        print(f"morph: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
