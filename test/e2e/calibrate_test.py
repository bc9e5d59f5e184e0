# SPDX-License-Identifier: Apache-2.0
"""First values of weights that come from activations: those of `retnet` and of a declaration that only
this file has are what PyTorch finds of the base's own attention and hidden states; they reach every later stage, also
without steps of align; a killed run goes on with the same numbers; a value that is not finite is an error."""

import os
import pathlib
import signal
import subprocess
import tempfile

import numpy
import torch
import transformers
from safetensors.torch import load_file, save_file
from support import BIN, read_json, read_lines, run

import small_model

LENGTH = 64
SETTINGS = ["align.tasks=[]", "align.steps=6", f"align.length={LENGTH}", "align.checkpoint_every=1", "distill.steps=2",
            f"distill.length={LENGTH}", "finetune.steps=0", "select.method=\"uniform\"", "evaluate.baselines=[]",
            "evaluate.perplexity_length=32", "evaluate.samples=1", "evaluate.generate_samples=0", "data.holdout=0.75"]

MEANS = """
mixer means(finite: bool = true, start: real -10..10 = 1) {
  weight offset [D] = start
  frozen weight share [H, D] = 1

  q = base_q(x)
  calibrate share = mean(sigmoid(q)) + 0.5
  if not finite {
    calibrate offset = log(offset * 0)
  }
  o = recurrence(q * share, base_k(x), base_v(x) + offset)
  return base_o(merge(o))
}
"""


def command(folder, out, backend, *settings):
    return ["morph", "run", folder / "small.toml", "--out", folder / out,
            *(word for key in (f'linear.backend="{backend}"', *SETTINGS, *settings) for word in ("--set", key))]


def calibrated(folder, out):
    """What a run's align has left of the weights that are calibrated."""
    branches = load_file(folder / out / "align/branches.safetensors")
    return {name: tensor.double() for name, tensor in branches.items() if name.endswith((".decay", ".share"))}


def make_inputs(folder):
    """The small model with attention that looks somewhere, and a text of two documents, whose parts for training are one
    window each."""
    small_model.make_inputs(folder)
    file = folder / "model/model.safetensors"
    weights = load_file(file)
    for name in weights:
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            weights[name] *= 15
    save_file(weights, file, metadata={"format": "pt"})
    words = [" ".join(f"{word}{i % 7}" for i in range(400)) for word in ("fox", "brown")]
    (folder / "text.txt").write_text("\f".join(word[:4 * LENGTH] for word in words))


def windows(folder, out):
    """The two windows that training draws from."""
    tokens = numpy.fromfile(folder / out / "data/text.tokens", dtype=numpy.uint16).astype(numpy.int64)
    begins = numpy.fromfile(folder / out / "data/text.documents", dtype="<u8").astype(numpy.int64)
    assert len(begins) == 2 and len(tokens) == 2 * begins[1] == 8 * LENGTH, (begins, len(tokens))
    return [torch.from_numpy(tokens[begin:begin + LENGTH]) for begin in begins]


