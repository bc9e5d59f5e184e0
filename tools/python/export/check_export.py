# SPDX-License-Identifier: Apache-2.0
"""Loads an exported hybrid in stock transformers and compares its logits with those of Morph's runtime.

Three ways: the whole sequence at once; a prefill and then token by token; a batch whose rows are padded on the left.
Writes the largest |difference of logits| into the folder's conversion_manifest.json. Exit status: 0 within the
tolerance, 1 beyond it or failed.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

LENGTH = 150  # more than two chunks of 64, and no multiple of them
STEPS = 12  # tokens that are decoded one by one


def runtime_logits(arguments, folder, plans, tokens, start=None, split=1):
    """Logits of morph-run for tokens [B,T]: a dictionary with `whole` and `decode` where their plans are given."""
    source, target = pathlib.Path(folder, "in.safetensors"), pathlib.Path(folder, "out.safetensors")
    save_file({"tokens": tokens} | ({"start": start} if start is not None else {}), source)
    command = [str(arguments.morph_run), "logits", "--weights", str(arguments.folder), "--input", str(source),
               "--split", str(split), "--precision", "fp32", "--out", str(target)]
    for name, file in plans.items():
        command += ["--plan", f"{name}={file}"]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
        print("check_export: error: morph-run could not run the exported folder (above)", file=sys.stderr)
        sys.exit(1)
    return load_file(target)


@torch.no_grad()
def decode(model, tokens, split, mask=None):
    """Logits [B,T-split+1,V] of transformers: a prefill of `split` tokens, then one at a time."""
    def positions(begin, end):
        return None if mask is None else (mask.cumsum(-1) - 1).clamp(min=0)[:, begin:end]

    output = model(tokens[:, :split], attention_mask=None if mask is None else mask[:, :split],
                   position_ids=positions(0, split), use_cache=True)
    rows = [output.logits[:, -1:]]
    for t in range(split, tokens.shape[1]):
        output = model(tokens[:, t:t + 1], attention_mask=None if mask is None else mask[:, :t + 1],
                       position_ids=positions(t, t + 1), past_key_values=output.past_key_values, use_cache=True)
        rows.append(output.logits)
    return torch.cat(rows, dim=1)


def compare(arguments):
    """The largest |difference| of each way."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(arguments.folder, trust_remote_code=True, dtype=torch.float32).eval()
    length = min(LENGTH, model.config.max_position_embeddings)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, model.config.vocab_size, (2, length), generator=generator)
    differences = {}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        split = length - STEPS
        ours = runtime_logits(arguments, folder, {"logits": arguments.logits_plan, "decode": arguments.decode_plan},
                              tokens, split=split)
        whole = model(tokens, use_cache=False).logits
        differences["whole"] = (ours["whole"].reshape(whole.shape) - whole).abs().max().item()
        differences["prefill_and_decode"] = (ours["decode"] - decode(model, tokens, split)).abs().max().item()
        start = torch.tensor([length // 3, 0])
        mask = (torch.arange(length)[None, :] >= start[:, None]).long()
        padded = runtime_logits(arguments, folder, {"decode": arguments.decode_plan}, tokens, start, split)["decode"]
        differences["left_padded"] = (padded - decode(model, tokens, split, mask)).abs().max().item()
        # The padded row must also be what it is alone.
        alone = model(tokens[:1, length // 3:], use_cache=False).logits[:, -STEPS - 1:]
        differences["padded_row_alone"] = (padded[:1] - alone).abs().max().item()
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="the exported folder")
    parser.add_argument("--morph-run", type=pathlib.Path, required=True, help="the program morph-run")
    parser.add_argument("--logits-plan", required=True, help="the hybrid's program `logits`")
    parser.add_argument("--decode-plan", required=True, help="the hybrid's program `decode`")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="largest |difference| that passes")
    arguments = parser.parse_args()
    differences = compare(arguments)
    largest = max(differences.values())
    words = ", ".join(f"{name.replace('_', ' ')} {value:.1e}" for name, value in differences.items())
    manifest_file = arguments.folder / "conversion_manifest.json"
    manifest = json.loads(manifest_file.read_text())
    manifest["max_logit_difference"] = largest
    manifest["logit_differences"] = differences
    manifest_file.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    # Written so that a NaN fails.
    if not largest <= arguments.tolerance:
        print(f"check_export: error: transformers and morph-run differ by {largest:.1e} in their logits, more than "
              f"export.tolerance {arguments.tolerance:.1e} ({words})", file=sys.stderr)
        sys.exit(1)
    print(f"export checked: largest difference of logits to transformers: {words}", file=sys.stderr)


if __name__ == "__main__":
    main()
