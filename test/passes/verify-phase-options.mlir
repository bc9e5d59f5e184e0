// SPDX-License-Identifier: Apache-2.0
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-verify-phase=phase=relaxed 2>&1 | FileCheck %s --check-prefix=OTHER
// OTHER: is in phase base, but morph-verify-phase takes phase relaxed
// OTHER: note: morph-relax-gates brings a model into phase relaxed

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-verify-phase=phase=lowered 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: option phase is 'lowered', expected base, paired, relaxed or hybrid
