# SPDX-License-Identifier: Apache-2.0
"""Text of tokens as they come (tools/python/text): behind a prompt it is what the whole text has there, whatever tokens a
piece of it ends in."""

import os
import pathlib
import random
import sys
import unittest

import tokenizers

SOURCE = pathlib.Path(os.environ["MORPH_SOURCE_DIR"])
sys.path[:0] = [str(SOURCE / "tools/python/text"), str(SOURCE / "tools/python/serve")]
from answers import TextStream  # noqa: E402  pylint: disable=wrong-import-position
from model_text import Detokenizer  # noqa: E402  pylint: disable=wrong-import-position

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


if __name__ == "__main__":
    unittest.main()
