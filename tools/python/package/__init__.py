# SPDX-License-Identifier: Apache-2.0
"""Morph: turns a pretrained Transformer into a hybrid of a few full-attention layers and linear attention.

    import morph

    run = morph.convert(morph.SPECS / "quickstart.toml", out="quickstart")
    print(run.kept, run.hybrid)
    model, tokenizer = morph.load(run.hybrid)

The pipeline runs in the programs of the command `morph`, beside this process, and prints its progress to standard error. The
command has everything else: `morph --help`.
"""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from morph._program import HOME, PROGRAM, environment

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["SPECS", "InvalidInput", "MorphError", "Run", "convert", "load", "mixers"]
__version__ = (HOME / "VERSION").read_text().strip()

SPECS = HOME / "specs"
"""The folder of the specs that come with Morph, reference.md with every key among them."""


class MorphError(RuntimeError):
    """What the command would end with. Its text is message and hint.

    Attributes: `message`, what and where; `hint`, what to do, or empty; `exit_code`, the command's: 1 failed, 2 wrong
    input, 128 + N stopped by signal N.
    """

    def __init__(self, message: str, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)
        self.message, self.hint, self.exit_code = message, hint, exit_code


class InvalidInput(MorphError, ValueError):
    """A spec, setting, folder or argument is wrong (exit code 2). Nothing has been computed."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: pathlib.Path
    """The run directory, with what each stage wrote."""
    hybrid: pathlib.Path | None
    """The Hugging Face folder of the hybrid, for `load()`; None of a spec with [pretrain], which makes a base."""
    kept: list[int]
    """Layers with full attention, rising."""
    evaluation: list[dict[str, Any]]
    """A row a model, stage, task and length, as in evaluation.json; empty where the spec evaluates nothing."""
    summary: dict[str, Any]
    """All that `morph run --json` prints: these, and differences, costs and the export's check."""


def convert(
    spec: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    processes: int = 1,
    update: bool = False,
    force: bool = False,
    **settings: Any,
) -> Run:
    """Runs all stages of a spec, as `morph run`; called again it goes on where it was, or does nothing.

    spec: a TOML file, or a .morph file with an arch (`FILE:NAME` of several).
    out: the run directory; by default NAME.run in the current folder, by the spec's name.
    processes, update, force: the options of `morph run` with these names.
    settings: keys of the spec that are to be others, a section a dictionary: `seed=1, budget={"full_layers": 3}`; or by
        their paths, `**{"task.recall.needles": 8}`. Values are numbers, texts, truth values and lists of them.

    Raises InvalidInput where the spec, a setting or the directory is wrong, MorphError where a stage fails.
    """
    command = ["run", os.fspath(spec), "--json"]
    if out is not None:
        command += ["--out", os.fspath(out)]
    if processes != 1:
        command += ["--processes", str(processes)]
    command += ["--update"] * update + ["--force"] * force
    for key, value in _flatten(settings):
        command += ["--set", f"{key}={_to_toml(key, value)}"]
    summary = json.loads(_run(command))
    return Run(
        folder=pathlib.Path(summary["run"]),
        hybrid=pathlib.Path(summary["hybrid"]) if "hybrid" in summary else None,
        kept=summary.get("selection", {}).get("kept", []),
        evaluation=summary.get("evaluation", []),
        summary=summary,
    )


def load(folder: str | os.PathLike[str], **options: Any) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase | None]":
    """The exported hybrid as a model and a tokenizer of transformers, for generate() or training.

    folder: an exported hybrid, or the directory of a run that has one. Its file modeling_morph.py is run, where it is not of
        a class of transformers (`export.format`): load only what you or someone you trust has made.
    options: those of transformers' from_pretrained for the model: `dtype=torch.bfloat16, device_map="cuda"`.

    Returns the model, in eval mode, and the tokenizer, None where the base has none. Raises InvalidInput where the folder is
    no hybrid.
    """
    path = pathlib.Path(folder)
    if (path / "hybrid/config.json").is_file():
        path = path / "hybrid"
    manifest = path / "conversion_manifest.json"
    try:
        config = json.loads((path / "config.json").read_text())
        form = json.loads(manifest.read_text())["export"]["format"] if manifest.is_file() else ""
    except OSError as error:
        raise InvalidInput(f"there is no hybrid in {path}: {error.strerror}: {error.filename}",
                           "morph.convert() makes one, and says where", 2) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} is not a hybrid of Morph: config.json or {manifest.name} cannot be read: {error}",
                           exit_code=2) from error
    native = form == "native"
    if not native and (not isinstance(config, dict) or config.get("model_type") != "morph_hybrid"):
        raise InvalidInput(f"{path} is not a hybrid of Morph: its config.json has another model_type than morph_hybrid",
                           "transformers loads other models itself", 2)
    from morph.tools.python.export.other_tokens import load_tokenizer
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path, trust_remote_code=not native, **options)
    has_tokenizer = (path / "tokenizer_config.json").is_file() or (path / "tokenizer.json").is_file()
    return model.eval(), load_tokenizer(path, trust_remote_code=not native) if has_tokenizer else None


def mixers(model: str | os.PathLike[str] | None = None, context: int = 32768) -> list[dict[str, Any]]:
    """The mixers that can replace full attention, as `morph mixers`: what `linear.backend` may name.

    model: Hugging Face folder of a base, of which config.json is read; by default the small one that comes with Morph.
    context: tokens of the sequence that `state_bytes` is told for.

    Each has `name`, `summary` and `options` (name, default, ranges), and what a layer with default options costs in the
    model: `parameters`, `state_bytes` of one sequence, `flops_per_token`; or `error`, where it does not fit.
    """
    command = ["mixers", "--json", "--context", str(context)]
    return json.loads(_run(command + ([os.fspath(model)] if model is not None else [])))


def _flatten(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in settings.items():
        pairs += _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return pairs


def _to_toml(key: str, value: Any) -> str:
    """TOML of a value; that of these types is JSON."""
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    parts = value if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(part, (bool, int, float, str)) for part in parts):
        raise InvalidInput(f"the setting {key} is {value!r}, expected a number, a text, a truth value or a list of them",
                           exit_code=2)
    return json.dumps(value, ensure_ascii=False)


def _run(arguments: list[str]) -> str:
    """What morph prints to standard output. Its standard error is passed on as it comes; an error becomes an exception."""
    errors: list[str] = []
    # A file: results may be longer than a pipe holds, which is read after standard error.
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([PROGRAM, *arguments], env=environment(), stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.PIPE, text=True, errors="replace")
        assert process.stderr
        try:
            for line in process.stderr:
                if errors or re.match(r"(?:.*: )?error: ", line):
                    errors.append(line.rstrip("\n"))
                else:
                    sys.stderr.write(line)
        except BaseException:
            process.terminate()  # It ends at a checkpoint.
            raise
        finally:
            code = process.wait()
        output.seek(0)
        results = output.read()
    if code == 0:
        sys.stderr.write("".join(line + "\n" for line in errors))
        return results
    hints = [line.split("hint: ", 1)[1] for line in errors if re.match(r"(?:morph[a-z-]*: )?hint: ", line)]
    message = [re.sub(r"^(?:morph[a-z-]*: )?error: ", "", line) for line in errors
               if not re.match(r"(?:morph[a-z-]*: )?hint: ", line)]
    kind = InvalidInput if code == 2 else MorphError
    raise kind("\n".join(message).strip() or f"morph {arguments[0]} ended with exit code {code}", "\n".join(hints), code)
