# SPDX-License-Identifier: Apache-2.0
"""Whether stock transformers reads a base's tokenizer otherwise for another class of models: for some it takes a tokenizer class
of its own, whatever the folder says, which rebuilds how text is divided. Morph, and so every number of a run, goes by
tokenizer.json."""

import json
import pathlib
import shutil
import tempfile

# Those of our targets' that transformers 5.23 has in MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS of its
# models/auto/tokenization_auto.py. Others cost `morph plan` no import of it.
REPLACED = ("qwen2", "qwen3_5_moe_text")
# Spaces and lines, code and numbers, marks that are joined or stand alone, scripts with and without spaces, several code points.
PROBES = ("A  hacker's 3.14 files.\n\n\tdef f(x): return x\n", "caf\u00e9 cafe\u0301 o\u0308l", "हिन्दी में लिखा हुआ पाठ", "ภาษาไทยเขียนติดกัน",
          "שָׁלוֹם עוֹלָם", "日本語と한국어와中文", "\U0001f642 \U0001f469\u200d\U0001f680 x\u00b2")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
                   "merges.txt", "tokenizer.model")


def other_tokens(base, config):
    """A sentence where transformers, for a model of this config.json, gives other tokens than the tokenizer.json in the folder
    `base`; None where it gives the same, and where there is no such file."""
    if config["model_type"] not in REPLACED or not (base / "tokenizer.json").exists():
        return None
    import tokenizers
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    own = tokenizers.Tokenizer.from_file(str(base / "tokenizer.json"))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "config.json").write_text(json.dumps(config))
        for name in TOKENIZER_FILES:
            if (base / name).exists():
                shutil.copyfile(base / name, folder / name)
        try:
            loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # libraries raise what they like for files that they do not know
            return f"transformers reads no tokenizer of a {config['model_type']} from the base's files: {str(error).splitlines()[0][:200]}"
        others = [text for text in PROBES if loaded.encode(text, add_special_tokens=False) != own.encode(
            text, add_special_tokens=False).ids]
    if not others:
        return None
    return (f"transformers gives a {config['model_type']} its {type(loaded).__name__}, whose tokens are others than those of "
            f"tokenizer.json in {len(others)} of {len(PROBES)} texts that were tried, as in {others[0]!r}")


def load_tokenizer(folder, **options):
    """The tokenizer of a model's folder in transformers, `options` those of from_pretrained. That of an export whose class would
    bring other tokens is read from tokenizer.json as it stands."""
    import transformers

    manifest = pathlib.Path(folder) / "conversion_manifest.json"
    form = json.loads(manifest.read_text())["export"] if manifest.is_file() else {}
    reader = transformers.PreTrainedTokenizerFast if form.get("tokenizer") else transformers.AutoTokenizer
    return reader.from_pretrained(folder, **options)
