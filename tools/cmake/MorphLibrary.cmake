# SPDX-License-Identifier: Apache-2.0
# The functions that every CMakeLists.txt of the project uses. Warnings are errors in our own code; the headers of MLIR
# and LibTorch are system headers.

set(MORPH_WARNINGS -Wall -Wextra -Werror)
# Seconds that one test may take.
set(MORPH_TEST_TIMEOUT 300)
set(MORPH_PYTHON_TEST_TIMEOUT 900)

# Compile options of one world on a target. The worlds differ: LLVM's world has no exceptions.
function(_morph_compiler_world target)
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  target_include_directories(${target} SYSTEM PUBLIC ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
  target_compile_definitions(${target} PUBLIC ${MORPH_LLVM_DEFINITIONS})
  target_compile_options(${target} PRIVATE ${MORPH_WARNINGS} -Wno-unused-parameter -fno-exceptions)
endfunction()
function(_morph_runtime_world target)
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR})
  target_compile_options(${target} PRIVATE ${MORPH_WARNINGS})
endfunction()

# morph_compiler_library(NAME SOURCES ... LIBS ... DEPENDS ...)
# A static library of the compiler world. DEPENDS names TableGen targets. All share MorphDialect's precompiled header.
function(morph_compiler_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  _morph_compiler_world(${name})
  target_link_libraries(${name} PUBLIC ${ARG_LIBS})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  if(name STREQUAL MorphDialect)
    target_precompile_headers(${name} PRIVATE <mlir/IR/Builders.h> <mlir/IR/BuiltinTypes.h> <mlir/IR/BuiltinOps.h>
      <mlir/IR/OpImplementation.h> <mlir/IR/SymbolTable.h> <mlir/IR/PatternMatch.h> <mlir/Dialect/Func/IR/FuncOps.h>
      <mlir/Interfaces/InferTypeOpInterface.h> <mlir/Interfaces/SideEffectInterfaces.h>
      <mlir/Bytecode/BytecodeOpInterface.h> <mlir/Pass/Pass.h> <llvm/ADT/StringMap.h>)
  else()
    target_precompile_headers(${name} REUSE_FROM MorphDialect)
  endif()
endfunction()

# morph_compiler_tool(NAME SOURCES ... LIBS ...): a program of the compiler world.
function(morph_compiler_tool name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  _morph_compiler_world(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS})
endfunction()

# morph_runtime_library(NAME SOURCES ... LIBS ... [OBJECT] [TORCH])
# A library of the runtime world. OBJECT keeps static registrations alive in every program that links it. TORCH links
# LibTorch; the first such library's precompiled header is shared by the others.
function(morph_runtime_library name)
  cmake_parse_arguments(ARG "OBJECT;TORCH" "" "SOURCES;LIBS" ${ARGN})
  if(ARG_OBJECT)
    add_library(${name} OBJECT ${ARG_SOURCES})
  else()
    add_library(${name} STATIC ${ARG_SOURCES})
  endif()
  _morph_runtime_world(${name})
  target_link_libraries(${name} PUBLIC ${ARG_LIBS})
  if(ARG_TORCH)
    target_link_libraries(${name} PUBLIC torch::cpu)
    if(TARGET MorphTorchPch)
      target_precompile_headers(${name} REUSE_FROM MorphTorchPch)
    endif()
  endif()
endfunction()

# morph_runtime_tool(NAME SOURCES ... LIBS ... [TORCH]): a program of the runtime world.
function(morph_runtime_tool name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  _morph_runtime_world(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS})
  if(ARG_TORCH)
    target_link_libraries(${name} PRIVATE torch::cpu)
  endif()
endfunction()

# morph_gtest(NAME SOURCES ... LIBS ... [TORCH] [LABEL ...] [ENVIRONMENT ...]): a GoogleTest program, every test case a ctest
# of its own. In tests what is over in a run's memory is filled with NaN.
function(morph_gtest name)
  cmake_parse_arguments(ARG "TORCH" "LABEL" "SOURCES;LIBS;ENVIRONMENT" ${ARGN})
  set(labels)
  if(ARG_LABEL)
    set(labels LABELS ${ARG_LABEL})
  endif()
  find_package(GTest REQUIRED)
  add_executable(${name} ${ARG_SOURCES})
  _morph_runtime_world(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/bin)
  if(ARG_TORCH)
    target_link_libraries(${name} PRIVATE torch::cpu)
    target_precompile_headers(${name} REUSE_FROM MorphTorchPch)
  endif()
  include(GoogleTest)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST NO_PRETTY_VALUES TEST_PREFIX "${name}." TEST_LIST tests
                       PROPERTIES TIMEOUT ${MORPH_TEST_TIMEOUT} ${labels})
  # A list of variables would not survive among the properties above: only the first would be set.
  set(environment "OMP_NUM_THREADS=1;MORPH_POISON=1;${ARG_ENVIRONMENT}")
  file(CONFIGURE OUTPUT ${name}-environment.cmake CONTENT
       "set_tests_properties(\${tests} PROPERTIES ENVIRONMENT \"${environment}\")\n" @ONLY)
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}-environment.cmake)
endfunction()

# morph_python_test(NAME SCRIPT [ARGS ...]): a Python check, run in the project's environment with MORPH_BIN and
# MORPH_SOURCE_DIR set. Exit code 77 means skipped.
function(morph_python_test name script)
  add_test(NAME python.${name} COMMAND ${MORPH_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/${script} ${ARGN})
  set_tests_properties(python.${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${MORPH_PYTHON_TEST_TIMEOUT}
    ENVIRONMENT "MORPH_BIN=${CMAKE_BINARY_DIR}/bin;MORPH_SOURCE_DIR=${CMAKE_SOURCE_DIR};OMP_NUM_THREADS=1;MORPH_POISON=1")
endfunction()
