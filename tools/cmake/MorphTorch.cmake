# SPDX-License-Identifier: Apache-2.0
# LibTorch from the torch wheel of the Python environment, or from -DTorch_DIR. `find_package(Torch)` of the CUDA wheel
# looks for a CUDA compiler, which the CPU build does not need: an imported target over its libraries is enough.

if(Torch_DIR)
  get_filename_component(torchRoot ${Torch_DIR}/../../.. ABSOLUTE)
else()
  file(GLOB torchRoot ${MORPH_PYTHON_ENV}/lib/python3*/site-packages/torch)
endif()
if(NOT EXISTS "${torchRoot}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "no LibTorch at '${torchRoot}': run tools/setup, or give -DTorch_DIR")
endif()
set(MORPH_TORCH_ROOT ${torchRoot})
# at::parallel_for is a header template: without OpenMP it runs on one thread. The wheel's libgomp.so.1 is the one loaded;
# clang has no code for it and runs our loops on one thread. Names of templates are mangled as by the wheel's compiler,
# which is older than clang 18.
set(MORPH_OPENMP -fopenmp)
set(torchOptions -fopenmp)
if(CMAKE_CXX_COMPILER_ID STREQUAL Clang)
  set(MORPH_OPENMP -fopenmp=libgomp)
  set(torchOptions ${MORPH_OPENMP} -fclang-abi-compat=17)
endif()
add_library(torch_c10 SHARED IMPORTED)
set_target_properties(torch_c10 PROPERTIES IMPORTED_LOCATION ${torchRoot}/lib/libc10.so)
add_library(torch::cpu SHARED IMPORTED)
set_target_properties(torch::cpu PROPERTIES
  IMPORTED_LOCATION ${torchRoot}/lib/libtorch_cpu.so
  INTERFACE_INCLUDE_DIRECTORIES "${torchRoot}/include;${torchRoot}/include/torch/csrc/api/include"
  INTERFACE_LINK_LIBRARIES torch_c10
  INTERFACE_COMPILE_OPTIONS "${torchOptions}"
  # The wheel's own dependencies (libcudart, libgomp, ...) are found by the rpath that CMake gives to programs of the build.
  INTERFACE_LINK_OPTIONS "${MORPH_OPENMP};-Wl,--allow-shlib-undefined")

# ATen's headers take half a minute to parse.
morph_precompiled_headers(MorphTorchPch <ATen/ATen.h> <ATen/Parallel.h> ${MORPH_HEADERS})
target_link_libraries(MorphTorchPch PUBLIC torch::cpu)
