#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <memory>
#include <string>

#include "device_memory.h"
#include "program.h"
#include "ptx.h"
#include "stream.h"

namespace standin {

// What an H100 (SXM) has; the rest of the properties follows.
inline constexpr int kMultiprocessors = 132, kRegisters = 65536, kThreadsPerBlock = 1024,
                     kThreadsPerMultiprocessor = 2048, kBlocksPerMultiprocessor = 32;
inline constexpr int kSharedPerBlock = 48 << 10, kSharedPerBlockOptin = 227 << 10,
                     kSharedPerMultiprocessor = 228 << 10, kSharedReserved = 1 << 10;

// A kernel on a device.
struct Function {
  ptx::Kernel* kernel = nullptr;
  int registers = 64;  // a guess where the program has no machine code that says it
  int dynamic_shared_limit = 0;
};

// A device: its memory, its default stream, and the program's code, loaded when it is first needed.
struct Device {
  Device(int number, uint64_t memory_bytes, bool checked);
  Device(const Device&) = delete;

  // Nothing works any more. `error` is told to who calls next.
  void Lose(cudaError_t error);
  // As new, with nothing allocated; streams and events of the program stay.
  void Reset();

  // Throws ptx::Error: the program has no PTX for it, or what the interpreter does not know.
  Function& Load(const void* host, const Program::Symbol& symbol);
  // The address of a variable. Throws ptx::Error.
  uint64_t AddressOf(const Program::Symbol& symbol);
  void Unload(int module);

  const int number;
  DeviceMemory memory;
  std::shared_ptr<Stream> default_stream;
  cudaError_t sticky = cudaSuccess;
  bool told = true;  // the program has seen the sticky error

 private:
  struct LoadedModule {
    std::unique_ptr<ptx::Module> code;
    std::map<std::string, int> registers;  // by kernel
  };
  LoadedModule& Module(int number);

  std::map<int, LoadedModule> modules_;
  std::map<const void*, Function> functions_;
};

cudaDeviceProp Properties(const Device& device);
// False: not known.
bool Attribute(const Device& device, cudaDeviceAttr attribute, int* value);

}  // namespace standin
