# SPDX-License-Identifier: Apache-2.0
# Debian's MLIR and LLVM 19.1, linked statically against MLIR with the shared libLLVM.

find_program(MORPH_LLVM_CONFIG NAMES llvm-config-19 llvm-config)
if(MORPH_LLVM_CONFIG)
  execute_process(COMMAND ${MORPH_LLVM_CONFIG} --prefix OUTPUT_VARIABLE llvmPrefix OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
find_package(MLIR 19.1 REQUIRED CONFIG HINTS ${llvmPrefix}/lib/cmake/mlir)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)
separate_arguments(definitions UNIX_COMMAND "${LLVM_DEFINITIONS}")
set(MORPH_LLVM_DEFINITIONS ${definitions})
set(MORPH_LLVM_TOOLS ${LLVM_TOOLS_BINARY_DIR})
find_program(MORPH_LIT NAMES lit.py llvm-lit lit lit-19
             HINTS ${llvmPrefix}/build/utils/lit ${LLVM_TOOLS_BINARY_DIR})

# What the compiler's files include most.
set(MORPH_MLIR_HEADERS <algorithm> <functional> <map> <memory> <set> <string> <vector>
  <llvm/ADT/STLExtras.h> <llvm/ADT/StringExtras.h> <llvm/ADT/StringMap.h> <mlir/Bytecode/BytecodeOpInterface.h>
  <mlir/Dialect/Func/IR/FuncOps.h> <mlir/IR/Builders.h> <mlir/IR/BuiltinOps.h> <mlir/IR/BuiltinTypes.h>
  <mlir/IR/OpImplementation.h> <mlir/IR/PatternMatch.h> <mlir/IR/SymbolTable.h>
  <mlir/Interfaces/InferTypeOpInterface.h> <mlir/Interfaces/SideEffectInterfaces.h> <mlir/Pass/Pass.h>)
