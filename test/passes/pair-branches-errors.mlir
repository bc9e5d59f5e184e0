// SPDX-License-Identifier: Apache-2.0
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=mamba" 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: error: candidate 'mamba': neither the model nor Morph has a mixer of that name
// UNKNOWN: note: Morph has deltanet, gated_deltanet, gla, hgrn2, kda, lightning, linear, mamba2, none, retnet, rwkv7, sliding_window

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=lightning,lightning" 2>&1 | FileCheck %s --check-prefix=TWICE
// TWICE: candidate 'lightning': 'lightning' is given twice

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=full" 2>&1 | FileCheck %s --check-prefix=FULL
// FULL: 'full' is not a candidate

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=sliding_window(window=0)" 2>&1 | FileCheck %s --check-prefix=WINDOW
// WINDOW: candidate 'sliding_window(window=0)': option 'window' of 'sliding_window' is 0, expected a whole number: 1 to 1048576

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=lightning(chunk=big)" 2>&1 | FileCheck %s --check-prefix=NUMBER
// NUMBER: option 'chunk' of 'lightning': {{.*}}'big'

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=mine.morph:mine" 2>&1 | FileCheck %s --check-prefix=PATH
// PATH: files are read by frontends: the model must declare the mixer 'mine'

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=lightning(64,4)" 2>&1 | FileCheck %s --check-prefix=MORE
// MORE: 'lightning' has 1 options, and '4' is one more

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=lightning(64,chunk=32)" 2>&1 | FileCheck %s --check-prefix=PLACE
// PLACE: option 'chunk' of 'lightning' is given twice

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches="candidates=lightning(conv=4)" 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: 'lightning' has no option 'conv'; it has: chunk

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-pair-branches 2>&1 | FileCheck %s --check-prefix=PHASE
// PHASE: is in phase paired, but morph-pair-branches takes phase base
// PHASE: note: morph-translate brings a model into phase base
