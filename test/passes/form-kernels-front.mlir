// SPDX-License-Identifier: Apache-2.0
// An op without operands, which goes to the front of its block when kernels are joined around it, is no place that they
// follow: the gates of these candidates were launched before what they read.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches=candidates=none,sliding_window --morph-relax-gates --morph-program-pipeline=program=gates | FileCheck %s
// CHECK: morph.program @gates
// CHECK: morph.launch @{{.*}}blend
