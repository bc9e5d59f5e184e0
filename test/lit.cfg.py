# SPDX-License-Identifier: Apache-2.0
import os

import lit.formats
from lit.llvm import llvm_config

config.name = "morph"
config.test_format = lit.formats.ShTest(True)
config.suffixes = [".mlir", ".morph", ".toml", ".test"]
config.excludes = ["Inputs", "lit.cfg.py"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = config.morph_obj_root

config.environment["FILECHECK_OPTS"] = "--enable-var-scope"
config.environment["OMP_NUM_THREADS"] = "1"
config.substitutions.append(("%python", config.python))
config.substitutions.append(("%morph_src", config.morph_source_dir))
config.substitutions.append(("%mlir_include", config.mlir_include_dir))
# Real weights and texts that lie beside the project, where they do (see the feature `shared`).
shared = os.path.join(os.path.dirname(config.morph_source_dir), "shared")
config.substitutions.append(("%shared", shared))
if os.path.isdir(os.path.join(shared, "models")):
    config.available_features.add("shared")
if config.build_runtime:
    config.available_features.add("runtime")
if not config.sanitize:
    config.available_features.add("no-sanitizers")

# One switch runs the whole suite through a print, parse and bytecode round trip.
if os.environ.get("MORPH_OPT_CHECK_ROUNDTRIP"):
    from lit.llvm.subst import ToolSubst

    llvm_config.add_tool_substitutions(
        [ToolSubst("morph-opt", os.path.join(config.morph_tools_dir, "morph-opt"), extra_args=["--verify-roundtrip"])],
        [config.morph_tools_dir],
    )
llvm_config.with_environment("PATH", config.llvm_tools_dir, append_path=True)
llvm_config.with_environment("PATH", config.morph_tools_dir, append_path=True)
# Programs that only tests use.
llvm_config.with_environment("PATH", os.path.join(config.morph_obj_root, "bin"), append_path=True)
