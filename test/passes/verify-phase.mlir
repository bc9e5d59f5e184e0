// SPDX-License-Identifier: Apache-2.0
// Every phase as its pass leaves it; programs are no part of the contract.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-verify-phase=phase=base --morph-build-pretrain --morph-verify-phase --morph-pair-branches --morph-verify-phase=phase=paired --morph-relax-gates --morph-verify-phase=phase=relaxed --morph-build-gates --morph-verify-phase --morph-discretize=kept=0 -o %t.mlir
// RUN: morph-opt %t.mlir | FileCheck %s
// RUN: morph-opt %S/Inputs/tiny-tied.mlir --morph-verify-phase --morph-pair-branches --morph-discretize=kept=0 --morph-verify-phase=phase=hybrid -o %t.mlir

// CHECK: morph.model @tiny hybrid
