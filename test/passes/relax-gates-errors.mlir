// SPDX-License-Identifier: Apache-2.0
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-relax-gates 2>&1 | FileCheck %s --check-prefix=PHASE
// PHASE: error: model @tiny is in phase base, but morph-relax-gates takes phase paired
// PHASE: note: morph-pair-branches brings a model into phase paired

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-relax-gates="init=1.5" 2>&1 | FileCheck %s --check-prefix=INIT
// INIT: option init is 1.5{{.*}}, expected a share between 0 and 1
