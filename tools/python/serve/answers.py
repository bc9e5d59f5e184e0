# SPDX-License-Identifier: Apache-2.0
"""Answers of completions and chat completions in OpenAI's shape, whole and in pieces. Tokens and pieces are those of
choices.py."""

import time
import uuid

from model_text import Detokenizer, special_tokens, token_bytes


class TextStream:
    """Text of tokens up to a stop string, behind those `before`. What may become one is held back until it is known."""

    def __init__(self, tokenizer, ends, stops, before=()):
        self.text = Detokenizer(tokenizer, before)
        self.ends, self.stops = set(ends), stops
        self.held = ""
        self.length = 0  # characters of all tokens so far, given out or not
        self.has_stopped = False

    def add(self, token):
        """The text that can be given out after a token."""
        if token in self.ends:
            return ""
        text = self.text.add(token)
        self.length += len(text)
        return self.pass_on(text)

    def finish(self):
        """What is left at the end."""
        text = self.pass_on(self.text.rest())
        held, self.held = self.held, ""
        return text if self.has_stopped else text + held

    def pass_on(self, piece):
        if self.has_stopped:
            return ""
        self.held += piece
        places = [place for place in map(self.held.find, self.stops) if place >= 0]
        if places:
            text, self.held = self.held[:min(places)], ""
            self.has_stopped = True
            return text
        keep = 0
        for stop in self.stops:
            for length in range(min(len(stop) - 1, len(self.held)), keep, -1):
                if self.held.endswith(stop[:length]):
                    keep = length
                    break
        text, self.held = self.held[:len(self.held) - keep], self.held[len(self.held) - keep:]
        return text


class TokenTexts:
    """What tokens have of a text, made when it is asked for: names, and the bytes, which one after the other are the text's.
    `begins`: at a text's begin, where some tokenizers leave out the space that a token begins with. Tokens without text, special
    ones and those that end one, have a name all the same."""

    def __init__(self, tokenizer, ends=()):
        self.tokenizer = tokenizer
        self.special = special_tokens(tokenizer)
        self.silent = self.special | set(ends)
        self.known = {}

    def read(self, token, begins):
        """Name and bytes, None of a token without text."""
        key = token, begins and token not in self.special
        if key not in self.known:
            first = self.tokenizer.decode([token], skip_special_tokens=False)
            own = token_bytes(self.tokenizer, token)
            if token in self.special or (begins and "\ufffd" not in first):
                own = first.encode()
            try:
                name = own.decode()
            except UnicodeDecodeError:  # a part of a character, as OpenAI's completions have it
                name = "bytes:" + "".join(f"\\x{byte:02x}" for byte in own)
            self.known[key] = name, None if token in self.silent else list(own)
        return self.known[key]

    def name(self, token, begins):
        return self.read(token, begins)[0]

    def distinct(self, tokens, begins):
        """Names of different tokens in one place, by token, no two alike: what they are, else what the vocabulary has, else the
        number. The first has its own in any case."""
        names, taken = {}, set()
        for token in tokens:
            candidates = (self.name(token, begins), self.tokenizer.id_to_token(token), f"token_id:{token}")
            names[token] = next(name for name in candidates if name is not None and name not in taken)
            taken.add(names[token])
        return names


class Completion:
    """The shape of /v1/completions."""

    kind, piece_kind, prefix = "text_completion", "text_completion", "cmpl-"

    def __init__(self, model, texts):
        self.model, self.texts = model, texts
        self.id, self.created = self.prefix + uuid.uuid4().hex, int(time.time())

    def frame(self, kind, choices, usage=None):
        body = {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}
        if usage is not None:
            body["usage"] = usage
        return body

    def top(self, token):
        """The likeliest tokens by name, and the one that is there, which may be none of them."""
        if token.logprob is None:
            return None
        told = dict(token.top) | {token.token: token.logprob}
        names = self.texts.distinct([token.token, *(other for other, _ in token.top if other != token.token)], token.begins)
        return {names[other]: logprob for other, logprob in told.items()}

    def logprobs(self, tokens):
        return {"tokens": [self.texts.name(token.token, token.begins) for token in tokens],
                "token_logprobs": [token.logprob for token in tokens], "top_logprobs": [self.top(token) for token in tokens],
                "text_offset": [token.offset for token in tokens]}

    def content(self, text):
        return {"text": text}

    def piece_content(self, text):
        return {"text": text}

    def first(self, index):
        """The piece before a choice's first text, or nothing."""
        return None

    def choice(self, piece, content, has_logprobs):
        return {"index": piece.index, **content, "logprobs": self.logprobs(piece.tokens) if has_logprobs else None,
                "finish_reason": piece.reason}

    def whole(self, pieces, has_logprobs, usage):
        """The answer of choices that are each one piece."""
        return self.frame(self.kind, [self.choice(piece, self.content(piece.text), has_logprobs) for piece in pieces], usage)

    def piece(self, piece, has_logprobs):
        return self.frame(self.piece_kind, [self.choice(piece, self.piece_content(piece.text), has_logprobs)])

    def usage_piece(self, usage):
        return self.frame(self.piece_kind, [], usage)


class ChatCompletion(Completion):
    """The shape of /v1/chat/completions."""

    kind, piece_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl-"

    def entry(self, token, logprob, begins):
        name, own = self.texts.read(token, begins)
        return {"token": name, "logprob": logprob, "bytes": own}

    def logprobs(self, tokens):
        return {"content": [{**self.entry(token.token, token.logprob, token.begins),
                             "top_logprobs": [self.entry(other, logprob, token.begins) for other, logprob in token.top]}
                            for token in tokens]}

    def content(self, text):
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def piece_content(self, text):
        return {"delta": {"content": text} if text else {}}

    def first(self, index):
        return self.frame(self.piece_kind, [{"index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": None,
                                             "finish_reason": None}])
