# SPDX-License-Identifier: Apache-2.0
# The headers of CUDA 13 (cuda.h, cublasLt.h): those of the Python environment's wheels or of the toolkit. No compiler and
# no library of CUDA's: the driver and cuBLASLt are opened when a program first asks for a device (runtime/device).

file(GLOB cudaWheel ${MORPH_PYTHON_ENV}/lib/python3*/site-packages/nvidia/cu13)
find_path(MORPH_CUDA_INCLUDE cublasLt.h HINTS ${cudaWheel}/include $ENV{CUDA_HOME}/include PATHS /usr/local/cuda/include)
if(MORPH_CUDA_INCLUDE AND EXISTS ${MORPH_CUDA_INCLUDE}/cuda.h)
  set(haveCuda ON)
else()
  set(haveCuda OFF)
endif()
option(MORPH_CUDA "CUDA devices: needs the headers of CUDA 13 alone" ${haveCuda})
if(MORPH_CUDA AND NOT haveCuda)
  message(FATAL_ERROR "MORPH_CUDA needs cuda.h and cublasLt.h of CUDA 13: run tools/setup, or give -DMORPH_CUDA_INCLUDE")
elseif(NOT MORPH_CUDA)
  message(STATUS "Without CUDA's headers (tools/setup brings them): this build knows no CUDA device, and test/cuda is not built")
endif()
# Where the wheel's cuBLASLt lies, for programs that do not load LibTorch, whose neighbour it is.
set(MORPH_CUDA_WHEEL ${cudaWheel})
