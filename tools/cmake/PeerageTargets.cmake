# How this project builds: one set of flags, and a few functions that every folder uses.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_UNITY_BUILD_BATCH_SIZE 12)  # presets that build everything at once (CMakePresets.json)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

# No contraction: a*b+c is one rounding only where the source says so, or bits would depend on the
# compiler's mood (docs/architecture.md, numerics).
# Designated initialisers leave members to their defaults on purpose, and GCC 12 takes values that
# absl::StatusOr holds for uninitialised ones.
set(host_options -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers
    -ffp-contract=off -fstack-protector-strong -D_GLIBCXX_ASSERTIONS)
# What ships. FORTIFY needs an optimiser; and sanitizers check the same, and better.
list(APPEND host_options $<$<CONFIG:Release>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>
     $<$<CONFIG:Release>:-fstack-clash-protection>)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  list(APPEND host_options $<$<CONFIG:Release>:-fcf-protection>)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND host_options -Wno-maybe-uninitialized)
endif()
add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:${host_options}>")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
set(CMAKE_CXX_FLAGS_ANALYSIS "")  # for compilers that only read (presets clang and tidy)
if(PEERAGE_SANITIZE)
  add_compile_options(-fsanitize=${PEERAGE_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${PEERAGE_SANITIZE})
endif()
if(PEERAGE_SANITIZE MATCHES "address")
  set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")  # but see peerage_optimize
elseif(PEERAGE_SANITIZE STREQUAL "thread")
  # Optimised: else reference counts are code of the standard library, which tells the sanitizer
  # nothing. And what it must know of Abseil's locks; the source says why.
  set(abseil_for_tsan ${CMAKE_SOURCE_DIR}/tools/sanitizers/abseil_for_tsan.cc)
  add_library(peerage_abseil_for_tsan OBJECT ${abseil_for_tsan})
  file(STRINGS ${abseil_for_tsan} wrap_lines REGEX "_ZN")
  foreach(line ${wrap_lines})
    string(REGEX MATCH "_Z[A-Za-z0-9_]+" symbol "${line}")
    add_link_options(-Wl,--wrap=${symbol})
  endforeach()
  link_libraries(peerage_abseil_for_tsan)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
add_link_options(-Wl,-z,relro,-z,now)  # tests/integration/test_hardening.py looks
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

# peerage_library(NAME [SOURCES ...] [LINK ...]): a static library; includes are from the root.
function(peerage_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${arg_LINK})
endfunction()

# peerage_optimize(NAME): a target that runs so long under sanitizers that optimising their checks
# pays; for all others it takes longer than the tests. GCC ends AVX code with vzeroupper only among
# its expensive optimisations, and without it the SSE code that follows runs ten times slower.
function(peerage_optimize name)
  if(PEERAGE_SANITIZE)
    target_compile_options(${name} PRIVATE -O1 $<$<CXX_COMPILER_ID:GNU>:-fexpensive-optimizations>)
  endif()
endfunction()

# peerage_program(NAME [SOURCES ...] [LINK ...]): lands in build/<preset>/bin.
function(peerage_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_LINK})
endfunction()

# peerage_test(NAME [LABEL unit] [SOURCES ...] [LINK ...]): a GoogleTest program run by ctest.
function(peerage_test name)
  cmake_parse_arguments(arg "" "LABEL;TIMEOUT" "SOURCES;LINK" ${ARGN})
  if(NOT arg_LABEL)
    set(arg_LABEL unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_LINK} GTest::gmock_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABEL}" TIMEOUT ${arg_TIMEOUT})
endfunction()
