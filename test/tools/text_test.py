# SPDX-License-Identifier: Apache-2.0
"""Texts and tokens (tools/python/text, tools/python/serve). Text of tokens as they come: behind a prompt it is what the whole text
has there, whatever tokens a piece of it ends in; what each token has of it. Conversations through chat templates."""

import json
import os
import pathlib
import random
import sys
import tempfile
import types
import unittest

import tokenizers

SOURCE = pathlib.Path(os.environ["MORPH_SOURCE_DIR"])
sys.path[:0] = [str(SOURCE / "tools/python" / name) for name in ("text", "serve", "")]
from answers import ChatCompletion, Completion, TextStream, TokenTexts  # noqa: E402  pylint: disable=wrong-import-position
from choices import Choice, Prompt, find_offsets, text_offsets  # noqa: E402  pylint: disable=wrong-import-position
from model_text import (  # noqa: E402  pylint: disable=wrong-import-position
    BYTE_OF_LETTER, Detokenizer, InputError, decode_whole, render_chat)

WORDS = ["<unk>", "\u2581Once", "\u2581upon", "\u2581a", "\u2581time", "s", "<0xE2>", "<0x82>", "<0xAC>"]


def sentence_piece():
    """As Llama-2 and Mistral have it: a word's space is its first character, but for the first word of a text."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({word: i for i, word in enumerate(WORDS)}, [], unk_token="<unk>"))
    decoders = tokenizers.decoders
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    return tokenizer


class DetokenizerTest(unittest.TestCase):
    def setUp(self):
        self.tokenizer = sentence_piece()

    def pieces(self, tokens, before=()):
        text = Detokenizer(self.tokenizer, before)
        return [*(text.add(token) for token in tokens), text.rest()], text

    def test_a_text_of_its_own_begins_without_a_space(self):
        self.assertEqual(self.pieces([3, 4])[0], ["a", " time", ""])

    def test_a_text_that_goes_on_keeps_it(self):
        pieces, text = self.pieces([3, 4], [1, 2])
        self.assertEqual(pieces, [" a", " time", ""])
        self.assertEqual((text.whole(), text.tokens), (" a time", [3, 4]))

    def test_characters_of_several_tokens(self):
        pieces, text = self.pieces([6, 7, 8, 5], [1])
        self.assertEqual(pieces, ["", "", "\u20ac", "s", ""])
        self.assertEqual(text.whole(), "\u20acs")

    def test_pieces_are_the_whole(self):
        draw = random.Random(0)
        for _ in range(200):
            before = draw.choices(range(1, 6), k=draw.randrange(1, 9))
            tokens = draw.choices(range(1, 6), k=draw.randrange(1, 12))
            pieces, text = self.pieces(tokens, before)
            whole = self.tokenizer.decode(before + tokens)[len(self.tokenizer.decode(before)):]
            self.assertEqual("".join(pieces), whole)
            self.assertEqual(text.whole(), whole)
            stream = TextStream(self.tokenizer, [], [], before)
            self.assertEqual("".join([*map(stream.add, tokens), stream.finish()]), whole)


TEXTS = ["Once upon a time", " a  time", "caf\u00e9 \u20ac5 \u4f60\u597d \U0001f642!", "\u20ac", "a \ufffd b",
         "<s>Once<s> upon\u20ac</s>", " "]


def byte_level():
    """As GPT-2 has it, trained so little that most characters beyond ASCII are several tokens."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.post_processor = tokenizers.processors.ByteLevel(trim_offsets=True)
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=290, special_tokens=["<s>", "</s>"], show_progress=False,
                                             initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(["Once upon a time \u4f60\u597d\u4f60\u597d \u20ac\u20ac"] * 5, trainer)
    return tokenizer


