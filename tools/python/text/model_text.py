# SPDX-License-Identifier: Apache-2.0
"""What a model's folder says of text: tokens and back, the chat template, the tokens that end a text. For morph generate,
chat and serve."""

import codecs
import datetime
import functools
import json
import re

from data.files import InputError


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


def named_tokens(folder):
    """The texts of tokens that have a name in the folder, `bos_token` and the like, as transformers gives them to templates."""
    config = read_json(folder / "tokenizer_config.json")
    if "added_tokens_decoder" not in config:  # Older folders have a file of their own for them.
        config = config | read_json(folder / "special_tokens_map.json")
    named = {name: value for name, value in config.items() if name.endswith("_token")}
    if isinstance(config.get("extra_special_tokens"), dict):
        named |= config["extra_special_tokens"]
    return {name: text for name, value in named.items() if isinstance(text := token_text(value), str)}


@functools.lru_cache(maxsize=8)
def compile_template(source):
    """A chat template in an environment as that of transformers (utils/chat_template_utils.py), the import of which takes
    seconds: what it has and jinja has not is what templates are written for."""
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(jinja2.ext.Extension):
        """{% generation %} around what an assistant has said, of which trainers make masks."""

        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("pass_on"), [], [], body).set_lineno(line)

        def pass_on(self, caller):
            return caller()

    class Namespace(jinja2.utils.Namespace):
        """One that has no names of Python's own, by which a template could leave the sandbox."""

        def __init__(*arguments, **names):
            for name in dict(*arguments[1:], **names):
                Namespace.check(name)
            jinja2.utils.Namespace.__init__(*arguments, **names)

        def __setitem__(self, name, value):
            Namespace.check(name)
            jinja2.utils.Namespace.__setitem__(self, name, value)

        @staticmethod
        def check(name):
            if isinstance(name, str) and name.startswith("_"):
                raise jinja2.exceptions.SecurityError(f"a namespace may have no name that begins with _, as {name!r}")

    class Dict:
        """What templates call of `dict`, and nothing else that the class has."""

        def __call__(self, *arguments, **names):
            return dict(*arguments, **names)

        def fromkeys(self, *arguments):
            return dict.fromkeys(*arguments)

    def raise_exception(message):
        raise InputError(f"the chat template says: {words_of(message)}")

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def strftime_now(form):
        return datetime.datetime.now().strftime(form)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = tojson  # Jinja's own is for pages: it writes < as \u003c.
    environment.globals |= {"raise_exception": raise_exception, "strftime_now": strftime_now, "namespace": Namespace, "dict": Dict()}
    return environment.from_string(source)


# The names under which a message may have what was thought before it was said: templates read the first, some the second.
REASONING = ("reasoning_content", "thinking", "reasoning")


def plain_message(message):
    """A message as transformers gives it to templates: without members that are null, its reasoning under the names that are
    read."""
    message = {name: value for name, value in message.items() if value is not None}
    reasoning = next((message[name] for name in REASONING if name in message), None)
    return message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}


def render_chat(folder, messages, variables=None):
    """Messages, objects of `role`, `content` and whatever else the template reads, through the model's chat template, up to where
    an answer begins; `variables`: what else it is given, by name."""
    file = folder / "chat_template.jinja"
    source = file if file.exists() else folder / "tokenizer_config.json"
    try:
        template = file.read_bytes().decode() if file.exists() else read_json(source).get("chat_template")
        if isinstance(template, list):
            template = next((entry["template"] for entry in template if entry["name"] == "default"), None)
        if not template:
            raise InputError(f"{folder} has no chat template: a model that was not trained on chats is asked by 'morph generate'; "
                             "else put the template of its base into chat_template.jinja")
        given = {"tools": None, "documents": None} | named_tokens(folder) | (variables or {})
        return compile_template(template).render(
            given | {"messages": [plain_message(message) for message in messages], "add_generation_prompt": True})
    except InputError:
        raise
    except Exception as error:  # a template is a program: it may raise anything
        raise InputError(f"the chat template of '{source}' fails: {words_of(error)}") from error


