# SPDX-License-Identifier: Apache-2.0
"""Loads an exported hybrid in stock transformers and compares its log-probabilities with those of Morph's runtime.

It is loaded as the README of exports says, in its own types: every weight must be found, and have the type that the folder
gives it, and the model must generate. Then the two are compared in three ways: the whole sequence at once; a prefill and
then token by token; a batch whose rows are padded on the left; on the run's text, or on random tokens where it has none.
Where the two differ by more than the tolerance in fp32, both compute in fp64 too: if they agree there, the difference is
rounding, which a model of large logits makes visible (each program is then as far from its own fp64), and is reported as
such; if not, they compute different functions. The verdict and its figures go into the folder's conversion_manifest.json.
Exit status: 0 agreement or rounding, 1 a mismatch or failed; the folder stays either way.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))
from data.files import weight_files  # noqa: E402
from end_process import run_and_end  # noqa: E402

LENGTH = 150  # more than two chunks of 64, and no multiple of them
STEPS = 12  # tokens that are decoded one by one
# Both programs round alike: one that is this many times farther from its fp64 than the other has a fault in its fp32.
NOISE_RATIO = 8
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}  # safetensors' words


class LoadError(Exception):
    """The folder is not what it seems when it is loaded; the message says why."""


def load(folder, native):
    """The model as anyone loads it, which has generated something, with all the weights of the folder in its types; where
    it is native, without the folder's code, and in a type that holds them all."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model, report = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=not native,
                                                         output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[what]:
            raise LoadError(f"{what.replace('_', ' ')} in it: {', '.join(map(str, sorted(report[what])))}")
    stored = {}
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            stored |= {name: file.get_slice(name).get_dtype() for name in file.keys()}

    def types_of(name):
        """Of a weight, or of those of single experts that a stack was made of."""
        return {stored[name]} if name in stored else {
            dtype for key, dtype in stored.items() if key.startswith(name.rpartition(".")[0] + ".")}

    wrong = [f"{name} is {DTYPES.get(parameter.dtype, parameter.dtype)}, stored as {', '.join(types_of(name))}"
             for name, parameter in model.named_parameters()
             if DTYPES.get(parameter.dtype) not in types_of(name) | ({"F32"} if native else set())]
    if wrong:
        raise LoadError(f"weights have other types than in the folder: {', '.join(wrong)}")
    model.eval().generate(torch.arange(4).reshape(1, 4) % model.config.vocab_size, max_new_tokens=4, do_sample=False)
    return model


def text_tokens(data, length):
    """Two pieces of the end of the run's text [2,length], or None where there is no text as long."""
    description = data / "text.json" if data else None
    if not description or not description.exists():
        return None
    dtype = {"u16": "<u2", "u32": "<u4"}[json.loads(description.read_text())["dtype"]]
    file, wanted = data / "text.tokens", 2 * length
    there = file.stat().st_size // numpy.dtype(dtype).itemsize
    if there < wanted:
        return None
    # A corpus may be larger than memory: its end alone is read.
    tokens = numpy.fromfile(file, dtype=dtype, count=wanted, offset=(there - wanted) * numpy.dtype(dtype).itemsize)
    return torch.from_numpy(tokens.astype(numpy.int64)).reshape(2, length)


