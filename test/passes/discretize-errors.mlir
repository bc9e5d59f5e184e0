// SPDX-License-Identifier: Apache-2.0
// Each wrong file and option, on a paired model.
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches -o %t.mlir

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/malformed.json" 2>&1 | FileCheck %s --check-prefix=MALFORMED
// MALFORMED: error: selection file {{.*}}malformed.json:2:1: malformed JSON: Unexpected EOF

// What is nested without end, or no file.
// RUN: %python %S/../frontends/Inputs/make_hostile.py deep-unclosed %t.deep.json
// RUN: not morph-opt %t.mlir --morph-discretize="selection=%t.deep.json" 2>&1 | FileCheck %s --check-prefix=DEEP
// DEEP: error: selection file {{.*}}deep.json:2:74: lists and objects are nested more than 64 deep
// RUN: %python %S/../frontends/Inputs/make_hostile.py long-twice %t.twice.json
// RUN: not morph-opt %t.mlir --morph-discretize="selection=%t.twice.json" 2>&1 | FileCheck %s --check-prefix=LONGTWICE
// LONGTWICE: error: selection file {{.*}}twice.json:1:100009: the name "{{x+}}... is given twice
// RUN: %python %S/../frontends/Inputs/make_hostile.py long-kind %t.kind.json
// RUN: not morph-opt %t.mlir --morph-discretize="selection=%t.kind.json" 2>&1 | FileCheck %s --check-prefix=LONGKIND
// LONGKIND: error: selection file {{.*}}kind.json:1:15: 'choice' entry 1 is not the name of a candidate
// RUN: rm -f %t.pipe && mkfifo %t.pipe
// RUN: not morph-opt %t.mlir --morph-discretize="selection=%t.pipe" 2>&1 | FileCheck %s --check-prefix=PIPE
// PIPE: cannot read selection file '{{.*}}.pipe': it is a pipe, expected a file

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/array.json" 2>&1 | FileCheck %s --check-prefix=ARRAY
// ARRAY: is not a JSON object

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/missing.json" 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: cannot read selection file '{{.*}}missing.json': {{N|n}}o such file or directory

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/outside.json" 2>&1 | FileCheck %s --check-prefix=OUTSIDE
// OUTSIDE: outside.json:1:2: 'kept' names layer 2, but the model has layers 0 to 1

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/twice.json" 2>&1 | FileCheck %s --check-prefix=TWICE
// TWICE: 'kept' names layer 1 twice

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/fraction.json" 2>&1 | FileCheck %s --check-prefix=FRACTION
// FRACTION: 'kept' holds an entry that is not a whole number

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/newer.json" 2>&1 | FileCheck %s --check-prefix=NEWER
// NEWER: 'version' is 9, but this tool reads version 1

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/other-model.json" 2>&1 | FileCheck %s --check-prefix=OTHER
// OTHER: 'layers' is 28, but the model has 2

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/long.json budget=1" 2>&1 | FileCheck %s --check-prefix=LONG
// LONG: 'scores' has 3 entries, but the model has 2 layers

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/text.json budget=1" 2>&1 | FileCheck %s --check-prefix=TEXT
// TEXT: 'scores' entry 1 is not a finite number

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/no-budget.json" 2>&1 | FileCheck %s --check-prefix=NOBUDGET
// NOBUDGET: has no 'choice' or 'kept', and no budget is given there or as an option

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/no-scores.json" 2>&1 | FileCheck %s --check-prefix=NOSCORES
// NOSCORES: has no 'values', 'gates' or 'scores' to choose by

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/budget.json" 2>&1 | FileCheck %s --check-prefix=BUDGET
// BUDGET: 'budget' is not a number of layers from 0 to 2

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/bad-selections/unknown-kind.json" 2>&1 | FileCheck %s --check-prefix=KIND
// KIND: error: 'morph.choice' op of layer 1 has no candidate 'mamba'

