# How kernels are compiled: code for the architectures that ship, and PTX that is not compressed, which
# tests/cuda/standin executes where no GPU is.
set(PEERAGE_CUDA_ARCHITECTURES
    "80-real;86-real;89-real;90-real;100-real;120-real;80-virtual;90-virtual" CACHE STRING
    "CUDA architectures: N-real is machine code, N-virtual is PTX")
set(CMAKE_CUDA_ARCHITECTURES ${PEERAGE_CUDA_ARCHITECTURES})
if(NOT CMAKE_CUDA_COMPILER)
  find_program(PEERAGE_NVCC nvcc HINTS /usr/local/cuda/bin REQUIRED)
  set(CMAKE_CUDA_COMPILER ${PEERAGE_NVCC})
endif()
enable_language(CUDA)
find_package(CUDAToolkit 13.0 REQUIRED)
# CMake 3.25 does not know this compiler's dialects.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA_STANDARD 20)
if(CCACHE_PROGRAM)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

# peerage_cuda_library(NAME [SOURCES ...] [LINK ...]): kernels and their launchers. What spills, uses
# local memory or computes in double is an error: it would be slow on every device.
function(peerage_cuda_library name)
  peerage_library(${name} ${ARGN})
  set_target_properties(${name} PROPERTIES CUDA_RUNTIME_LIBRARY Shared
                        UNITY_BUILD OFF)
  target_compile_options(${name} PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:-O3 -lineinfo --compress-mode=none
      "SHELL:-Xptxas --warn-on-spills,--warn-on-local-memory-usage,--warn-on-double-precision-use,-Werror">)
  target_link_libraries(${name} PUBLIC CUDA::cudart)
endfunction()

# peerage_cuda_test(NAME [SOURCES ...] [LINK ...]): runs on tests/cuda/standin, linked with the real
# libraries, so that the same program runs on a GPU.
function(peerage_cuda_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LINK;OPTIONS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_LINK} peerage_cuda_test_support GTest::gmock_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests
                        CUDA_RUNTIME_LIBRARY Shared)
  add_dependencies(${name} cuda_standin)
  add_test(NAME ${name}
           COMMAND ${CMAKE_SOURCE_DIR}/tests/cuda/on_standin.sh ${arg_OPTIONS} $<TARGET_FILE:${name}>
           WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS cuda TIMEOUT ${arg_TIMEOUT}
                       ENVIRONMENT CUDA_STANDIN_DIR=${CMAKE_BINARY_DIR}/standin)
endfunction()