def runtime_logits(arguments, precision, plans, tokens, start=None, split=1):
    """Logits of morph-run for tokens [B,T]: a dictionary with `whole` and `decode` where their plans are given."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "in.safetensors"), pathlib.Path(folder, "out.safetensors")
        save_file({"tokens": tokens} | ({"start": start} if start is not None else {}), source)
        command = [str(arguments.morph_run), "logits", *arguments.weight_files, "--input", str(source),
                   "--split", str(split), *(["--fp64"] if precision == "fp64" else []), "--out", str(target)]
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


@torch.no_grad()
def log_probabilities(arguments, model, precision, tokens):
    """What Morph and what transformers compute: two dictionaries from each way to log-probabilities in fp64."""
    length = tokens.shape[1]
    split, padding = length - STEPS, length // 3
    model = model.to(torch.float64 if precision == "fp64" else torch.float32)
    both = {"logits": arguments.logits_plan, "decode": arguments.decode_plan}
    unpadded = runtime_logits(arguments, precision, both, tokens, split=split)
    start = torch.tensor([padding, 0])
    mask = (torch.arange(length)[None, :] >= start[:, None]).long()
    padded = runtime_logits(arguments, precision, {"decode": arguments.decode_plan}, tokens, start, split)["decode"]
    ours = {"whole": unpadded["whole"], "prefill_and_decode": unpadded["decode"], "left_padded": padded,
            "padded_row_alone": padded[:1]}
    theirs = {"whole": model(tokens, use_cache=False).logits,
              "prefill_and_decode": decode(model, tokens, split),
              "left_padded": decode(model, tokens, split, mask),
              # The padded row must also be what it is alone.
              "padded_row_alone": model(tokens[:1, padding:], use_cache=False).logits[:, -STEPS - 1:]}
    return tuple({way: logits.double().log_softmax(-1) for way, logits in side.items()} for side in (ours, theirs))


def differences(first, second):
    """The largest |difference| of each way; NaN where there is one."""
    return {way: (first[way] - second[way].reshape(first[way].shape)).abs().max().item() for way in first}


def largest(values):
    """The largest difference; the first that is not finite where there is one, which max() may pass over."""
    return next((value for value in values.values() if not math.isfinite(value)), max(values.values()))


def judge(fp32, tolerance, measure_fp64):
    """The verdict on the differences in fp32: `agreement`, `rounding` or `mismatch`, with what it rests on.

    `measure_fp64` gives the differences in fp64, and those of Morph and of transformers to their own fp64.
    """
    result = {"verdict": "agreement", "tolerance": tolerance, "fp32": fp32}
    worst = largest(fp32)
    # Rounding makes no logit infinite or no number: fp64 has nothing to say then.
    if not math.isfinite(worst):
        return result | {"verdict": "mismatch"}
    if worst <= tolerance:
        return result
    fp64, ours, theirs = measure_fp64()
    noise = {"morph": largest(ours), "transformers": largest(theirs)}
    # Comparisons are written so that a NaN is a mismatch.
    same = all(value <= tolerance for value in fp64.values())
    alike = noise["morph"] <= NOISE_RATIO * max(noise["transformers"], tolerance)
    return result | {"verdict": "rounding" if same and alike else "mismatch", "fp64": fp64, "noise": noise}


def compare(arguments):
    """The judgement of both programs on the same tokens."""
    form = json.loads((arguments.folder / "conversion_manifest.json").read_text())["export"]["format"]
    # Morph reads what the folder holds where it has Morph's names, else what it was made of.
    files = [arguments.folder] if form == "remote" else arguments.weights
    arguments.weight_files = [word for file in files for word in ("--weights", str(file))]
    model = load(arguments.folder, form == "native")
    length = min(LENGTH, model.config.max_position_embeddings)
    tokens = text_tokens(arguments.data, length)
    source = "text"
    if tokens is None:
        source = "random tokens"
        tokens = torch.randint(0, model.config.vocab_size, (2, length), generator=torch.Generator().manual_seed(0))
    ours, theirs = log_probabilities(arguments, model, "fp32", tokens)

    def measure_fp64():
        ours64, theirs64 = log_probabilities(arguments, model, "fp64", tokens)
        return differences(ours64, theirs64), differences(ours, ours64), differences(theirs, theirs64)

    return judge(differences(ours, theirs), arguments.tolerance, measure_fp64) | {"tokens": source}


def without_nan(value):
    """A value as JSON has it: null in the place of a number that is not finite."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def words(values):
    return ", ".join(f"{name.replace('_', ' ')} {value:.1e}" for name, value in values.items())


def main(arguments=None):
    """Compares as the arguments say, the command line's by default; exits with 1 and a message on a mismatch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="the exported folder")
    parser.add_argument("--data", type=pathlib.Path, help="the run's data: text.json and text.tokens, if it has text")
    parser.add_argument("--weights", action="append", default=[],
                        help="the base's folder, then trained weights: what a native folder was made of")
    parser.add_argument("--morph-run", type=pathlib.Path, required=True, help="the program morph-run")
    parser.add_argument("--logits-plan", required=True, help="the hybrid's program `logits`")
    parser.add_argument("--decode-plan", required=True, help="the hybrid's program `decode`")
    parser.add_argument("--tolerance", type=float, required=True,
                        help="largest |difference of log-probabilities| that passes")
    arguments = parser.parse_args(arguments)
    try:
        check = compare(arguments)
    except LoadError as error:
        check = {"verdict": "mismatch", "loading": str(error)}
    manifest_file = arguments.folder / "conversion_manifest.json"
    manifest = json.loads(manifest_file.read_text()) | {"check": without_nan(check)}
    temporary = manifest_file.with_suffix(".partial")
    temporary.write_text(json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    os.replace(temporary, manifest_file)
    if check["verdict"] == "agreement":
        print(f"export checked on {check['tokens']}: largest difference of log-probabilities to transformers: "
              f"{words(check['fp32'])}", file=sys.stderr)
        return
    hint = f"check_export: hint: the folder is kept, with what was found in {manifest_file.name}: {arguments.folder}"
    if "loading" in check:
        print(f"check_export: error: loaded by transformers, {check['loading']}\n{hint}", file=sys.stderr)
        sys.exit(1)
    figures = f"fp32: {words(check['fp32'])}"
    if "fp64" in check:
        figures += f"; fp64: {words(check['fp64'])}; of each program to its own fp64: {words(check['noise'])}"
    if check["verdict"] == "rounding":
        print(f"export checked on {check['tokens']}: differences beyond export.tolerance {arguments.tolerance:.1e} are "
              f"fp32's rounding, in fp64 the programs agree ({figures})", file=sys.stderr)
        return
    print(f"check_export: error: transformers and morph-run compute different log-probabilities, beyond "
          f"export.tolerance {arguments.tolerance:.1e} ({figures})\n{hint}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    run_and_end(main)
