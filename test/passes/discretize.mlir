// SPDX-License-Identifier: Apache-2.0
// From the relaxed phase, by a list.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-relax-gates --morph-discretize=kept=1 --morph-verify-phase | FileCheck %s --check-prefixes=CHECK,ONE
// The paired phase gives the same model.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=kept=1 --morph-verify-phase | FileCheck %s --check-prefixes=CHECK,ONE
// A selection's list, and its scores with a budget.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=selection=%S/Inputs/selection.json | FileCheck %s --check-prefixes=CHECK,ONE
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize="selection=%S/Inputs/selection.json ratio=0.5" | FileCheck %s --check-prefixes=CHECK,ONE
// Even distances keep layer 0, and so do ties: the lower layer wins.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=uniform=1 | FileCheck %s --check-prefixes=CHECK,ZERO
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=lightning,gated_deltanet" --morph-discretize="selection=%S/Inputs/gates-tie.json budget=1" | FileCheck %s --check-prefixes=CHECK,TIE
// A pin outranks the scores.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize="selection=%S/Inputs/selection.json budget=1 keep=0" | FileCheck %s --check-prefixes=CHECK,ZERO
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize="selection=%S/Inputs/selection.json budget=1 linear=1" | FileCheck %s --check-prefixes=CHECK,ZERO
// None and all.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=gated_deltanet,lightning" --morph-discretize="uniform=0 candidate=lightning" --morph-verify-phase | FileCheck %s --check-prefixes=CHECK,NONE
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=uniform=2 --morph-verify-phase | FileCheck %s --check-prefixes=CHECK,ALL

// CHECK: morph.model @{{tiny}} hybrid
// CHECK-NOT: morph.gate
// CHECK-NOT: morph.choice
// CHECK-NOT: morph.blend

// The weights of unused branches are gone.
// ONE-NOT: morph.weight @model.layers.0.self_attn
// ONE: morph.weight @model.layers.1.self_attn.q_proj.weight
// ONE: morph.weight @model.layers.0.linear_attn.q_proj.weight
// ONE-NOT: morph.weight @model.layers.1.linear_attn
// ONE: func.func @forward
// ONE: morph.linear_mixer @gated_deltanet %{{.*}} layer 0
// ONE-NOT: layer 0
// ONE: morph.softmax_mixer %{{.*}} layer 1

// ZERO: morph.softmax_mixer %{{.*}} layer 0
// ZERO: morph.linear_mixer @gated_deltanet %{{.*}} layer 1

// The file says which candidate layer 1 gets, although lightning is the first.
// TIE: morph.softmax_mixer %{{.*}} layer 0
// TIE: morph.linear_mixer @gated_deltanet %{{.*}} layer 1

// NONE-NOT: self_attn.q_proj.weight : tensor
// NONE: morph.linear_mixer @lightning %{{.*}} layer 0
// NONE: morph.linear_mixer @lightning %{{.*}} layer 1

// ALL-NOT: linear_attn
// ALL: morph.softmax_mixer %{{.*}} layer 0
// ALL: morph.softmax_mixer %{{.*}} layer 1
