# SPDX-License-Identifier: Apache-2.0
# MORPH_SANITIZE: our own code with AddressSanitizer, UndefinedBehaviorSanitizer and libFuzzer's coverage, for
# `tools/check --sanitize` and `tools/fuzz`. MLIR, LLVM and LibTorch stay as they are; what that means for the checks is
# in SanitizerOptions.cpp.

if(NOT CMAKE_CXX_COMPILER_ID STREQUAL Clang)
  message(FATAL_ERROR "MORPH_SANITIZE needs clang (tools/setup installs clang-19): "
                      "add -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19")
endif()
# -O1 and line tables: readable reports from programs that are still fast enough for the whole suite.
set(CMAKE_CXX_FLAGS_RELEASE "-O1 -DNDEBUG -gline-tables-only -fno-omit-frame-pointer")
# vptr needs the type information that LLVM is built without. clang warns of what libstdc++ 12 itself uses. ccache wants
# precompiled headers without a time.
add_compile_options(-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize=vptr -fno-sanitize-recover=all
                    -Wno-deprecated-declarations "SHELL:-Xclang -fno-pch-timestamp")
# Our own checks of ourselves: see runtime/exec/Executor.cpp.
add_compile_definitions(MORPH_SANITIZE)
add_link_options(-fsanitize=address,undefined -fno-sanitize=vptr)

# Sanitized programs are several times slower.
set(MORPH_TEST_TIMEOUT 1800)
set(MORPH_PYTHON_TEST_TIMEOUT 5400)

# The run-time options are part of every program, so that it needs no environment, whoever starts it.
add_library(MorphSanitizerOptions OBJECT ${CMAKE_CURRENT_LIST_DIR}/SanitizerOptions.cpp)
link_libraries($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:$<TARGET_OBJECTS:MorphSanitizerOptions>>)
