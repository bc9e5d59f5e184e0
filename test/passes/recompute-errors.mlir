// SPDX-License-Identifier: Apache-2.0
// RUN: not morph-opt %s --morph-recompute="program=gates" 2>&1 | FileCheck %s --check-prefix=PROGRAM
// RUN: not morph-opt %s --morph-recompute="program=chain limit=1000 sizes=B=1,T=64" 2>&1 | FileCheck %s --check-prefix=LIMIT
// RUN: not morph-opt %s --morph-recompute="program=chain limit=-1 sizes=B=1,T=64" 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// RUN: not morph-opt %s --morph-recompute="program=chain limit=1000 sizes=B=1,T" 2>&1 | FileCheck %s --check-prefix=ENTRY
// RUN: not morph-opt %s --morph-recompute="program=chain limit=1000 sizes=B=1" 2>&1 | FileCheck %s --check-prefix=UNBOUND
// RUN: not morph-opt %s --morph-recompute="program=ring limit=0 sizes=B=1,S=8,T=1" 2>&1 | FileCheck %s --check-prefix=UPDATE
// RUN: not morph-opt %s --morph-keep-states="program=gates" 2>&1 | FileCheck %s --check-prefix=STATES
// RUN: not morph-opt %s --morph-keep-states="program=chain limit=1000 sizes=B=1,T" 2>&1 | FileCheck %s --check-prefix=ENTRY

// STATES: error: model @m has no program 'gates' to keep states in
// PROGRAM: error: model @m has no program 'gates' to recompute values of
// NEGATIVE: error: model @m option 'limit' is -1 and 'threads' is 1, expected a limit of 0 or more and a thread or more
// ENTRY: error: model @m option 'sizes' has 'T', expected NAME=NUMBER
// UNBOUND: error: program @chain cannot be planned: {{.*}}T
morph.model @m base architecture "llama" layers 1 {
  // LIMIT: [[#@LINE+1]]:3: error: program @chain takes at least 2048 bytes for the values of a run, however much of them is computed again; the limit is 1000
  morph.program @chain(%x: tensor<?x?x8xf32> "x" [B, T]) {
    %a = morph.exp %x : tensor<?x?x8xf32>
    morph.output "y" = %a : tensor<?x?x8xf32>
  }

  // UPDATE: [[#@LINE+1]]:3: error: program @ring cannot be planned: its 'exp' reads what is updated in place: what a copy would read is not there any more
  morph.program @ring(%cache: tensor<?x?x8xf32> "cache" [B, S], %x: tensor<?x?x8xf32> "x" [B, T], %offset: tensor<?xi64> "offset" [B]) {
    %next = morph.cache_write %cache, %x offset %offset : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?xi64>
    %y = morph.exp %next : tensor<?x?x8xf32>
    morph.output "next" = %next, "y" = %y : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  }
}
