// SPDX-License-Identifier: Apache-2.0
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-build-gates 2>&1 | FileCheck %s --check-prefix=PHASE
// PHASE: error: model @tiny is in phase base, but morph-build-gates takes phase relaxed
// PHASE: note: morph-relax-gates brings a model into phase relaxed

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-build-distill 2>&1 | FileCheck %s --check-prefix=DISTILL
// DISTILL: is in phase base, but morph-build-distill takes phase hybrid

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-build-pretrain 2>&1 | FileCheck %s --check-prefix=PRETRAIN
// PRETRAIN: is in phase paired, but morph-build-pretrain takes phase base

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-build-score --morph-build-score 2>&1 | FileCheck %s --check-prefix=TWICE
// TWICE: error: model @tiny already has a symbol @score
// TWICE: note: declared here

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-build-gates=loss=mse 2>&1 | FileCheck %s --check-prefix=LOSS
// LOSS: option loss is 'mse', expected kl, ce, final_hidden or layers

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-build-gates=target=local 2>&1 | FileCheck %s --check-prefix=LOCAL
// LOCAL: option target is 'local', which only loss 'layers' has, but loss is 'kl'

// RUN: not morph-opt %S/Inputs/softmax-candidate.mlir --morph-build-align 2>&1 | FileCheck %s --check-prefix=ALIGN
// ALIGN: has no candidate with weights to align
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-build-align=layers=1-2 2>&1 | FileCheck %s --check-prefix=WAVE
// WAVE: model @tiny option 'layers' is '1-2', expected FIRST-LAST within 0-1

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-discretize=uniform=2 --morph-build-distill 2>&1 | FileCheck %s --check-prefix=NOTHING
// NOTHING: has no linear attention, so there is nothing to distil with train 'linear'

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-build-decode 2>&1 | FileCheck %s --check-prefix=DECODE
// DECODE: is in phase relaxed, but morph-build-decode takes phase base, paired or hybrid

// RUN: not morph-opt %s --morph-build-score 2>&1 | FileCheck %s --check-prefix=FORWARD
// FORWARD: has no function @forward, of which programs are made
morph.model @empty base architecture "llama" layers 1 {
}