def pieces_of_words():
    """As Llama-2 has it: words with their spaces, bytes of what is in none, a space before the first word."""
    words = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    for word in ("\u2581Once", "\u2581", "\u2581a", "\u2581time", "\u2581upon", "\ufffd", *"Onceuptoimadf!5"):
        words.setdefault(word, len(words))
    merges, known = [], set()
    for word in ("\u2581Once", "\u2581a", "\u2581time", "\u2581upon"):
        for end in range(2, len(word) + 1):
            if word[:end] not in known:
                known.add(word[:end])
                merges.append((word[:end - 1], word[end - 1]))
                words.setdefault(word[:end], len(words))
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(words, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = tokenizers.normalizers.Sequence([tokenizers.normalizers.Prepend("\u2581"),
                                                            tokenizers.normalizers.Replace(" ", "\u2581")])
    decoders = tokenizers.decoders
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer


TOKENIZERS = {"bytes": byte_level, "words": pieces_of_words}


def answers_of(tokenizer, tokens, before=None, ends=(), cut=None, **options):
    """What is told of tokens that answer (`before` None) or continue others: the pieces' text, and the tokens. Of `cut` tokens
    the first are the prompt, which is echoed."""
    texts = TokenTexts(tokenizer, ends)
    given = {"stop": [], "echo": cut is not None, "logprobs": 1} | options
    prompt = tokens[:cut] if cut is not None else before or [0]
    prompt = Prompt(prompt, decode_whole(tokenizer, prompt) if given["echo"] else "", find_offsets(tokenizer, prompt))
    choice = Choice(0, prompt, texts, ends, types.SimpleNamespace(**given), cut is not None or before is not None)
    events = [{"prompt_token": token, "logprob": -1.0} for token in tokens[1:cut]] if cut is not None else []
    events += [{"token": token, "logprob": -1.0, "top": [[token, -1.0]]} for token in tokens[cut or 0:]]
    pieces = [piece for piece in map(choice.take, [*events, {"finish": "length"}]) if piece]
    return "".join(piece.text for piece in pieces), [token for piece in pieces for token in piece.tokens], texts


class TokenTest(unittest.TestCase):
    """What tokens are told as: their bytes are the text's, and so are their names where no character is divided."""

    def for_each(self, check):
        for name, make in TOKENIZERS.items():
            tokenizer = make()
            for text in TEXTS:
                with self.subTest(tokenizer=name, text=text):
                    check(tokenizer, text, tokenizer.encode(text).ids)

    def test_an_answer(self):
        def check(tokenizer, _, tokens):
            text, told, texts = answers_of(tokenizer, tokens)
            self.assertEqual(text, tokenizer.decode(tokens))
            entries = ChatCompletion("model", texts).logprobs(told)["content"]
            self.assertEqual([entry["top_logprobs"][0]["bytes"] for entry in entries], [entry["bytes"] for entry in entries])
            self.assertEqual(b"".join(bytes(entry["bytes"]) for entry in entries if entry["bytes"] is not None).decode(), text)
            if not any("bytes:" in entry["token"] for entry in entries):
                self.assertEqual("".join(entry["token"] for entry in entries if entry["bytes"] is not None), text)

        self.for_each(check)

    def test_parts_of_characters(self):
        for make in TOKENIZERS.values():
            tokenizer = make()
            _, told, texts = answers_of(tokenizer, tokenizer.encode("\U0001f642").ids)
            entries = ChatCompletion("model", texts).logprobs(told)["content"]
            entries = [entry for entry in entries if entry["token"].startswith("bytes:")]
            self.assertEqual([entry["bytes"] for entry in entries], [[0xF0], [0x9F], [0x99], [0x82]])
            self.assertEqual([entry["token"] for entry in entries], ["bytes:\\xf0", "bytes:\\x9f", "bytes:\\x99", "bytes:\\x82"])
            # Told apart without a number.
            names = texts.distinct([token.token for token in told], False)
            self.assertEqual(len(set(names.values())), len(names))

    def test_what_has_no_text(self):
        tokenizer = pieces_of_words()
        end = tokenizer.token_to_id("!")
        text, told, texts = answers_of(tokenizer, [1, *tokenizer.encode("a time").ids, end], ends=[end])
        entries = ChatCompletion("model", texts).logprobs(told)["content"]
        self.assertEqual(text, "a time")
        self.assertEqual([(entry["token"], entry["bytes"]) for entry in entries],
                         [("<s>", None), ("a", [97]), (" time", list(b" time")), ("!", None)])

    def test_a_completion(self):
        def check(tokenizer, _, tokens):
            before = tokenizer.encode("Once").ids
            text, told, texts = answers_of(tokenizer, tokens, before)
            logprobs = Completion("model", texts).logprobs(told)
            self.assertEqual("Once" + text, tokenizer.decode(before + tokens))
            if not any(name.startswith("bytes:") for name in logprobs["tokens"]):
                self.assertEqual("".join(name for name in logprobs["tokens"] if name not in ("<s>", "</s>")), text)
            self.assertEqual([list(top) for top in logprobs["top_logprobs"]], [[name] for name in logprobs["tokens"]])

        self.for_each(check)

    def test_a_text_behind_special_tokens(self):
        for make in TOKENIZERS.values():
            tokenizer = make()
            special = tokenizer.token_to_id("<s>")
            tokens = tokenizer.encode("Once upon a time").ids
            # Before the first word it begins all the same, between two of them it does not.
            whole = [special, *tokens[:1], special, *tokens[1:]]
            text, told, texts = answers_of(tokenizer, whole)
            self.assertEqual(text, tokenizer.decode(whole))
            self.assertEqual("".join(name for name in Completion("model", texts).logprobs(told)["tokens"] if name != "<s>"), text)

    def test_a_prompt_and_its_answer(self):
        """Wherever tokens are divided, inside characters, too."""
        def check(tokenizer, _, tokens):
            for cut in range(1, len(tokens)):
                text, told, texts = answers_of(tokenizer, tokens, cut=cut)
                self.assertEqual(text, tokenizer.decode(tokens), cut)
                logprobs = Completion("model", texts).logprobs(told)
                if not any(name.startswith("bytes:") for name in logprobs["tokens"]):
                    self.assertEqual("".join(name for name in logprobs["tokens"] if name not in ("<s>", "</s>")), text)
                for name, at in zip(logprobs["tokens"], logprobs["text_offset"]):
                    self.assertTrue(name in ("<s>", "</s>") or name.startswith("bytes:") or text.startswith(name, at), (name, at))
                # Without echo it is what the whole has behind the prompt's whole characters.
                own, _, _ = answers_of(tokenizer, tokens[cut:], tokens[:cut])
                self.assertEqual(decode_whole(tokenizer, tokens[:cut]) + own, text)

        self.for_each(check)

    def test_a_character_that_a_prompt_ends_inside(self):
        for make in TOKENIZERS.values():
            tokenizer = make()
            tokens = tokenizer.encode("Once \U0001f642").ids
            self.assertEqual(decode_whole(tokenizer, tokens[:-2]), "Once ")
            text = Detokenizer(tokenizer, tokens[:-2])
            self.assertEqual([text.add(token) for token in tokens[-2:]], ["", "\U0001f642"])
            self.assertEqual(text.whole(), "\U0001f642")
            # What never becomes one is told at the end.
            text = Detokenizer(tokenizer, tokens[:-2])
            self.assertEqual(set(text.rest()), {"\ufffd"})

    def test_tokens_across_characters(self):
        """Of which one ends a character and begins another."""
        letters = {byte: letter for letter, byte in BYTE_OF_LETTER.items()}
        words = ["".join(letters[byte] for byte in word) for word in (b"a", b"\xe4\xbd", b"\xa0\xe5", b"\xa5", b"\xbd", b"\xa0")]
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({word: i for i, word in enumerate(words)}, []))
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        for tokens in ([0, 1, 2, 3, 4], [1, 2, 3, 4, 0], [1, 5, 0], [1, 2, 0, 0], [0, 2, 3, 4]):
            for cut in range(1, len(tokens)):
                with self.subTest(tokens=tokens, cut=cut):
                    self.assertEqual(answers_of(tokenizer, tokens, cut=cut)[0], tokenizer.decode(tokens))
        self.assertEqual(decode_whole(tokenizer, [0, 1, 2]), "a\u4f60")
        self.assertEqual(Detokenizer(tokenizer, [0, 1, 2]).add(3), "")

    def test_offsets_in_a_text(self):
        def check(tokenizer, text, tokens):
            offsets = text_offsets(tokenizer.encode(text))
            texts = TokenTexts(tokenizer)
            for place, (token, at) in enumerate(zip(tokens, offsets, strict=True)):
                name = texts.name(token, place == 0)
                self.assertTrue(name.startswith("bytes:") or text.startswith(name, at) or text.startswith(name[1:], at), (name, at))

        self.for_each(check)
        # Behind special tokens, which have their names in the text; of one that the tokenizer adds nothing is there.
        tokenizer = byte_level()
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A </s>",
                                                                            special_tokens=[("<s>", 0), ("</s>", 1)])
        encoding = tokenizer.encode("<s>Once<s> upon")
        self.assertEqual([(encoding.tokens[i], at) for i, at in enumerate(text_offsets(encoding)) if encoding.ids[i] < 2],
                         [("<s>", 0), ("<s>", 0), ("<s>", 7), ("</s>", 15)])


