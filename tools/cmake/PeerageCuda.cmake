# How kernels are compiled: code for the architectures that ship, and PTX that is not compressed, which
# tests/cuda/standin executes where no GPU is. All machine code is made of the PTX for sm_80, which is
# what tests execute and tools/check_ptxas.sh looks at: the compiler makes other PTX for each architecture.
set(PEERAGE_CUDA_ARCHITECTURES
    "80-real;86-real;89-real;90-real;100-real;120-real;80-virtual;90-virtual" CACHE STRING
    "CUDA architectures: N-real is machine code, N-virtual is PTX")
option(PEERAGE_CUDA_LINE_INFO "Lines of the sources in kernels, for profilers and sanitizers" ON)
set(CMAKE_CUDA_ARCHITECTURES OFF)
set(peerage_cuda_code)
foreach(architecture ${PEERAGE_CUDA_ARCHITECTURES})
  if(architecture MATCHES "^([0-9]+)-real$")
    list(APPEND peerage_cuda_code arch=compute_80,code=sm_${CMAKE_MATCH_1})
  elseif(architecture MATCHES "^([0-9]+)-virtual$")
    list(APPEND peerage_cuda_code arch=compute_${CMAKE_MATCH_1},code=compute_${CMAKE_MATCH_1})
  else()
    message(FATAL_ERROR "PEERAGE_CUDA_ARCHITECTURES: ${architecture} is neither N-real nor N-virtual")
  endif()
endforeach()
list(TRANSFORM peerage_cuda_code PREPEND "--generate-code=")
if(NOT CMAKE_CUDA_COMPILER)
  find_program(PEERAGE_NVCC nvcc HINTS /usr/local/cuda/bin REQUIRED)
  set(CMAKE_CUDA_COMPILER ${PEERAGE_NVCC})
endif()
enable_language(CUDA)
# To projects that ask for CMake 3.25 it says that a library is deprecated which CUDA 13 no longer has, and fails.
set(peerage_cmake_minimum ${CMAKE_MINIMUM_REQUIRED_VERSION})
set(CMAKE_MINIMUM_REQUIRED_VERSION 3.24)
find_package(CUDAToolkit 13.0 REQUIRED)
set(CMAKE_MINIMUM_REQUIRED_VERSION ${peerage_cmake_minimum})
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
  set(line_info)
  if(PEERAGE_CUDA_LINE_INFO)
    set(line_info -lineinfo)
  endif()
  set(device_options ${peerage_cuda_code} -O3 ${line_info} --compress-mode=none
      "SHELL:-Xptxas --warn-on-spills,--warn-on-local-memory-usage,--warn-on-double-precision-use,-Werror")
  target_compile_options(${name} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${device_options}>")
  target_link_libraries(${name} PUBLIC CUDA::cudart)
endfunction()

set(PEERAGE_DEVICE_TESTS ${CMAKE_BINARY_DIR}/tests/device_tests.txt)
file(WRITE ${PEERAGE_DEVICE_TESTS} "")
add_custom_target(cuda_device_tests)

# peerage_cuda_test(NAME [TIMEOUT seconds] [SOURCES ...] [LINK ...] [OPTIONS of on_standin.sh ...]):
# linked with the real libraries. Label cuda: NAME runs on tests/cuda/standin, from PTX for sm_90, and
# again as NAME_smXX from that of each further target in PEERAGE_CUDA_TEST_TARGETS. Label gpu:
# NAME_gpu runs on a GPU, and so does NAME_gpu_ptx of tests of kernels (not of models: the driver would
# compile all of cuBLASLt, too); they are not run where there is none. STANDIN_ONLY: NAME alone, which is
# a test of the stand-in. The target cuda_device_tests builds all that a GPU can run, and
# tests/device_tests.txt of the build has their names.
function(peerage_cuda_test name)
  cmake_parse_arguments(arg "STANDIN_ONLY" "TIMEOUT" "SOURCES;LINK;OPTIONS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_LINK} peerage_cuda_test_support GTest::gmock_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests
                        CUDA_RUNTIME_LIBRARY Shared)
  add_dependencies(${name} cuda_standin)
  set(on_standin ${CMAKE_SOURCE_DIR}/tests/cuda/on_standin.sh ${arg_OPTIONS} $<TARGET_FILE:${name}>)
  # What was launched, for tests/cuda/kernels/launched_kernels_test.py.
  set(launched ${CMAKE_BINARY_DIR}/launched)
  file(MAKE_DIRECTORY ${launched})
  set(standin CUDA_STANDIN_DIR=${CMAKE_BINARY_DIR}/standin)
  peerage_add_cuda_test(${name} cuda "${standin};CUDA_STANDIN_LAUNCHED=${launched}/${name}.txt"
                        ${on_standin})
  if(arg_STANDIN_ONLY)
    return()
  endif()
  foreach(target ${PEERAGE_CUDA_TEST_TARGETS})
    set(settings CUDA_STANDIN=target=${target}
                 CUDA_STANDIN_LAUNCHED=${launched}/${name}_sm${target}.txt)
    peerage_add_cuda_test(${name}_sm${target} cuda "${standin};${settings}" ${on_standin})
  endforeach()
  add_dependencies(cuda_device_tests ${name})
  file(APPEND ${PEERAGE_DEVICE_TESTS} "${name}\n")
  set(on_gpu ${CMAKE_SOURCE_DIR}/tests/cuda/on_gpu.sh $<TARGET_FILE:${name}>)
  set(of_gpu ${name}_gpu)
  peerage_add_cuda_test(${name}_gpu gpu "" ${on_gpu})
  if("peerage_cuda_kernels" IN_LIST arg_LINK)
    list(APPEND of_gpu ${name}_gpu_ptx)
    peerage_add_cuda_test(${name}_gpu_ptx gpu CUDA_FORCE_PTX_JIT=1 ${on_gpu})
  endif()
  set_tests_properties(${of_gpu} PROPERTIES SKIP_RETURN_CODE 77 RUN_SERIAL ON)
endfunction()

# What runs a test is a command line; its timeout is the caller's.
function(peerage_add_cuda_test name label environment)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT ${arg_TIMEOUT}
                       ENVIRONMENT "${environment}")
endfunction()
