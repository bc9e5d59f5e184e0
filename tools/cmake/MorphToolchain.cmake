# SPDX-License-Identifier: Apache-2.0
# What every target shares: ccache, the linker, and where Python is.

find_program(MORPH_CCACHE ccache)
if(MORPH_CCACHE)
  # Clones share hits: paths below the source folder count as relative; the sloppiness is what precompiled headers need.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${MORPH_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

find_program(MORPH_LLD NAMES ld.lld-19 ld.lld)
if(MORPH_LLD)
  get_filename_component(lldFolder ${MORPH_LLD} REALPATH)
  get_filename_component(lldFolder ${lldFolder} DIRECTORY)
  # g++ looks for a program named ld.lld in its -B folders.
  add_link_options(-fuse-ld=lld -B${lldFolder})
endif()

# One link at a time: each takes memory, and two cores gain nothing.
set_property(GLOBAL PROPERTY JOB_POOLS link=1)
set(CMAKE_JOB_POOL_LINK link)

if(NOT MORPH_PYTHON_ENV)
  execute_process(COMMAND ${CMAKE_SOURCE_DIR}/tools/setup --print-env OUTPUT_VARIABLE environment
                  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  # Not in the cache: other requirements are another environment.
  set(MORPH_PYTHON_ENV ${environment})
endif()
set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS tools/python/requirements.txt)
set(MORPH_PYTHON ${MORPH_PYTHON_ENV}/bin/python)
if(NOT EXISTS ${MORPH_PYTHON})
  message(FATAL_ERROR "no Python environment at ${MORPH_PYTHON_ENV}: run tools/setup first")
endif()
