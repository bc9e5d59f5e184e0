# SPDX-License-Identifier: Apache-2.0
# The functions that every CMakeLists.txt of the project uses. Warnings are errors in our own code; the headers of MLIR
# and LibTorch are system headers.

set(MORPH_WARNINGS -Wall -Wextra -Werror)
# Seconds that one test may take.
set(MORPH_TEST_TIMEOUT 600)
set(MORPH_PYTHON_TEST_TIMEOUT 900)

# For what is fast by MLIR, LibTorch or kernels, or takes little time: three quarters of the compile time of -O3, or less.
set(MORPH_QUICK -O1)

# Headers that take seconds to parse, once for all. Libraries that know MLIR have their own (morph_compiler_library).
set(MORPH_HEADERS <algorithm> <filesystem> <functional> <map> <memory> <nlohmann/json.hpp> <set> <sstream> <string>
                  <variant> <vector>)
# morph_precompiled_headers(NAME HEADERS ...): NAME carries them for targets that reuse them.
function(morph_precompiled_headers name)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/${name}.cpp CONTENT "// The precompiled headers' carrier.\n" @ONLY)
  add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/${name}.cpp)
  target_precompile_headers(${name} PRIVATE ${ARGN})
endfunction()
morph_precompiled_headers(MorphPch ${MORPH_HEADERS})

# Compile options of one world on a target. The worlds differ: LLVM's world has no exceptions.
# _morph_compiler_world(TARGET [HEADERS ...]): HEADERS are what it precompiles: without, it shares MorphDialect's.
function(_morph_compiler_world target)
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  target_include_directories(${target} SYSTEM PUBLIC ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
  target_compile_definitions(${target} PUBLIC ${MORPH_LLVM_DEFINITIONS})
  target_compile_options(${target} PRIVATE ${MORPH_QUICK} ${MORPH_WARNINGS} -Wno-unused-parameter -fno-exceptions)
  if(ARGN)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  else()
    target_precompile_headers(${target} REUSE_FROM MorphDialect)
  endif()
endfunction()
# _morph_runtime_world(TARGET TORCH): whether it links LibTorch.
function(_morph_runtime_world target torch)
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR})
  target_compile_options(${target} PRIVATE ${MORPH_WARNINGS})
  if(torch)
    target_link_libraries(${target} PUBLIC torch::cpu)
    target_precompile_headers(${target} REUSE_FROM MorphTorchPch)
  else()
    target_precompile_headers(${target} REUSE_FROM MorphPch)
  endif()
endfunction()

# morph_compiler_library(NAME SOURCES ... LIBS ... DEPENDS ... [HEADERS ...])
# A static library of the compiler world. DEPENDS names TableGen targets.
function(morph_compiler_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;DEPENDS;HEADERS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  _morph_compiler_world(${name} ${ARG_HEADERS})
  target_link_libraries(${name} PUBLIC ${ARG_LIBS})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
endfunction()

# morph_compiler_tool(NAME SOURCES ... LIBS ...): a program of the compiler world.
function(morph_compiler_tool name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  _morph_compiler_world(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS})
endfunction()

# morph_runtime_library(NAME SOURCES ... LIBS ... [OBJECT] [TORCH] [QUICK])
# A library of the runtime world. OBJECT keeps static registrations alive in every program that links it. TORCH links
# LibTorch. QUICK: little of a run's time is spent in it.
function(morph_runtime_library name)
  cmake_parse_arguments(ARG "OBJECT;TORCH;QUICK" "" "SOURCES;LIBS" ${ARGN})
  if(ARG_OBJECT)
    add_library(${name} OBJECT ${ARG_SOURCES})
  else()
    add_library(${name} STATIC ${ARG_SOURCES})
  endif()
  target_link_libraries(${name} PUBLIC ${ARG_LIBS})
  _morph_runtime_world(${name} ${ARG_TORCH})
  if(ARG_QUICK)
    target_compile_options(${name} PRIVATE ${MORPH_QUICK})
  endif()
endfunction()

# morph_runtime_tool(NAME SOURCES ... LIBS ... [TORCH]): a program of the runtime world.
function(morph_runtime_tool name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS})
  _morph_runtime_world(${name} ${ARG_TORCH})
  target_compile_options(${name} PRIVATE ${MORPH_QUICK})
endfunction()

# morph_gtest(NAME [TORCH] SOURCES ... LIBS ... [LABEL ...] [ENVIRONMENT ...]): a GoogleTest program, which is one test: LibTorch
# takes longer to load than most cases to run. In tests what is over in a run's memory is filled with NaN.
function(morph_gtest name)
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;LIBS;ENVIRONMENT" ${ARGN})
  find_package(GTest REQUIRED)
  morph_runtime_tool(${name} ${ARG_UNPARSED_ARGUMENTS} SOURCES ${ARG_SOURCES} LIBS ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/bin)
  add_test(NAME ${name} COMMAND ${name} --gtest_also_run_disabled_tests)
  set_tests_properties(${name} PROPERTIES TIMEOUT ${MORPH_TEST_TIMEOUT} LABELS "gtest;${ARG_LABEL}"
    ENVIRONMENT "OMP_NUM_THREADS=1;MORPH_POISON=1;${ARG_ENVIRONMENT}")
endfunction()

# morph_python_test(NAME SCRIPT [ARGS ...]): a Python check, run in the project's environment with MORPH_BIN and
# MORPH_SOURCE_DIR set, and ended by end_process.py. Exit code 77 means skipped.
function(morph_python_test name script)
  add_test(NAME python.${name} COMMAND ${MORPH_PYTHON} ${CMAKE_SOURCE_DIR}/tools/python/end_process.py
                                       ${CMAKE_CURRENT_SOURCE_DIR}/${script} ${ARGN})
  set_tests_properties(python.${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${MORPH_PYTHON_TEST_TIMEOUT}
    ENVIRONMENT "MORPH_BIN=${CMAKE_BINARY_DIR}/bin;MORPH_SOURCE_DIR=${CMAKE_SOURCE_DIR};OMP_NUM_THREADS=1;MORPH_POISON=1")
endfunction()

# morph_slow_tests(NAME ...): tests of minutes, which tools/check leaves out unless all are asked for.
function(morph_slow_tests)
  set_property(TEST ${ARGN} APPEND PROPERTY LABELS slow)
endfunction()