# As SmolLM3's template begins, and what it puts around answers.
THINKING = """
{%- if enable_thinking is not defined -%}
{%- set enable_thinking = true -%}
{%- endif -%}
{%- set reasoning_mode = "/think" if enable_thinking else "/no_think" -%}
{{- "<|im_start|>system\\n## Metadata\\n\\n" -}}
{%- set today = strftime_now("%B %Y") -%}
{{- "Today Date: " ~ today ~ "\\nReasoning Mode: " + reasoning_mode + "\\n\\n" -}}
{%- if xml_tools or python_tools or tools -%}{{- "### Tools\\n\\n" -}}{%- endif -%}
{%- for message in messages -%}
    {%- set content = message.content if message.content is string else "" -%}
    {%- if message.role == "user" -%}
        {{ "<|im_start|>user\\n" + content + "<|im_end|>\\n" }}
    {%- elif message.role == "assistant" -%}
        {% generation %}
        {%- if reasoning_mode == "/think" -%}
            {{ "<|im_start|>assistant\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
        {%- else -%}
            {{ "<|im_start|>assistant\\n<think>\\n\\n</think>\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
        {%- endif -%}
        {% endgeneration %}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ "<|im_start|>assistant\\n" }}{%- endif -%}
"""
# As Qwen3's template finds the last question, and writes what was called and thought.
CALLING = """
{%- set ns = namespace(last=0) -%}
{%- for message in messages[::-1] -%}
    {%- if message.role != "user" -%}{%- continue -%}{%- endif -%}
    {%- set ns.last = messages|length - loop.index -%}
    {%- break -%}
{%- endfor -%}
{{ "last " ~ ns.last ~ (" no tools" if tools is none) ~ (" no documents" if documents is none) ~ "\\n" }}
{%- for message in messages -%}
    {{ message.role ~ (" " ~ message.name if message.name is defined) ~ ": " ~ message.content }}
    {%- if message.reasoning_content is defined %} <think>{{ message.reasoning_content }}</think>{% endif -%}
    {%- if message.thinking %} <thinking>{{ message.thinking }}</thinking>{% endif -%}
    {%- for call in message.tool_calls or [] %} {{ call.function.name }}{{ call.function.arguments | tojson }}{% endfor -%}
    {%- if message.tool_call_id is defined %} of {{ message.tool_call_id }}{% endif %}
{% endfor %}
"""
NAMES = """{{ bos_token }}|{{ unk_token is defined }}|{{ pad_token is defined }}|{{ image_token }}|{{ own_token }}
    {{ dict(a=1) | tojson(indent=2) }}
    {% for message in messages %}
  {{ message.content | tojson }}{{ eos_token }}
    {% endfor %}
"""
CALL = {"id": "1", "type": "function", "function": {"name": "find", "arguments": {"what": "<caf\u00e9> & 'tea'"}}}
CONVERSATIONS = [
    [{"role": "user", "content": "Who is <b>a hacker</b>?"}],
    [{"role": "system", "content": "\u00c9"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "\nb", "refusal": None},
     {"role": "user", "content": "c", "name": "Ann"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "", "tool_calls": [CALL], "reasoning_content": "hm"},
     {"role": "tool", "content": "[]", "tool_call_id": "1"}, {"role": "assistant", "content": "d", "reasoning": "so"}],
]


