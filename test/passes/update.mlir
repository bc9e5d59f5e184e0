// SPDX-License-Identifier: Apache-2.0
// Sums of gradients in the caller's memory, and the program of a step.
// RUN: morph-opt %s --morph-accumulate-gradients --morph-build-update="clip=0.5 beta2=0.95 weight_decay=0.1" | FileCheck %s
// RUN: morph-opt %s --morph-build-update | FileCheck %s --check-prefix=UNCLIPPED
// RUN: morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-program-pipeline="program=align options=clip=1,clip_by=layer" | FileCheck %s --check-prefix=LAYERS
// RUN: not morph-opt %s --morph-build-update=program=other 2>&1 | FileCheck %s --check-prefix=PROGRAM
// RUN: not morph-opt %s --morph-build-update=beta1=1 2>&1 | FileCheck %s --check-prefix=BETA1
// RUN: not morph-opt %s --morph-build-update=beta2=-5 2>&1 | FileCheck %s --check-prefix=BETA2
// RUN: not morph-opt %s --morph-build-update=weight_decay=inf 2>&1 | FileCheck %s --check-prefix=DECAY
// RUN: not morph-opt %s --morph-build-update=clip=nan 2>&1 | FileCheck %s --check-prefix=CLIP
// RUN: not morph-opt %S/Inputs/tiny-base.mlir --morph-pair-branches --morph-program-pipeline="program=align options=beta1=1" 2>&1 | FileCheck %s --check-prefix=BETA1
// RUN: not morph-opt %s --morph-build-update=clip_by=head 2>&1 | FileCheck %s --check-prefix=BY
// RUN: not morph-opt %s --morph-accumulate-gradients --morph-accumulate-gradients 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not morph-opt %s --morph-build-update --morph-build-update=program=step 2>&1 | FileCheck %s --check-prefix=AGAIN
// RUN: morph-opt %s --morph-build-update="rates=a=0.1,gate=2,gate.0=3" | FileCheck %s --check-prefix=RATES
// RUN: not morph-opt %s --morph-build-update="rates=b=0.1" 2>&1 | FileCheck %s --check-prefix=NOBODY
// RUN: not morph-opt %s --morph-build-update="rates=a=0" 2>&1 | FileCheck %s --check-prefix=FACTOR
// RUN: not morph-opt %s --morph-build-update="rates=a" 2>&1 | FileCheck %s --check-prefix=FACTOR

// RATES: morph.program @step_update
// RATES-DAG: %[[TENTH:.*]] = morph.scale %rate by {{1.000000e-01|0.1}}
// RATES-DAG: %[[THREE:.*]] = morph.scale %rate by 3.000000e+00
// RATES: morph.adamw %{{.*}}, %grad.a, %{{.*}}, %{{.*}}, %[[TENTH]], %step
// RATES: morph.adamw %{{.*}}, %grad.gate.0, %{{.*}}, %{{.*}}, %[[THREE]], %step
// NOBODY: error: program @step trains no weight with 'b' in its name, for which step.rates has a rate: frozen ones are trained by step.train = "all"
// FACTOR: error: model @small cannot be trained with the rate 'a{{(=0)?}}', expected PART=FACTOR with a factor above 0
// PROGRAM: error: model @small has no program 'other' to train
// BETA1: error: option beta1 is 1, expected a number from 0 to less than 1
// BETA2: error: option beta2 is -5, expected a number from 0 to less than 1
// DECAY: error: option weight_decay is inf, expected a finite number of 0 or more
// CLIP: error: option clip is nan, expected a finite number of 0 or more
// BY: error: option clip_by is 'head', expected all or layer
// TWICE: error: program @step already has an input 'grad.a'
// AGAIN: error: model @small already has a symbol @step_update