def expect(folder, tokens):
    """By weight, what a window of tokens calibrates it to."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float64,
                                                              attn_implementation="eager").eval()
    hidden = []
    for layer in model.model.layers:
        layer.input_layernorm.register_forward_hook(lambda module, arguments, output: hidden.append(output[0]))
    with torch.no_grad():
        attentions = model(tokens[None], output_attentions=True).attentions
    back = torch.arange(LENGTH).unsqueeze(1) - torch.arange(LENGTH)
    values = {}
    for number, (layer, shares, x) in enumerate(zip(model.model.layers, attentions, hidden)):
        prefix = f"model.layers.{number}.linear_attn."
        distance = (shares[0] * back).sum(-1).mean(-1) + 1e-3
        values[prefix + "decay"] = torch.log(distance / (1 + distance))
        q = layer.self_attn.q_proj(x).detach().view(LENGTH, 4, 8)
        values[prefix + "share"] = torch.sigmoid(q).mean(0) + 0.5
    return values


def close(actual, expected):
    return all((tensor - expected[name]).abs().max() < 2e-5 for name, tensor in actual.items())


def check_values(folder):
    # One window in all: that of the first document or that of the second one.
    process = run(*command(folder, "retnet", "retnet", "align.calibration=1", "align.batch=1"))
    assert f"align: calibrated {small_model.LAYERS} weights of {small_model.LAYERS} layers on 1 batches" in process.stderr
    texts = [expect(folder, tokens) for tokens in windows(folder, "retnet")]
    decays = calibrated(folder, "retnet")
    assert len(decays) == small_model.LAYERS, decays
    assert not close(texts[0] | decays, texts[1]), "the documents differ"
    assert any(close(decays, text) for text in texts), (decays, texts)
    # Without, the decays are what the declaration says.
    run(*command(folder, "plain", "retnet(calibrated = false)", "align.calibration=1", "align.batch=1"))
    assert not calibrated(folder, "plain") and "calibration" not in read_json(folder / "plain/align/align.json")

    # Six windows in three batches: a mean is linear in the documents' shares of them.
    (folder / "means.morph").write_text(MEANS)
    backend = f"{folder}/means.morph:means"
    run(*command(folder, "means", backend, "align.calibration=3", "align.batch=2"))
    shares = calibrated(folder, "means")
    assert len(shares) == small_model.LAYERS
    mixes = [{name: (i * texts[0][name] + (6 - i) * texts[1][name]) / 6 for name in shares} for i in range(7)]
    assert sum(close(shares, mix) for mix in mixes) == 1, "not the mean over the batches"

    # Frozen or not, what is calibrated is what later stages have.
    hybrid = load_file(folder / "means/hybrid/model.safetensors")
    found = [name for name in hybrid if name.endswith(".share")]
    assert len(found) == small_model.LAYERS - 1
    assert all(torch.equal(hybrid[name].double(), shares[name]) for name in found)
    summary = read_json(folder / "means/align/align.json")["calibration"]
    assert summary["weights"] == small_model.LAYERS and summary["tokens"] == 6 * LENGTH and summary["flops"] > 0, summary
    lines = [line for line in read_lines(folder / "means/metrics.jsonl") if "calibrated_weights" in line]
    assert len(lines) == 1 and lines[0]["stage"] == "align" and lines[0]["step"] == 0, lines

    run(*command(folder, "still", backend, "align.calibration=3", "align.batch=2", "align.steps=0"))
    assert calibrated(folder, "still").keys() == shares.keys()
    assert all(torch.equal(tensor, shares[name]) for name, tensor in calibrated(folder, "still").items())
    run(*command(folder, "declared", backend, "align.calibration=0"))
    assert not calibrated(folder, "declared")
    return backend


def check_kill(folder, backend):
    process = subprocess.Popen([str(BIN / "morph"), *map(str, command(folder, "killed", backend, "align.calibration=3", "align.batch=2")[1:])],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stderr:
        if "align: step 3/" in line:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before"
    again = run(*command(folder, "killed", backend, "align.calibration=3", "align.batch=2"))
    assert "continuing after step" in again.stderr and "calibrated" not in again.stderr, again.stderr
    for file in ("align/branches.safetensors", "distill/selected/weights.safetensors"):
        assert (folder / "killed" / file).read_bytes() == (folder / "means" / file).read_bytes(), file
    lines = [line for line in read_lines(folder / "killed/metrics.jsonl") if "calibrated_weights" in line]
    assert len(lines) == 1, lines


def main():
    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        make_inputs(folder)
        backend = check_values(folder)
        check_kill(folder, backend)
        failed = run(*command(folder, "infinite", backend + "(finite = false)"), expect=1)
        assert "'model.layers.0.linear_attn.offset' is calibrated to a value that is not finite" in failed.stderr, failed.stderr


if __name__ == "__main__":
    main()
