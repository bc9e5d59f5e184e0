# SPDX-License-Identifier: Apache-2.0
"""`morph bench mixers` measures what it is asked for, refuses what it cannot, and writes the table that a spec's budget
of decode_seconds goes by. Nothing here is about how long anything takes."""

import json
import pathlib
import shutil
import tempfile

from support import SOURCE, read_json, run

SHAPE = "3,64,4,2,128,256"
SIZES = {"hidden": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "ffn": 128, "vocab": 256}
SHORT = ("--threads", 1, "--repeat", 2, "--layers", 2)
MIXER = """// SPDX-License-Identifier: Apache-2.0
mixer mine(scale: 0..4 = 1) {
  return x * scale
}
"""
SPEC = """version = 1
[model]
path = "base"
precision = "bf16"
threads = 1
[linear]
backend = "mine.morph:mine(scale = 2)"
candidates = ["none", "gla(rank = 8)"]
[budget]
decode_seconds = 1000
context = 12
costs = "costs.json"
[select]
method = "uniform"
"""


def check_table(table, mixers, contexts, precision):
    assert table["version"] == 1 and table["cpu"] and table["threads"] == 1 and len(table["date"]) == 10, table
    assert table["precision"] == precision and table["contexts"] == contexts, table
    assert [line["mixer"] for line in table["mixers"]] == mixers, table["mixers"]
    assert table["fixed"]["head"] >= 0 and table["fixed"]["layer"] >= 0, table["fixed"]
    for line in table["mixers"]:
        assert len(line["seconds"]) == len(line["quartiles"]) == len(contexts), line
        assert all(seconds >= 0 for seconds in line["seconds"]), line
        assert all(first <= third for first, third in line["quartiles"]), line
        if line["mixer"] == "none":
            assert not any(line["seconds"]), line


def check_all_mixers():
    known = [line["name"] for line in json.loads(run("morph", "mixers", "--json").stdout)]
    table = json.loads(run("morph", "bench", "mixers", "--shape", SHAPE, "--contexts", "8,16", "--json", "--threads", 1,
                           "--repeat", 1, "--layers", 2).stdout)
    assert "none" in known and "kda" in known, known
    check_table(table, ["full", *known], [8, 16], "fp32")
    assert table["model"] == SIZES and table["layers"] == 2, table
    # Half of the layers are of the first that mixes.
    check = table["check"]
    assert (check["mixer"], check["full_layers"], check["layers"]) == (known[0], 1, 2), check
    by_name = {line["mixer"]: line["seconds"] for line in table["mixers"]}
    for context in range(2):
        parts = table["fixed"]["head"] + 2 * table["fixed"]["layer"] + by_name["full"][context] + by_name[known[0]][context]
        assert abs(check["predicted"][context] / parts - 1) < 1e-9 and check["seconds"][context] > 0, check


def check_printed(folder):
    """The embedded base by default; the table that is printed and the one that is written."""
    file = folder / "printed.json"
    text = run("morph", "bench", "mixers", "--mixers", "kda, full", "--contexts", 8, "--out", file, *SHORT)
    table = read_json(file)
    check_table(table, ["full", "kda"], [8], "fp32")
    sizes = read_json(SOURCE / "specs/models/tiny-recall/config.json")
    assert table["model"]["vocab"] == sizes["vocab_size"] and table["model"]["head_dim"] == sizes["head_dim"], table
    for word in ("at 8", "full", "kda", "predicted", table["cpu"]):
        assert word in text.stdout, text.stdout
    assert "the first of 2 rounds" in text.stderr, text.stderr


