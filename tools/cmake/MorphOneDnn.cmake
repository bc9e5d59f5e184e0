# SPDX-License-Identifier: Apache-2.0
# The headers of Debian's oneDNN (libdnnl-dev), optional: without them products are MKL's and our own. The library itself
# is opened when a program first multiplies (runtime/kernels/GemmOneDnn.cpp), and may be missing then.

find_path(MORPH_ONEDNN_INCLUDE dnnl.h)
if(NOT MORPH_ONEDNN_INCLUDE)
  message(STATUS "Without oneDNN (tools/setup installs libdnnl-dev): products are MKL's and our own")
endif()
