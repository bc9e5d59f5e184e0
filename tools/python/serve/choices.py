# SPDX-License-Identifier: Apache-2.0
"""The choices of a request: what the engine says of each sequence as pieces of text, with how likely their tokens are."""

import dataclasses

from answers import TextStream
from model_text import Detokenizer

# In place of the logarithm of zero, which JSON has not: OpenAI's own word for a token that is not to be expected.
IMPOSSIBLE = -9999.0


@dataclasses.dataclass
class Prompt:
    tokens: list[int]
    text: str = ""  # as it is echoed
    offsets: list[int] = dataclasses.field(default_factory=list)  # of each token in the text, where these are told


@dataclasses.dataclass
class Token:
    """A token of an answer: `logprob` None of a prompt's first, which follows nothing; `top` (token, logprob) of the likeliest;
    `offset` characters of the answer's text come before it; `begins`: no text comes before it, of the prompt neither."""

    token: int
    logprob: float | None
    top: list
    offset: int
    begins: bool


@dataclasses.dataclass
class Piece:
    """Some text of a choice, and the tokens since its last piece; `reason` only of the last one, why it ends."""

    index: int
    text: str
    tokens: list[Token]
    reason: str | None = None


def find_offsets(tokenizer, tokens):
    """Of each token how many characters the text of those before it has. A character's first byte is where it begins."""
    stream, offsets, length = Detokenizer(tokenizer), [], 0
    for token in tokens:
        offsets.append(length)
        length += len(stream.add(token))
    return offsets


def text_offsets(encoding):
    """The same of a text's tokens in the text as it was written, in which special tokens have their names."""
    offsets, end = [], 0
    for first, last in encoding.offsets:
        # What tokens leave out, as spaces, is the next one's. Of one that the tokenizer adds nothing was written.
        offsets.append(min(first, end) if first < last else end)
        end = max(end, last)
    return offsets


class Choice:
    """One sequence of a request, from its prompt on, which it continues or answers. `texts`: TokenTexts."""

    def __init__(self, index, prompt, texts, ends, options, continues):
        self.index, self.prompt, self.special = index, prompt, texts.special
        self.text = TextStream(texts.tokenizer, ends, options.stop, prompt.tokens if continues else ())
        self.echo, self.tokens = "", []
        self.begins = not continues or self.special.issuperset(prompt.tokens)
        if options.echo:
            self.echo = prompt.text
            if options.logprobs is not None:
                self.begins = True
                self.tell(prompt.tokens[0], None, [], 0)
        self.begin = len(self.echo)
        self.is_begun = self.is_over = False
        self.count = self.cached = 0  # tokens that were generated; of the prompt, those that were not computed

    def take(self, event):
        """What an event adds: a Piece, or None where nothing can be given out yet."""
        if self.is_over:
            return None
        self.cached = event.get("cached_tokens", self.cached)
        if "prompt_token" in event:
            if self.tokens:  # else the prompt is read without being told
                place = len(self.tokens)
                self.add(event["prompt_token"], event, min(self.prompt.offsets[place], self.begin))
            return None
        if "finish" in event:
            return self.end(self.text.finish(), event["finish"])
        self.count += 1
        self.add(event["token"], event, self.begin + self.text.length)
        text = self.text.add(event["token"])
        if self.text.has_stopped:
            return self.end(text, "stop")
        # The first piece says that there is an answer, whatever its text.
        return self.piece(text) if text or not self.is_begun else None

    def add(self, token, event, offset):
        finite = lambda logprob: IMPOSSIBLE if logprob is None else logprob
        self.tell(token, finite(event["logprob"]), [(other, finite(logprob)) for other, logprob in event.get("top", ())], offset)

    def tell(self, token, logprob, top, offset):
        self.tokens.append(Token(token, logprob, top, offset, self.begins))
        self.begins = self.begins and token in self.special

    def piece(self, text, reason=None):
        if not self.is_begun:
            self.is_begun, text = True, self.echo + text
        tokens, self.tokens = self.tokens, []
        return Piece(self.index, text, tokens, reason)

    def end(self, text, reason):
        self.is_over = True
        return self.piece(text, reason)
