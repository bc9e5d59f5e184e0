// SPDX-License-Identifier: Apache-2.0
// Passes from kernels to machine code.

#ifndef MORPH_PASSES_LOWER_PASSES_TD
#define MORPH_PASSES_LOWER_PASSES_TD

include "mlir/Pass/PassBase.td"

def KernelToLinalgPass : Pass<"morph-kernel-to-linalg", "::mlir::ModuleOp"> {
  let summary = "Write the kernels of a model in linalg, in a module beside it";
  let description = [{
    Adds `module @kernels`, one function a kernel: linalg on tensors, the dimensions of the row space made one. Every
    target starts from it.
  }];
  let dependentDialects = ["::morph::MorphDialect", "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
                           "::mlir::tensor::TensorDialect"];
}

def LowerToCpuPass : Pass<"morph-lower-to-cpu", "::mlir::ModuleOp"> {
  let summary = "Write the kernels of a model as vector loops over rows, in a module beside it";
  let description = [{
    Adds `module @kernels`: every kernel becomes, by its linalg form, an `llvm.func` of `(buffers, sizes, begin, end)` that computes the rows [begin, end): a loop
    over lines, in it as many passes over a line as its sums need, each fused and of vectors of 16 elements, whatever
    the machine: sums are added in one order on all. With `to-llvm` all is lowered to the LLVM dialect.
  }];
  let dependentDialects = ["::morph::MorphDialect", "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect", "::mlir::cf::ControlFlowDialect"];
  let options = [
    Option<"toLlvm", "to-llvm", "bool", /*default=*/"false", "Lower loops and vectors to the LLVM dialect as well">,
  ];
}

def CompileKernelsPass : Pass<"morph-compile-kernels", "::mlir::ModuleOp"> {
  let summary = "Compile the kernels of a model into a shared object";
  let description = [{
    Writes the shared object of all kernels to `output`, or takes it from the cache (${MORPH_CACHE:-~/.cache/morph}), and
    leaves the IR as it is. `passes/lower/CompileKernels.h` says what is in it.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect",
                           "::mlir::cf::ControlFlowDialect"];
  let options = [
    Option<"output", "output", "std::string", /*default=*/"", "The file to write">,
    Option<"cache", "cache", "bool", /*default=*/"true", "Take objects from the cache and put them there">,
    Option<"origin", "origin", "std::string", /*default=*/"", "What the object says it was made of: the hash of a plan's kernels">,
    Option<"hash", "print-hash", "bool", /*default=*/"false", "Print the object's hash, and which results may be where operands were, as comments">,
  ];
}

def LowerToCudaPass : Pass<"morph-lower-to-cuda", "::mlir::ModuleOp"> {
  let summary = "Write the kernels of a model as blocks of threads, in a module beside it";
  let description = [{
    Adds a module with `gpu.module @kernels`: every kernel becomes, by its linalg form, a `gpu.func` of its buffers and
    the number of rows. A line is a group of threads, which hold its elements in registers; sums are added in one order on
    all devices. With `to-llvm` all is lowered to the LLVM dialect.
  }];
  let dependentDialects = ["::morph::MorphDialect", "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::gpu::GPUDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::NVVM::NVVMDialect", "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect", "::mlir::cf::ControlFlowDialect"];
  let options = [
    Option<"toLlvm", "to-llvm", "bool", /*default=*/"false", "Lower all to the LLVM dialect as well">,
  ];
}

def EmitPtxPass : Pass<"morph-emit-ptx", "::mlir::ModuleOp"> {
  let summary = "Compile the kernels of a model into PTX";
  let description = "Writes the PTX of all kernels to `output`, and leaves the IR as it is.";
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::gpu::GPUDialect",
                           "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect", "::mlir::cf::ControlFlowDialect"];
  let options = [
    Option<"output", "output", "std::string", /*default=*/"", "The file to write">,
    Option<"chip", "chip", "std::string", /*default=*/"\"sm_90\"", "The generation of GPUs: sm_80 or sm_90">,
  ];
}

#endif // MORPH_PASSES_LOWER_PASSES_TD
