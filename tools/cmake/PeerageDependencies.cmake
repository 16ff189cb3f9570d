# What we build on; tools/setup.sh installs it (docs/architecture.md says why each).
find_package(Threads REQUIRED)
find_package(GTest REQUIRED)
find_package(absl REQUIRED)
if(TARGET peerage_abseil_for_tsan)
  target_link_libraries(peerage_abseil_for_tsan PUBLIC absl::synchronization)
endif()
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(benchmark REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)

# LibTorch from its wheel: headers and the two libraries that CPU inference needs. Their own
# dependencies (libcudart, libcupti) are found by DT_RPATH, so programs start in any environment.
set(PEERAGE_TORCH_DIR "${CMAKE_SOURCE_DIR}/build/deps/libtorch" CACHE PATH "Unpacked LibTorch")
if(PEERAGE_WITH_TORCH)
  if(NOT EXISTS ${PEERAGE_TORCH_DIR}/lib/libtorch_cpu.so)
    message(FATAL_ERROR "LibTorch is not in ${PEERAGE_TORCH_DIR}: run tools/setup.sh")
  endif()
  add_library(peerage_torch INTERFACE)
  target_include_directories(peerage_torch SYSTEM INTERFACE ${PEERAGE_TORCH_DIR}/include)
  target_link_libraries(peerage_torch INTERFACE ${PEERAGE_TORCH_DIR}/lib/libtorch_cpu.so
                                                ${PEERAGE_TORCH_DIR}/lib/libc10.so)
  target_link_options(peerage_torch INTERFACE -Wl,--disable-new-dtags
                      -Wl,-rpath,${PEERAGE_TORCH_DIR}/lib -Wl,--allow-shlib-undefined)
endif()
