# SPDX-License-Identifier: Apache-2.0
"""`morph eval` on stories260K, a model that others trained: the mean cross-entropy that its makers' code gives."""

import json

from support import SHARED, run, skip

MODEL = SHARED / "models/stories260K"
if not MODEL.is_dir():
    skip(f"{MODEL} is not here")
result = json.loads(
    run("morph", "eval", MODEL, "--tokens", MODEL / "tinystories_300.u16", "--token-dtype", "u16",
        "--documents", 20, "--begin", 1, "--length", 512, "--json").stdout
)
print(result)
assert abs(result["cross_entropy"] - 1.3344) <= 5e-4, result
