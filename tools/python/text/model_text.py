# SPDX-License-Identifier: Apache-2.0
"""What a model's folder says of text: tokens and back, the chat template, the tokens that end a text. For morph generate,
chat and serve."""

import json


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


# The context where a model has none of its own, or one that nobody's memory holds for each sequence.
MOST_CONTEXT = 8192


def context_of(folder, asked):
    """Positions of a sequence: what is asked for, or where that is 0 the model's own; and a note where that is more than the
    model was made for, else nothing."""
    most = read_json(folder / "config.json").get("max_position_embeddings")
    if not isinstance(most, int) or most < 1:
        return asked or MOST_CONTEXT, ""
    if asked > most:
        return asked, f"a context of {asked} tokens, the model was made for {most} (max_position_embeddings)"
    return asked or min(most, MOST_CONTEXT), ""


def render_chat(folder, messages):
    """Messages, objects of `role` and `content`, through the model's chat template, up to where an answer begins."""
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
            raise InputError(
                f"{folder} has no chat template",
                "a model that was not trained on chats is asked by 'morph generate'; else put the template of its base "
                "into chat_template.jinja",
            )
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = raise_exception
        tokens = {name: token_text(config.get(name)) or "" for name in ("bos_token", "eos_token")}
        return environment.from_string(template).render(messages=messages, add_generation_prompt=True, **tokens)
    except InputError:
        raise
    except Exception as error:  # a template is a program: it may raise anything
        raise InputError(f"the chat template of '{source}' fails: {words_of(error)}") from error


def encode_text(folder, tokenizer, text, special=True):
    """Token ids of a text, at least one; `special`: with those that the tokenizer adds. A chat template writes its own."""
    try:
        ids = tokenizer.encode(text, add_special_tokens=special).ids
    except Exception as error:  # a tokenizer that loads may still lack what it needs
        raise InputError(f"the tokenizer of '{folder}' cannot encode the prompt: {words_of(error)}") from error
    if not ids:
        raise InputError("the prompt has no tokens")
    return ids


CONTEXT_TOKENS = 5


class Detokenizer:
    """Text of tokens as they come. A character of several bytes is given out once it is whole.

    Only the tokens since the last text are decoded, behind those of the text before: whether a token's text begins with
    a space may depend on the one before it. So it is with the first one and the text that it continues, whose tokens are
    `before`; of a text that begins anew there are none.
    """

    def __init__(self, tokenizer, before=()):
        self.tokenizer = tokenizer
        # ids[begin:end] gave the last text. A few tokens tell how a text goes on, as in vLLM's detokenizer.
        self.ids, self.begin = list(before)[-CONTEXT_TOKENS:], 0
        self.given = self.end = len(self.ids)

    @property
    def tokens(self):
        """What was added."""
        return self.ids[self.given:]

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def add(self, token):
        """The text that a token adds; empty where it is not whole yet."""
        self.ids.append(token)
        text = self.decode(self.ids[self.begin:])
        before = self.decode(self.ids[self.begin:self.end])
        # Four bytes at most are missing: what still ends so is no text at all.
        if text.endswith("\ufffd") and len(self.ids) - self.end < 4:
            return ""
        self.begin, self.end = self.end, len(self.ids)
        return text[len(before):]

    def rest(self):
        """The text of tokens whose characters have stayed unfinished."""
        text, before = self.decode(self.ids[self.begin:]), self.decode(self.ids[self.begin:self.end])
        self.begin = self.end = len(self.ids)
        return text[len(before):]

    def whole(self):
        """The text of all that was added, behind what was there before."""
        before = self.ids[:self.given]
        return self.decode(self.ids)[len(self.decode(before)):]
