// SPDX-License-Identifier: Apache-2.0
// Candidates of their own in each layer, and the choice among them.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=0:sliding_window(window=16),sliding_window(window=32),kda" -o %t.bare.mlir
// RUN: FileCheck %s --check-prefix=BARE --input-file %t.bare.mlir

// The second candidate of a mixer has a name and weights of its own; a layer without candidates stays as it is.
// BARE: morph.weight @model.layers.0.linear_attn.q_proj.weight
// BARE: morph.weight @model.layers.0.linear_attn_sliding_window_2.q_proj.weight
// BARE: morph.weight @model.layers.0.linear_attn_kda.q_proj.weight
// BARE-NOT: morph.weight @model.layers.1.linear_attn
// BARE: morph.choice layer 0 of ["full", "sliding_window", "sliding_window_2", "kda"]
// BARE-NOT: morph.choice
// BARE: morph.softmax_mixer {{.*}} layer 1
// Every phase and program takes it.
// RUN: morph-opt %t.bare.mlir --morph-verify-phase=phase=paired --morph-relax-gates --morph-verify-phase=phase=relaxed --morph-build-gates | FileCheck %s --check-prefix=RELAXED
// RELAXED: morph.gate @gate.0 layer 0
// RELAXED-NOT: morph.gate
// RUN: morph-opt %t.bare.mlir --morph-build-align | FileCheck %s --check-prefix=ALIGN
// ALIGN: morph.program @align
// ALIGN: morph.stack {{.*}} : tensor<f32>, tensor<f32>, tensor<f32>{{$}}

// The last list that names a layer counts.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=gla,kda;1:none,gla" -o %t.mlir
// RUN: FileCheck %s --check-prefix=LAYERS --input-file %t.mlir
// LAYERS: morph.choice layer 0 of ["full", "gla", "kda"]
// LAYERS: morph.choice layer 1 of ["full", "none", "gla"]

// A choice by names.
// RUN: echo '{"choice": ["kda", "none"], "kept": []}' > %t.choice.json
// RUN: morph-opt %t.mlir --morph-discretize=selection=%t.choice.json --morph-verify-phase=phase=hybrid | FileCheck %s --check-prefix=NAMES
// NAMES: morph.mixer @kda
// NAMES: morph.mixer @none
// NAMES-NOT: morph.mixer @gla
// NAMES-NOT: morph.softmax_mixer
// NAMES: morph.linear_mixer @kda {{.*}} layer 0
// NAMES: morph.linear_mixer @none {{.*}} layer 1
// RUN: echo '{"choice": ["kda", "full"], "kept": [0]}' > %t.other.json
// RUN: not morph-opt %t.mlir --morph-discretize=selection=%t.other.json 2>&1 | FileCheck %s --check-prefix=KEPT
// KEPT: other.json:1:29: 'kept' does not name the layers that are "full" in 'choice'

// By shares of all candidates but the last: what full attention has not, the largest of the others takes.
// RUN: echo '{"gates": [[0.5, 0.1], [0.6, 0.3]]}' > %t.gates.json
// RUN: morph-opt %t.mlir --morph-discretize="selection=%t.gates.json budget=1" | FileCheck %s --check-prefix=SHARES
// SHARES: morph.linear_mixer @kda {{.*}} layer 0
// SHARES: morph.softmax_mixer {{.*}} layer 1
// RUN: morph-opt %t.mlir --morph-discretize="selection=%t.gates.json budget=0" | FileCheck %s --check-prefix=ZERO
// ZERO: morph.linear_mixer @kda {{.*}} layer 0
// ZERO: morph.linear_mixer @none {{.*}} layer 1
// RUN: echo '{"gates": [0.5, [0.6, 0.3]]}' > %t.short.json
// RUN: not morph-opt %t.mlir --morph-discretize="selection=%t.short.json budget=1" 2>&1 | FileCheck %s --check-prefix=SHORT
// SHORT: has 1 values for layer 0, which has 3 candidates

// By values, in a space with a budget of bytes; a number of layers given here replaces the space's.
// RUN: split-file %s %t.files
// RUN: morph-opt %t.mlir --morph-discretize=selection=%t.files/space.json | FileCheck %s --check-prefix=SPACE
// SPACE: morph.softmax_mixer {{.*}} layer 0
// SPACE: morph.linear_mixer @none {{.*}} layer 1
// RUN: morph-opt %t.mlir --morph-discretize="selection=%t.files/space.json budget=0" | FileCheck %s --check-prefix=NOFULL
// NOFULL: morph.linear_mixer @gla {{.*}} layer 0
// NOFULL: morph.linear_mixer @gla {{.*}} layer 1
// RUN: not morph-opt %t.mlir --morph-discretize="selection=%t.files/space.json budget=2" 2>&1 | FileCheck %s --check-prefix=BYTES
// BYTES: error: no choice of layers satisfies all of the budget of 2 layers and budget.cache_bytes = 11 (spec.toml:3:4)
// RUN: not morph-opt %t.bare.mlir --morph-discretize=selection=%t.files/space.json 2>&1 | FileCheck %s --check-prefix=OTHER
// OTHER: has other candidates in layer 0 than the model
// RUN: sed -e 's/"limit": 11/"limit": "x"/' %t.files/space.json > %t.bad.json
// RUN: not morph-opt %t.mlir --morph-discretize=selection=%t.bad.json 2>&1 | FileCheck %s --check-prefix=BAD
// BAD: bad.json:3:1: 'space': 'budgets[0].limit' is "x", expected an integer

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=0-2:gla" 2>&1 | FileCheck %s --check-prefix=RANGE
// RANGE: option candidates: '0-2' is no layer and no range of layers 0-1

//--- space.json
{"values": [[1, 0.5, 0], [1, 0, 0.5]],
 "layers": 2,
"space": {"layers": [[{"name": "full", "reference": "", "trained": false}, {"name": "gla", "reference": "gla", "trained": true}, {"name": "kda", "reference": "kda", "trained": true}],
  [{"name": "full", "reference": "", "trained": false}, {"name": "none", "reference": "none", "trained": false}, {"name": "gla", "reference": "gla", "trained": true}]],
 "allowed": [], "ties": [],
 "counts": [{"source": {"text": "n", "place": ""}, "layers": [0, 1], "candidate": "full", "least": 1, "most": 1}],
 "budgets": [{"source": {"text": "budget.cache_bytes = 11", "place": "spec.toml:3:4"}, "measure": "cache_bytes", "unit": "bytes",
  "context": 1, "limit": 11, "costs": [[10, 2, 2], [11, 0, 2]]}]}}