morph.model @small relaxed architecture "llama" layers 1 {
  morph.weight @a : tensor<2x4xbf16>
  morph.gate @gate.0 layer 0 of ["full", "lightning"] value [1.0]

  // Each is added as soon as it is there.
  // CHECK: morph.program @step(%x: tensor<2x4xf32> "x", %share: tensor<f32> "share", %grad.a: tensor<2x4xf32> "grad.a", %grad.gate.0: tensor<1xf32> "grad.gate.0") trains [@a, @gate.0] update @step_update {
  // CHECK: %[[E:.*]] = morph.exp %x
  // CHECK-NEXT: %[[SUM:.*]] = morph.accumulate %grad.a, %[[E]], %share : tensor<2x4xf32>, tensor<2x4xf32>, tensor<f32>
  // CHECK: %[[GATE:.*]] = morph.param @gate.0
  // CHECK-NEXT: %[[GSUM:.*]] = morph.accumulate %grad.gate.0, %[[GATE]], %share
  // CHECK: morph.output "loss" = %{{.*}}, "grad.a" = %[[SUM]], "grad.gate.0" = %[[GSUM]]
  morph.program @step(%x: tensor<2x4xf32> "x") trains [@a, @gate.0] {
    %a = morph.param @a : tensor<2x4xf32>
    %e = morph.exp %x : tensor<2x4xf32>
    %loss = morph.squared_error %e, %a normalize "mean" : tensor<2x4xf32>
    %g = morph.param @gate.0 : tensor<1xf32>
    morph.output "loss" = %loss, "grad.a" = %e, "grad.gate.0" = %g : tensor<f32>, tensor<2x4xf32>, tensor<1xf32>
  }

  // Both share the limit; the matrix alone decays. The checkpoint's type is no matter: masters are f32.
  // CHECK: morph.program @step_update(%rate: tensor<f32> "rate", %step: tensor<i64> "step", %grad.a: tensor<2x4xf32> "grad.a", %exp_avg.a: tensor<2x4xf32> "exp_avg.a", %exp_avg_sq.a: tensor<2x4xf32> "exp_avg_sq.a", %grad.gate.0: tensor<1xf32> "grad.gate.0", %exp_avg.gate.0: tensor<1xf32> "exp_avg.gate.0", %exp_avg_sq.gate.0: tensor<1xf32> "exp_avg_sq.gate.0") trains [@a, @gate.0] {
  // CHECK-DAG: %[[PA:.*]] = morph.param @a : tensor<2x4xf32>
  // CHECK-DAG: %[[PG:.*]] = morph.param @gate.0 : tensor<1xf32>
  // CHECK: %[[NORM:.*]] = morph.global_norm %grad.a, %grad.gate.0
  // CHECK: %[[CA:.*]] = morph.clip %grad.a, %[[NORM]] limit 5.000000e-01
  // CHECK: %[[CG:.*]] = morph.clip %grad.gate.0, %[[NORM]] limit 5.000000e-01
  // CHECK: %{{.*}}, %[[FA:.*]], %[[SA:.*]] = morph.adamw %[[PA]], %[[CA]], %exp_avg.a, %exp_avg_sq.a, %rate, %step {beta1 = {{9.000000e-01|0.90000000000000002}} : f64, beta2 = {{9.500000e-01|0.94999999999999996}} : f64, epsilon = {{.*}} : f64, weight_decay = {{1.000000e-01|0.10000000000000001}} : f64}
  // CHECK: morph.adamw %[[PG]], %[[CG]], {{.*}}weight_decay = 0.000000e+00
  // CHECK: morph.output "norm" = %[[NORM]], "exp_avg.a" = %[[FA]], "exp_avg_sq.a" = %[[SA]]

  // UNCLIPPED: morph.program @step_update
  // UNCLIPPED: morph.global_norm
  // UNCLIPPED-NOT: morph.clip
  // UNCLIPPED: morph.adamw %{{.*}}, %grad.a,
}

// Two layers have halves of the limit; the norm is that of all.
// LAYERS: morph.program @align_update
// LAYERS: %[[FIRST:.*]] = morph.global_norm %grad.model.layers.0.
// LAYERS: morph.clip %grad.model.layers.0.{{.*}}, %[[FIRST]] limit 0.70710678
// LAYERS: %[[SECOND:.*]] = morph.global_norm %grad.model.layers.1.
// LAYERS: morph.clip %grad.model.layers.1.{{.*}}, %[[SECOND]] limit 0.70710678
// LAYERS: %[[ALL:.*]] = morph.global_norm %[[FIRST]], %[[SECOND]]
// LAYERS: morph.output "norm" = %[[ALL]]