def encode(folder, tokenizer, text, special=True):
    """The tokens of a text, at least one, as the library has them; `special`: with those that the tokenizer adds. A chat template
    writes its own."""
    try:
        encoding = tokenizer.encode(text, add_special_tokens=special)
    except Exception as error:  # a tokenizer that loads may still lack what it needs
        raise InputError(f"the tokenizer of '{folder}' cannot encode the prompt: {words_of(error)}") from error
    if not encoding.ids:
        raise InputError("the prompt has no tokens")
    return encoding


def encode_text(folder, tokenizer, text, special=True):
    """The same, token ids alone."""
    return encode(folder, tokenizer, text, special).ids


def letters_of_bytes():
    """The letters by which vocabularies of bytes write them (GPT-2's table), each with its byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(sorted({*range(256)} - {*plain}))}


BYTE_OF_LETTER = letters_of_bytes()


def token_bytes(tokenizer, token):
    """What a token adds to a text in its middle, which may be a part of a character."""
    once = tokenizer.decode([token], skip_special_tokens=False)
    if "\ufffd" in once:  # Bytes that are no text by themselves have their values in the vocabulary's name for them.
        name = tokenizer.id_to_token(token) or ""
        if re.fullmatch("<0x[0-9A-F]{2}>", name):
            return bytes([int(name[3:5], 16)])
        if name and all(letter in BYTE_OF_LETTER for letter in name):
            return bytes(BYTE_OF_LETTER[letter] for letter in name)
    # A text's first token may lose the space that it begins with.
    return tokenizer.decode([token, token], skip_special_tokens=False)[len(once):].encode()


CONTEXT_TOKENS = 5


def special_tokens(tokenizer):
    """Ids of the tokens that have no text."""
    return {token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special}


def find_unfinished(tokenizer, tokens):
    """Of tokens that end inside a character: how many of the last ones it began in, and what text these have before it."""
    tokens = tokens[-CONTEXT_TOKENS:]
    if not tokenizer.decode(tokens, skip_special_tokens=True).endswith("\ufffd"):
        return 0, ""
    special = special_tokens(tokenizer)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    count, text = 0, ""
    for token in tokens:
        text += "" if token in special else decoder.decode(token_bytes(tokenizer, token))
        # A token may end a character and begin another.
        count, text = (count + 1, text) if decoder.getstate()[0] else (0, "")
    return count, text


def decode_whole(tokenizer, tokens):
    """The text of tokens up to a last character that they end inside."""
    count, text = find_unfinished(tokenizer, tokens)
    return tokenizer.decode(tokens[:len(tokens) - count], skip_special_tokens=True) + text


class Detokenizer:
    """Text of tokens as they come. A character of several bytes is given out once it is whole.

    Only the tokens since the last text are decoded, behind those of the text before: whether a token's text begins with
    a space may depend on the one before it. So it is with the first one and the text that it continues, whose tokens are
    `before`; of a text that begins anew there are none. Where they end inside a character, all of it is what follows.
    """

    def __init__(self, tokenizer, before=()):
        self.tokenizer = tokenizer
        # ids[begin:end] gave the last text. A few tokens tell how a text goes on, as in vLLM's detokenizer.
        self.ids, self.begin = list(before)[-CONTEXT_TOKENS:], 0
        self.given = len(self.ids)
        count, text = find_unfinished(tokenizer, self.ids)
        self.end = self.known = self.given - count
        self.skipped = self.skipping = len(text)  # Characters of the tokens from `known` on that were there before.

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
        # Of four bytes at most: what still ends so is no text at all.
        if text.endswith("\ufffd") and len(self.ids) - self.end < 4 and find_unfinished(self.tokenizer, self.ids)[0]:
            return ""
        return self.give(text[len(before) + self.skipping:])

    def give(self, text):
        # Behind tokens without text, special ones, a text would seem to begin anew.
        if text:
            self.begin, self.skipping = self.end, 0
        self.end = len(self.ids)
        return text

    def rest(self):
        """The text of tokens whose characters have stayed unfinished."""
        text, before = self.decode(self.ids[self.begin:]), self.decode(self.ids[self.begin:self.end])
        return self.give(text[len(before) + self.skipping:])

    def whole(self):
        """The text of all that was added, behind what was there before."""
        return self.decode(self.ids)[len(self.decode(self.ids[:self.known])) + self.skipped:]