class ChatTemplateTest(unittest.TestCase):
    """A conversation reads as transformers writes it."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<s>": 0, "</s>": 1, "<img>": 2, "<own>": 3}, unk_token="<s>"))
        tokenizer.save(str(self.folder / "tokenizer.json"))
        (self.folder / "tokenizer_config.json").write_text(json.dumps({
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": {"content": "</s>", "__type": "AddedToken"},
            "pad_token": None, "add_bos_token": True, "image_token": "<img>", "extra_special_tokens": {"own_token": "<own>"}}))

    def write(self, template):
        (self.folder / "chat_template.jinja").write_text(template)

    def test_as_transformers_writes_it(self):
        import transformers

        for name, template in (("thinking", THINKING), ("calling", CALLING), ("names", NAMES)):
            self.write(template)
            reference = transformers.PreTrainedTokenizerFast.from_pretrained(self.folder)
            for number, messages in enumerate(CONVERSATIONS):
                for variables in ({}, {"enable_thinking": False}, {"xml_tools": ["a"], "documents": [{"text": "d"}]}):
                    with self.subTest(template=name, conversation=number, variables=variables):
                        expected = reference.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **variables)
                        self.assertEqual(render_chat(self.folder, messages, variables), expected)
                        self.assertGreater(len(expected), 20)

    def test_an_older_folder_names_tokens_in_a_file_of_their_own(self):
        import transformers

        self.write(NAMES)
        (self.folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<b>"}')
        (self.folder / "special_tokens_map.json").write_text('{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"}')
        reference = transformers.PreTrainedTokenizerFast.from_pretrained(self.folder)
        self.assertEqual(render_chat(self.folder, CONVERSATIONS[0]),
                         reference.apply_chat_template(CONVERSATIONS[0], tokenize=False, add_generation_prompt=True))

    def test_variables_are_the_templates(self):
        self.write(THINKING)
        self.assertIn("Reasoning Mode: /think", render_chat(self.folder, CONVERSATIONS[1]))
        text = render_chat(self.folder, CONVERSATIONS[1], {"enable_thinking": False})
        self.assertIn("Reasoning Mode: /no_think", text)
        self.assertIn("<|im_start|>assistant\n<think>\n\n</think>\nb<|im_end|>\n", text)

    def test_what_a_template_may_not(self):
        for template, message in (("{{ raise_exception('no\nsuch') }}", "the chat template says: no such"),
                                  ("{{ dict.mro() }}", "fails"), ("{% set ns = namespace(__class__=1) %}", "begins with _"),
                                  ("{% set ns = namespace() %}{% set ns._a = 1 %}", "begins with _"),
                                  ("{{ messages.append(1) }}", "fails"), ("{% generation %}", "fails"),
                                  ("", "has no chat template: ")):
            with self.subTest(template=template):
                self.write(template)
                with self.assertRaises(InputError) as caught:
                    render_chat(self.folder, CONVERSATIONS[0])
                self.assertIn(message, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
