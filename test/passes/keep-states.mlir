// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-keep-states=program=chain | FileCheck %s --check-prefixes=CHECK,KEPT,BOTH
// RUN: morph-opt %s --morph-keep-states="program=chain limit=52000 sizes=B=1,T=64" | FileCheck %s --check-prefixes=CHECK,KEPT,BOTH
// RUN: morph-opt %s --morph-keep-states="program=chain limit=50000 sizes=B=1,T=64" | FileCheck %s --check-prefixes=CHECK,KEPT,INNER
// RUN: morph-opt %s --morph-keep-states="program=chain limit=0 sizes=B=1,T=64" | FileCheck %s --check-prefixes=CHECK,NONE
// RUN: morph-opt %s --morph-keep-states=program=attention | FileCheck %s --check-prefixes=SUMS
// RUN: morph-opt %s --morph-keep-states="program=attention limit=0 sizes=B=1,T=64" | FileCheck %s --check-prefixes=FOUND

morph.model @small base architecture "llama" layers 1 {
  // Of two forwards the second one's backward comes first: what it leaves lives for the fewest ops. Without the delta rule
  // or free vectors, what is written is v.
  // CHECK-LABEL: morph.program @chain
  // CHECK-SAME: %[[X:[a-z0-9]+]]: {{.*}}, %[[BETA:[a-z0-9]+]]:
  // BOTH: %[[A:.*]], %{{.*}}, %[[OUTER:.*]] = morph.linear_attention %[[X]], %[[X]], %[[X]] scale {{.*}} chunk 16 keep_states :
  // INNER: %[[A:.*]], %{{.*}} = morph.linear_attention %[[X]], %[[X]], %[[X]] scale {{.*}} chunk 16 :
  // NONE-NOT: keep
  // KEPT: %[[B:.*]], %{{.*}}, %[[KEPT:.*]]:2 = morph.linear_attention %[[A]], %[[A]], %[[A]] beta %[[BETA]] scale {{.*}} chunk 16 keep_states keep_written :
  // KEPT: morph.linear_attention_grad %[[B]], %[[A]], %[[A]], %[[A]] beta %[[BETA]] states %[[KEPT]]#0 written %[[KEPT]]#1 scale
  // BOTH: morph.linear_attention_grad %{{.*}}, %[[X]], %[[X]], %[[X]] states %[[OUTER]] scale
  // INNER: morph.linear_attention_grad %{{.*}}, %[[X]], %[[X]], %[[X]] scale
  // NONE-NOT: states
  // CHECK: morph.output
  morph.program @chain(%x: tensor<?x?x2x8xf32> "x" [B, T], %beta: tensor<?x?x2xf32> "beta" [B, T]) {
    %a, %s = morph.linear_attention %x, %x, %x scale 1.0 chunk 16 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
    %b, %t = morph.linear_attention %a, %a, %a beta %beta scale 1.0 chunk 16 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32> beta tensor<?x?x2xf32>
    %db:4 = morph.linear_attention_grad %b, %a, %a, %a beta %beta scale 1.0 chunk 16 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32> beta tensor<?x?x2xf32>
    %da:3 = morph.linear_attention_grad %db#0, %x, %x, %x scale 1.0 chunk 16 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
    morph.output "y" = %da#0 : tensor<?x?x2x8xf32>
  }

  // Of a forward that is computed twice the second leaves its rows' sums, and its result; the first gradient of the same
  // operands, window and scale takes them.
  // SUMS-LABEL: morph.program @attention
  // SUMS: %[[Y:.*]] = morph.attention %[[X:.*]], %[[X]], %[[X]] start %[[START:.*]] scale {{.*}} window 4 :
  // SUMS: %[[Z:.*]], %[[LSE:.*]] = morph.attention %[[X]], %[[X]], %[[X]] start %[[START]] scale {{.*}} window 4 keep_lse :
  // SUMS: %[[A:.*]], %{{.*}}, %{{.*}} = morph.attention_grad %[[Y]], %[[X]], %[[X]], %[[X]] start %[[START]] out %[[Z]] lse %[[LSE]] scale {{.*}} window 4 :
  // SUMS: %[[B:.*]], %{{.*}}, %{{.*}} = morph.attention_grad %[[A]], %[[X]], %[[X]], %[[X]] start %[[START]] scale {{.*}} window 5 :
  // SUMS: morph.attention_grad %[[B]], %[[X]], %[[X]], %[[X]] scale {{.*}} window 4 :
  // FOUND-LABEL: morph.program @attention
  // FOUND-NOT: lse
  // FOUND: morph.output
  morph.program @attention(%x: tensor<?x?x2x8xf32> "x" [B, T], %start: tensor<?xi64> "start" [B]) {
    %y = morph.attention %x, %x, %x start %start scale 0.5 window 4 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32> start tensor<?xi64>
    %z = morph.attention %x, %x, %x start %start scale 0.5 window 4 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32> start tensor<?xi64>
    %a:3 = morph.attention_grad %y, %x, %x, %x start %start scale 0.5 window 4 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?xi64>
    %b:3 = morph.attention_grad %a#0, %x, %x, %x start %start scale 0.5 window 5 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?xi64>
    %c:3 = morph.attention_grad %b#0, %x, %x, %x scale 0.5 window 4 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
    morph.output "z" = %z, "d" = %c#0 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
  }
}
