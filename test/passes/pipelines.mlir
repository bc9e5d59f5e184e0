// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline="candidates=lightning(chunk=16)" | FileCheck %s --check-prefix=SEARCH
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-commit-pipeline=selection=%S/Inputs/selection.json | FileCheck %s --check-prefix=COMMIT
// RUN: morph-opt %S/Inputs/tiny-base.mlir --pass-pipeline="builtin.module(morph.model(morph-pair-branches,morph-relax-gates))" | FileCheck %s --check-prefix=NESTED
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-program-pipeline="program=gates options=loss=layers,target=local" | FileCheck %s --check-prefix=PROGRAM
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-search-pipeline --morph-program-pipeline="program=gates options=gradients=false" | FileCheck %s --check-prefix=FORWARD
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-program-pipeline="program=score options=gradients=false" 2>&1 | FileCheck %s --check-prefix=NOGRADIENTS
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-program-pipeline=program=train 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-program-pipeline="program=score options=loss=kl" 2>&1 | FileCheck %s --check-prefix=OPTION
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-program-pipeline="program=gates options=loss=mse" 2>&1 | FileCheck %s --check-prefix=VALUE
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-program-pipeline="program=gates options=limit=-1" 2>&1 | FileCheck %s --check-prefix=LIMIT
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-program-pipeline="program=gates options=target=local" 2>&1 | FileCheck %s --check-prefix=LOCAL
// RUN: sed 's/layer 1 weights/layer 0 weights/' %S/Inputs/tiny-base.mlir | not morph-opt --morph-program-pipeline=program=decode 2>&1 | FileCheck %s --check-prefix=SECOND

// SEARCH: morph.model @tiny relaxed
// SEARCH: morph.linear_mixer @lightning {{.*}} {chunk = 16 : i64}
// COMMIT: morph.model @tiny hybrid
// NESTED: morph.model @tiny relaxed
// PROGRAM: morph.kernel @{{.*}}blend_gate_grad
// PROGRAM: morph.program @gates
// Without gradients: the loss alone, and no op of a backward.
// FORWARD: morph.program @gates
// FORWARD-NOT: _grad
// FORWARD-NOT: morph.ones
// FORWARD: morph.output "loss" = %{{[0-9]+}} : tensor<f32>{{$}}
// FORWARD-NOT: _grad
// NOGRADIENTS: program 'score' has no option 'gradients'
// UNKNOWN: unknown program 'train', expected one of calibrate, align, gates, distill, finetune, pretrain, score, logits, decode, read
// OPTION: program 'score' has no option 'loss'
// LIMIT: option 'limit' of program 'gates' is '-1', expected a number of 0 or more
// VALUE: option 'loss' of program 'gates' is 'mse', expected one of kl, ce, final_hidden, layers
// LOCAL: option 'target' of program 'gates' can be 'local' only where 'loss' is 'layers', but it is 'kl'
// Layers name the caches of decoding, so a program is made of a verified model only.
// SECOND: 'morph.softmax_mixer' op is the second token mixer of layer 0
