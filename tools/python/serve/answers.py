# SPDX-License-Identifier: Apache-2.0
"""Answers of completions and chat completions in OpenAI's shape, whole and in pieces."""

import time
import uuid

from model_text import Detokenizer


class TextStream:
    """Text of tokens up to a stop string. What may become one is held back until it is known."""

    def __init__(self, tokenizer, ends, stops):
        self.text = Detokenizer(tokenizer)
        self.ends, self.stops = set(ends), stops
        self.held = ""
        self.has_stopped = False

    def add(self, token):
        """The text that can be given out after a token."""
        return "" if token in self.ends else self.pass_on(self.text.add(token))

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


class Completion:
    """The shape of /v1/completions."""

    kind, piece_kind, prefix = "text_completion", "text_completion", "cmpl-"

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        self.id, self.created = self.prefix + uuid.uuid4().hex, int(time.time())

    def frame(self, kind, choices, usage=None):
        body = {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}
        if usage is not None:
            body["usage"] = usage
        return body

    def token_text(self, token):
        return self.tokenizer.decode([token], skip_special_tokens=False)

    def logprobs(self, tokens):
        """Of what was sampled: [(token, logarithm of its probability)]."""
        texts = [self.token_text(token) for token, _ in tokens]
        return {"tokens": texts, "token_logprobs": [logprob for _, logprob in tokens], "top_logprobs": None,
                "text_offset": [sum(map(len, texts[:i])) for i in range(len(texts))]}

    def content(self, text):
        return {"text": text}

    def piece_content(self, text):
        return {"text": text}

    def first(self):
        """The piece before the first text, or nothing."""
        return None

    def whole(self, text, reason, tokens, usage):
        choice = {"index": 0, **self.content(text), "logprobs": None if tokens is None else self.logprobs(tokens),
                  "finish_reason": reason}
        return self.frame(self.kind, [choice], usage)

    def piece(self, text, reason=None, tokens=None):
        choice = {"index": 0, **self.piece_content(text), "logprobs": None if tokens is None else self.logprobs(tokens),
                  "finish_reason": reason}
        return self.frame(self.piece_kind, [choice])

    def usage_piece(self, usage):
        return self.frame(self.piece_kind, [], usage)


class ChatCompletion(Completion):
    """The shape of /v1/chat/completions."""

    kind, piece_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl-"

    def logprobs(self, tokens):
        return {"content": [{"token": self.token_text(token), "logprob": logprob,
                             "bytes": list(self.token_text(token).encode()), "top_logprobs": []} for token, logprob in tokens]}

    def content(self, text):
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def piece_content(self, text):
        return {"delta": {"content": text} if text else {}}

    def first(self):
        piece = self.piece("")
        piece["choices"][0]["delta"] = {"role": "assistant", "content": ""}
        return piece
