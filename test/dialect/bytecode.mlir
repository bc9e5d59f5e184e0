// SPDX-License-Identifier: Apache-2.0
// Bytecode holds everything that the text does.
// RUN: morph-opt %S/ops.mlir --emit-bytecode | morph-opt | FileCheck %S/ops.mlir
// RUN: morph-opt %S/roundtrip.mlir --emit-bytecode | morph-opt | FileCheck %S/roundtrip.mlir
// RUN: morph-opt %S/roundtrip.mlir --emit-bytecode | FileCheck %s --check-prefix=MAGIC
// MAGIC: ML{{.}}R