def check_spec(folder):
    """A spec's candidates are measured before its table is there, and then its budget goes by the table."""
    (folder / "base").symlink_to(SOURCE / "specs/models/tiny-recall")
    (folder / "mine.morph").write_text(MIXER)
    (folder / "spec.toml").write_text(SPEC)
    file = folder / "costs.json"
    assert "costs.json" in run("morph-translate", "--spec-to-json", folder / "spec.toml", expect=2).stderr
    run("morph", "bench", "mixers", "--spec", folder / "spec.toml", "--contexts", "8,16", "--out", file, "--repeat", 1,
        "--layers", 2)
    check_table(read_json(file), ["full", "mine(scale = 2)", "none", "gla(rank = 8)"], [8, 16], "bf16")
    space = json.loads(run("morph-translate", "--spec-to-json", folder / "spec.toml").stdout)["space"]
    (budget,) = space["budgets"]
    assert budget["measure"] == "decode_seconds" and budget["context"] == 12, budget
    by_name = {line["mixer"]: line["seconds"] for line in read_json(file)["mixers"]}
    costs = [sum(seconds) / 2 * 1e12 for seconds in by_name.values()]
    assert all(abs(a - b) <= 1 for a, b in zip(budget["costs"][0], costs)), (budget["costs"][0], costs)
    # The folder goes elsewhere; a table of another declaration is refused.
    shutil.copytree(folder, folder / "away", symlinks=True)
    moved = json.loads(run("morph-translate", "--spec-to-json", folder / "away/spec.toml").stdout)["space"]
    assert moved["budgets"][0]["costs"] == budget["costs"], moved["budgets"]
    (folder / "away/mine.morph").write_text(MIXER.replace("return ", "return 1.5 * "))
    message = run("morph-translate", "--spec-to-json", folder / "away/spec.toml", expect=2).stderr
    assert "the table of costs has another declaration of 'mine(scale = 2)'" in message, message
    # Of another model it is refused.
    message = run("morph-translate", "--spec-to-json", folder / "spec.toml", "--config-only", "--set",
                  f"model.path={SOURCE}/specs/models/qwen3-1.7b", expect=2).stderr
    assert "the table of costs is of another model: hidden is 128, expected 2048" in message, message


def check_new_base():
    """A spec that makes its base has no folder."""
    table = json.loads(run("morph", "bench", "mixers", "--spec", SOURCE / "specs/pretrain-tiny.toml", "--contexts", 8,
                           "--repeat", 1, "--layers", 1, "--json").stdout)
    assert len(table["mixers"]) == 2 and table["layers"] == 1 and "check" not in table, table


def check_errors(folder):
    for arguments, words in (
        (("--contexts", "16,8"), "do not rise"),
        (("--contexts", "8,8"), "do not rise"),
        (("--contexts", "0"), "--contexts"),
        (("--mixers", "kda,,gla"), "a mixer without a name"),
        (("--mixers", "gla(rank = 8"), "a bracket without its other one"),
        (("--mixers", "gla(rank = 8))"), "a bracket without its other one"),
        (("--mixers", "nothing"), "unknown mixer 'nothing'"),
        (("--mixers", "gated_deltanet(conv = 1)"), "option 'conv'"),
        (("--mixers", f"{folder}/nothere.morph:mine"), "nothere.morph"),
        (("--mixers", "a.morph:mine(rank = 4), b.morph:mine(rank = 4)"), "would have one name in the table"),
        (("--shape", "4,64"), "HEADS is missing"),
        (("--shape", SHAPE, "--model", folder), "excludes"),
        (("--spec", "spec.toml", "--mixers", "kda"), "excludes"),
        (("--spec", folder / "nothere.toml"), "nothere.toml"),
        (("--model", folder / "nothere"), "nothere/config.json"),
        (("--precision", "fp16"), "fp16"),
        (("--out", folder / "nothere/costs.json"), "there is no such folder"),
        (("--length", "8"), "--length"),
    ):
        message = run("morph", "bench", "mixers", "--layers", 1, *arguments, expect=2).stderr
        assert words in message, (arguments, message)
    assert "MODE is required" in run("morph", "bench", expect=2).stderr


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name).resolve()
        check_errors(folder)
        check_all_mixers()
        check_printed(folder)
        check_spec(folder)
        check_new_base()


main()
