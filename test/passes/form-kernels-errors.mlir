// SPDX-License-Identifier: Apache-2.0
// RUN: morph-opt %s --morph-form-kernels=program=gates --verify-diagnostics

// expected-error@below {{model @m has no program 'gates' to form kernels in}}
morph.model @m base architecture "llama" layers 1 {
}