// RUN: not morph-opt %t.mlir --morph-discretize="kept=0 candidate=mamba" 2>&1 | FileCheck %s --check-prefix=KINDNOTE
// KINDNOTE: note: its candidates are ["full", "gated_deltanet"]

// RUN: not morph-opt %t.mlir --morph-discretize="kept=0 uniform=1" 2>&1 | FileCheck %s --check-prefix=SOURCES
// SOURCES: discretizing needs exactly one of the options kept, uniform and selection, not 2

// RUN: not morph-opt %t.mlir --morph-discretize="budget=1" 2>&1 | FileCheck %s --check-prefix=NOTHING
// NOTHING: discretizing needs exactly one of the options kept, uniform and selection, not 0

// RUN: not morph-opt %t.mlir --morph-discretize="kept=0 budget=1" 2>&1 | FileCheck %s --check-prefix=NORANK
// NORANK: option budget is for the values of a selection, which only option selection gives

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/selection.json budget=1 ratio=0.5" 2>&1 | FileCheck %s --check-prefix=BOTH
// BOTH: options budget and ratio are both given, expected one

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/selection.json ratio=1.5" 2>&1 | FileCheck %s --check-prefix=RATIO
// RATIO: option ratio is 1.5{{.*}}, expected a share between 0 and 1

// A number below zero is no number of layers and no share; only -1 stands for none.
// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/selection.json ratio=-0.5" 2>&1 | FileCheck %s --check-prefix=NEGRATIO
// NEGRATIO: option ratio is -{{.*}}, expected a share between 0 and 1
// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/selection.json budget=-7" 2>&1 | FileCheck %s --check-prefix=NEGBUDGET
// NEGBUDGET: option budget is -7, expected a number of layers
// RUN: not morph-opt %t.mlir --morph-discretize="kept=0 uniform=-2" 2>&1 | FileCheck %s --check-prefix=NEGUNIFORM
// NEGUNIFORM: option uniform is -2, expected a number of layers

// RUN: not morph-opt %t.mlir --morph-discretize="uniform=3" 2>&1 | FileCheck %s --check-prefix=LARGE
// LARGE: is asked to keep 3 layers, but has 2

// RUN: not morph-opt %t.mlir --morph-discretize="kept=0 keep=1" 2>&1 | FileCheck %s --check-prefix=PIN
// PIN: layer 1 is pinned by keep, but the selection does not keep it

// RUN: not morph-opt %t.mlir --morph-discretize="kept=0 linear=0" 2>&1 | FileCheck %s --check-prefix=PINLINEAR
// PINLINEAR: layer 0 is pinned by linear, but the selection keeps it

// RUN: not morph-opt %t.mlir --morph-discretize="kept=0 keep=0 linear=0" 2>&1 | FileCheck %s --check-prefix=PINBOTH
// PINBOTH: layer 0 is pinned by both keep and linear

// RUN: not morph-opt %t.mlir --morph-discretize="kept=0 keep=7" 2>&1 | FileCheck %s --check-prefix=PINOUTSIDE
// PINOUTSIDE: option keep names layer 7, but the model has layers 0 to 1

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/selection.json budget=1 keep=0,1" 2>&1 | FileCheck %s --check-prefix=PINMANY
// PINMANY: no choice of layers satisfies all of option keep and the budget of 1 layers

// RUN: not morph-opt %t.mlir --morph-discretize="selection=%S/Inputs/selection.json budget=2 linear=0" 2>&1 | FileCheck %s --check-prefix=PINFEW
// PINFEW: no choice of layers satisfies all of option linear and the budget of 2 layers

// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-discretize=kept=0 2>&1 | FileCheck %s --check-prefix=PHASE
// PHASE: is in phase base, but morph-discretize takes phase paired or relaxed
// PHASE: note: morph-pair-branches brings a model into phase paired
// PHASE: note: morph-relax-gates brings a model into phase relaxed
