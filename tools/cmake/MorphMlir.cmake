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
