# SPDX-License-Identifier: Apache-2.0
"""Says which programs could load a spec's hybrids, whatever layers it keeps: JSON on standard output.

It reads the base's config.json and, one a choice of layers, what `morph-translate --emit-pytorch` writes; the choices have
every candidate between them. Exit status 2 where a class of stock transformers is asked for and none fits.
"""

import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from engines import survey  # noqa: E402
from other_tokens import other_tokens  # noqa: E402
from targets import choose, explain  # noqa: E402
from targets.hybrid import Hybrid  # noqa: E402


def describe(hybrid, form, folder):
    """What is written of a hybrid of the base in `folder`, and of each engine `engine`, `class` or `prevented`, `warnings`."""
    target, reasons = choose(hybrid)
    reason = explain(hybrid, reasons) if reasons else None
    tokens = target and other_tokens(folder, target.config(hybrid))
    written = None if form == "remote" or (tokens and form == "auto") else target
    if target and not written:
        reason = tokens if form == "auto" else "export.format is remote"
    engines = [{"engine": "transformers", "class": written.name(hybrid) if written else None, "prevented": reason,
                "warnings": [tokens] if written and tokens else []},
               {"engine": "transformers, remote code", "class": "MorphForCausalLM", "prevented": None, "warnings": []}]
    engines += survey(hybrid, written, tokens)
    return {"format": "native" if written else "remote",
            "class": written.name(hybrid) if written else "MorphForCausalLM", "engines": engines}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=pathlib.Path, required=True, help="config.json of the base model")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="the base's folder, for its tokenizer")
    parser.add_argument("--mixers", type=pathlib.Path, action="append", required=True,
                        help="output of morph-translate --emit-pytorch of a choice")
    parser.add_argument("--format", choices=("auto", "native", "remote"), default="auto", help="export.format")
    arguments = parser.parse_args()
    hybrid = Hybrid(json.loads(arguments.base.read_text()), [json.loads(path.read_text()) for path in arguments.mixers])
    report = describe(hybrid, arguments.format, arguments.folder)
    native = report["engines"][0]
    if arguments.format == "native" and native["prevented"]:
        print("error: export.format is native, and no class of stock transformers computes what the hybrid does: "
              f"{native['prevented']}\nhint: format = \"auto\" or \"remote\" exports it with code of its own",
              file=sys.stderr)
        sys.exit(2)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
