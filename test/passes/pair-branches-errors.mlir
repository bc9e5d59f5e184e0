// SPDX-License-Identifier: Apache-2.0
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=mamba" 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: error: no linear-attention backend is named 'mamba'
// UNKNOWN: note: candidates are sliding_window and the backends gated_deltanet, lightning

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=lightning,lightning" 2>&1 | FileCheck %s --check-prefix=TWICE
// TWICE: candidate 'lightning' is given twice

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=full" 2>&1 | FileCheck %s --check-prefix=FULL
// FULL: 'full' is not a candidate

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=sliding_window" 2>&1 | FileCheck %s --check-prefix=WINDOW
// WINDOW: needs the option window, a positive number of positions, but it is 0

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="options=chunk=big" 2>&1 | FileCheck %s --check-prefix=NUMBER
// NUMBER: backend option 'chunk=big' is not key=number

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=lightning options=conv=4" 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: no candidate has an option 'conv' (given as 'conv=4')

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-pair-branches 2>&1 | FileCheck %s --check-prefix=PHASE
// PHASE: is in phase paired, but morph-pair-branches takes phase base
// PHASE: note: morph-translate brings a model into phase base
