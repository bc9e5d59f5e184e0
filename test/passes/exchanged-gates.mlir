// SPDX-License-Identifier: Apache-2.0
// A blend's layer has one truth, its gate, and its mixers agree: exchanged gates keep no wrong layer, they are refused.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline -o %t.mlir
// RUN: sed -e 's/param @gate\.0 /param @gate.x /' -e 's/param @gate\.1 /param @gate.0 /' -e 's/param @gate\.x /param @gate.1 /' %t.mlir > %t.exchanged.mlir
// RUN: not morph-opt %t.exchanged.mlir --morph-verify-phase 2>&1 | FileCheck %s
// RUN: not morph-opt %t.exchanged.mlir --morph-discretize=kept=0 2>&1 | FileCheck %s
// CHECK: error: 'morph.blend' op blend_c3: candidate 'full' is a mixer of layer 0, but its gate is of layer 1

// The layers of the gates exchanged are the same mistake.
// RUN: sed -e 's/@gate\.0 layer 0/@gate.0 layer 1/' -e 's/@gate\.1 layer 1/@gate.1 layer 0/' %t.mlir > %t.layers.mlir
// RUN: not morph-opt %t.layers.mlir --morph-discretize=kept=0 2>&1 | FileCheck %s

// Their names are not: the gate that is called gate.1 is then of layer 0, and layer 0 stays.
// RUN: sed -e 's/@gate\.0\b/@gate.x/' -e 's/@gate\.1\b/@gate.0/' -e 's/@gate\.x\b/@gate.1/' %t.mlir | morph-opt --morph-discretize=kept=0 | FileCheck %s --check-prefix=NAMES
// NAMES: morph.softmax_mixer %{{.*}} layer 0
// NAMES: morph.linear_mixer @gated_deltanet %{{.*}} layer 1
