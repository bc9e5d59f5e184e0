# SPDX-License-Identifier: Apache-2.0
"""Writes texts that try to crash, fill or stall their reader.

Usage: make_hostile.py NAME OUT
"""

import sys

DEPTH = 300_000
TEXTS = {
    # JSON
    "deep-lists": lambda: '{"a": ' + "[" * DEPTH + "]" * DEPTH + "}",
    "deep-objects": lambda: '{"a": ' * DEPTH + "1" + "}" * DEPTH,
    "deep-unclosed": lambda: '{\n  "kept": ' + "[" * DEPTH,
    "many-objects": lambda: '{"a": [' + ", ".join(['{"b": 1}'] * DEPTH) + "]}",
    "many-values": lambda: '{"a": [' + ",".join("0" * 3_000_000) + "]}",
    "many-names": lambda: "{" + ", ".join(f'"{i}": {i}' for i in range(DEPTH)) + "}",
    "long-prefixes": lambda: '{"' + "p" * 1_000_000 + '": {' + ", ".join(f'"{i}": 1' for i in range(DEPTH)) + "}}",
    "inner-twice": lambda: '{"a": [{"b": 1, "b": 2}]}',
    "long-twice": lambda: '{"' + "x" * 100_000 + '": 1, "' + "x" * 100_000 + '": 2}',
    "long-kind": lambda: '{"kept": [0], "choice": ["full", "' + "x" * 100_000 + '"]}',
    "escaped-twice": lambda: '{"model_type": "llama", "model\\u005ftype": "qwen2"}',
    "huge-number": lambda: '{"model_type": "llama", "rms_norm_eps": 1e999}',
    "long-number": lambda: '{"model_type": "llama", "rms_norm_eps": 0.' + "1" * DEPTH + "}",
    "byte-order-mark": lambda: '\ufeff{"model_type": "llama"}',
    "zero-byte": lambda: '{"model_type": \0"llama"}',
    "no-utf8": lambda: b'{"model_type": "\xff\xfe"}',
    "truncated": lambda: '{"model_type": "lla',
    "control": lambda: '{"model_type": "\\u001b[2J\\u0007 \x7f \\u009b31m"}',
    "long-umlauts": lambda: '{"model_type": "llama", "pad": "' + "\u00e9" * 500_000 + '", "num_hidden_layers": "x"}',
    "long-name": lambda: '{"' + "xx" + "\u00e9" * 300 + '": 1, "' + "xx" + "\u00e9" * 300 + '": 2}',
    "long-break": lambda: '{"model_type": "a\\nb", "pad": "' + "x" * 500_000 + '"}',
    "long-value": lambda: '{"model_type": "' + "x" * 1_000_000 + '"}',
    # TOML
    "deep-header": lambda: "version = 1\n[" + "a." * DEPTH + "a]\n",
    "deep-key": lambda: "version = 1\n" + "a." * DEPTH + "a = 1\n",
    "deep-quoted": lambda: 'version = 1\n["."' + ' . "."' * 20 + "]\n",
    "deep-values": lambda: "version = 1\na = " + "[" * DEPTH + "]" * DEPTH,
    "deep-tables": lambda: "version = 1\na = " + "{a=" * 40 + "1" + "}" * 40,
    "deep-mixed": lambda: "version = 1\n" + "a.b.c.d = {" * 30 + "}" * 30,
    "dots-elsewhere": lambda: "# " + "a." * DEPTH + "\nversion = 3\nname = \"" + "a." * 200 + "\"\n",
    "long-line": lambda: "version = 1\nname = [" + ",".join("0" * 400_000) + "]\n",
    "long-umlauts-line": lambda: "version = 1\nname = 3 # " + "\u00e9" * 100_000 + "\n",
    "many-keys": lambda: "version = 1\n" + "".join(f"k{i} = 1\n" for i in range(70_000)),
    "many-tasks": lambda: "version = 1\n" + "[[task]]\n" * 100_000,
    "long-list": lambda: "version = 1\n[budget]\nkeep = [" + "0," * 5000 + "]\n",
    "long-string": lambda: 'version = 1\nname = "' + "x" * 5000 + '"\n',
    "zero-string": lambda: 'version = 1\nname = "a\\u0000b"\n',
    "large": lambda: "#" * (2 << 20),
}


def main():
    text = TEXTS[sys.argv[1]]()
    with open(sys.argv[2], "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


main()
