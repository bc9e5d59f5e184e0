# SPDX-License-Identifier: Apache-2.0
"""Writes the model card of an exported hybrid: README.md with the Hugging Face Hub's front matter and the run's tables."""

import argparse
import json
import pathlib
import re
import sys

import yaml
from huggingface_hub import ModelCard, ModelCardData

HUB_CACHE = "models--"
# What a card takes over from the base's: under which terms the weights are, and what languages they know.
INHERITED = ("license", "license_name", "license_link", "language")
LOADING = """```python
from transformers import AutoModelForCausalLM, {tokenizer}

folder = "."  # where this file lies
model = AutoModelForCausalLM.from_pretrained(folder{remote})
tokenizer = {tokenizer}.from_pretrained(folder{remote})
```
"""


def front_matter(base):
    """What the front matter of a folder's own card says, a dictionary; empty where there is none that can be read."""
    card = base / "README.md"
    if not card.exists():
        return {}
    try:
        return ModelCard(card.read_text(errors="replace"), ignore_metadata_errors=True).data.to_dict()
    except (ValueError, yaml.YAMLError):
        return {}


def hub_id(base):
    """The name on the Hub, mostly organisation/name, of what a base's folder holds; None where nothing tells it.

    The Hub's cache has it in its folders (models--organisation--name/snapshots/commit). A card whose licence lies in the
    model's own repository (Qwen's) has it in `license_link`: a repository of the folder's name. transformers before 5
    wrote into config.json as `_name_or_path` what a model was loaded from, which may be a path, too.
    """
    for part in base.parts:
        if part.startswith(HUB_CACHE):
            return part.removeprefix(HUB_CACHE).replace("--", "/", 1)
    licence = re.match(r"https://huggingface\.co/([\w.-]+/[\w.-]+)/", str(front_matter(base).get("license_link", "")))
    if licence and licence[1].partition("/")[2].lower() == base.name.lower():
        return licence[1]
    config = base / "config.json"
    loaded = json.loads(config.read_text()).get("_name_or_path") if config.exists() else None
    if isinstance(loaded, str) and re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", loaded) and not base.as_posix().endswith(f"/{loaded}"):
        return loaded
    return None


def describe_layers(config, manifest):
    """Which layers keep full attention, and what stands in the others."""
    kept = manifest["selection"].get("kept") or []
    layers = manifest["selection"].get("layers") or len(config.get("layer_types", []))
    mixers = sorted(manifest["declarations"]) or ["full attention"]
    return (f"Full attention stays in {len(kept)} of {layers} layers: {', '.join(map(str, kept)) or 'none'} (counted from "
            f"0). The others have {', '.join(mixers)}.")


# Mixers that are no linear attention, and what a hybrid of them alone is called.
OTHERS = {"sliding_window": "sliding-window attention", "none": "layers without attention"}


def describe_kind(manifest):
    """What the hybrid has beside full attention: "linear attention" where a mixer is such, else the others' names; "" where there
    is nothing else."""
    mixers = sorted(manifest["declarations"])
    if any(mixer not in OTHERS for mixer in mixers):
        return "linear attention"
    return " and ".join(OTHERS[mixer] for mixer in reversed(mixers))


def describe_agreement(check):
    """What the comparison with transformers found (check_export.py); empty where there was none."""
    differences = (check or {}).get("fp32")
    if not differences:
        return ""
    begin = "Log-probabilities of the folder in transformers differ from those of the run"
    if None in differences.values():
        return f"{begin}: some are not finite.\n\n"
    return f"{begin} by {max(differences.values()):.1e} at most.\n\n"


def make_card(folder, base, summary):
    """The text of README.md. `summary` are the tables that `morph run` prints at its end."""
    manifest = json.loads((folder / "conversion_manifest.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    form, known = manifest["export"], hub_id(base)
    name = known or base.name
    native = form["format"] == "native"
    # Of a base that is known by its folder's name alone the Hub would make a link to another model, or to none.
    lineage = {"base_model": known, "base_model_relation": "finetune"} if known else {}
    terms = {key: value for key, value in front_matter(base).items() if key in INHERITED and value}
    kind = describe_kind(manifest)
    data = ModelCardData(**terms, **lineage, library_name="transformers", pipeline_tag="text-generation",
                         tags=["hybrid", *(["linear-attention"] if kind == "linear attention" else []), "morph",
                               *([] if native else ["custom_code"])])
    served = "".join(f"| {entry['engine']} | {entry['class'] or 'no: ' + entry['prevented']} | {'; '.join(entry['warnings'])} |\n"
                     for entry in form["engines"])
    # The class of transformers may bring a tokenizer of its own (other_tokens.py).
    loading = LOADING.format(remote="" if native else ", trust_remote_code=True",
                             tokenizer="PreTrainedTokenizerFast" if form.get("tokenizer") else "AutoTokenizer")
    return f"""---
{data.to_yaml()}
---

# {name}{f", with {kind}" if kind else ""}

A hybrid that Morph made of {f"[{known}](https://huggingface.co/{known})" if known else f"`{name}`"}, after FlashMorph (arXiv 2606.30562). {describe_layers(config, manifest)}

It is a `{form['class']}`, {'a class of transformers' if native else 'whose code lies in the folder'}.

{loading}
{describe_agreement(manifest.get("check"))}## Servers
By their sources in November 2026; none was run on it.

| server | class | note |
|---|---|---|
{served}
## The run

```
{summary.strip()}
```
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="the exported folder")
    parser.add_argument("--base", type=pathlib.Path, required=True, help="Hugging Face folder of the base model")
    parser.add_argument("--summary", type=pathlib.Path, required=True, help="the run's tables, a text")
    arguments = parser.parse_args()
    try:
        card = make_card(arguments.folder, arguments.base, arguments.summary.read_text())
        (arguments.folder / "README.md").write_text(card)
    except (OSError, ValueError, KeyError) as error:
        print(f"model_card: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
