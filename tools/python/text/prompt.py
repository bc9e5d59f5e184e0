# SPDX-License-Identifier: Apache-2.0
"""Text to token ids and back, for morph generate.

    prompt.py encode --model DIR --prompt-file FILE --out FILE [--chat]   writes {"tokens": [...], "eos": [...]}
    prompt.py decode --model DIR [--json --prompt-file FILE]   reads {"token": id} lines, prints text as it comes
"""

import argparse
import json
import os
import pathlib
import sys


class InputError(Exception):
    """The model folder cannot be used; the message says why."""


def words_of(error):
    """What an exception of a library says, in one line of a bearable length."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def load_tokenizer(folder):
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.exists():
        raise InputError(f"{folder} has no tokenizer.json")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for malformed files
        raise InputError(f"'{path}' is no tokenizer that the tokenizers library reads: {words_of(error)}") from error


def read_text(path):
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InputError(f"the prompt is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}") from error


def read_json(path):
    """The JSON object of a file of the model's folder; an empty one where there is no such file."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}' is no JSON: {words_of(error)}") from error
    if not isinstance(value, dict):
        raise InputError(f"'{path}' holds no JSON object")
    return value


def token_text(value):
    """A token of tokenizer_config.json: a string, or an object that holds it."""
    return value.get("content") if isinstance(value, dict) else value


def end_tokens(folder, tokenizer):
    """Ids that end a text: of the generation config, the config, or the tokenizer's end token."""
    for file in ("generation_config.json", "config.json"):
        ids = read_json(folder / file).get("eos_token_id")
        if ids is None:
            continue
        ids = ids if isinstance(ids, list) else [ids]
        if not all(isinstance(i, int) for i in ids):
            raise InputError(f"'{folder / file}': 'eos_token_id' must be an id or a list of ids")
        return ids
    token = token_text(read_json(folder / "tokenizer_config.json").get("eos_token"))
    known = isinstance(token, str) and tokenizer.token_to_id(token) is not None
    return [tokenizer.token_to_id(token)] if known else []


def render_chat(folder, prompt):
    """The prompt as a user's message through the model's chat template."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    config = read_json(folder / "tokenizer_config.json")
    file = folder / "chat_template.jinja"
    source = file if file.exists() else folder / "tokenizer_config.json"

    def raise_exception(message):
        raise InputError(f"the chat template says: {words_of(message)}")

    try:
        template = file.read_bytes().decode() if file.exists() else config.get("chat_template")
        if isinstance(template, list):
            template = next((entry["template"] for entry in template if entry["name"] == "default"), None)
        if not template:
            raise InputError(f"{folder} has no chat template; leave out --chat")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = raise_exception
        tokens = {name: token_text(config.get(name)) or "" for name in ("bos_token", "eos_token")}
        return environment.from_string(template).render(messages=[{"role": "user", "content": prompt}],
                                                        add_generation_prompt=True, **tokens)
    except InputError:
        raise
    except Exception as error:  # a template is a program: it may raise anything
        raise InputError(f"the chat template of '{source}' fails: {words_of(error)}") from error


def encode(arguments):
    tokenizer = load_tokenizer(arguments.model)
    text = read_text(arguments.prompt_file)
    if arguments.chat:
        text = render_chat(arguments.model, text)
    # A template writes its own special tokens.
    try:
        ids = tokenizer.encode(text, add_special_tokens=not arguments.chat).ids
    except Exception as error:  # a tokenizer that loads may still lack what it needs
        raise InputError(f"the tokenizer of '{arguments.model}' cannot encode the prompt: {words_of(error)}") from error
    if not ids:
        raise InputError("the prompt has no tokens")
    most = read_json(arguments.model / "config.json").get("max_position_embeddings")
    if isinstance(most, int) and len(ids) > most:
        print(f"morph: note: the prompt has {len(ids)} tokens, the model was made for {most} "
              "(max_position_embeddings)", file=sys.stderr)
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
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Nobody reads on, which is no error.
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
