#include "device.h"

#include "cubin.h"
#include "runtime.h"

namespace standin {

Device::Device(int number, uint64_t memory_bytes, bool checked)
    : number(number), memory(memory_bytes, checked), default_stream(std::make_shared<Stream>()) {
  default_stream->device = this;
}

void Device::Lose(cudaError_t error) {
  if (sticky != cudaSuccess) return;
  sticky = error;
  told = false;
}

void Device::Reset() {
  memory.FreeAll();
  modules_.clear();
  functions_.clear();
  sticky = cudaSuccess;
  told = true;
}

Device::LoadedModule& Device::Module(int number) {
  LoadedModule& loaded = modules_[number];
  if (loaded.code != nullptr) return loaded;
  const FatBinary& binary = runtime().program.module(number);
  const int target = runtime().settings.target;
  const FatBinary::Ptx* ptx = binary.PtxFor(target);
  if (ptx == nullptr) {
    throw ptx::Error("the program cannot be run: " +
                     (binary.problem.empty() ? "no PTX for sm_" + std::to_string(target) +
                                                   " or below (nvcc -gencode code=compute_XX)"
                                             : binary.problem));
  }
  memory.Prepare();
  auto code = std::make_unique<ptx::Module>();
  code->Add(ptx->text, memory.memory());
  if (const auto* cubin = binary.CubinFor(target)) loaded.registers = RegisterCounts(cubin->elf);
  loaded.code = std::move(code);
  return loaded;
}

Function& Device::Load(const void* host, const Program::Symbol& symbol) {
  Function& function = functions_[host];
  if (function.kernel != nullptr) return function;
  LoadedModule& module = Module(symbol.module);
  if (const auto known = module.registers.find(symbol.name); known != module.registers.end()) {
    function.registers = known->second;
  }
  function.kernel = &module.code->Get(symbol.name);
  function.dynamic_shared_limit =
      kSharedPerBlock - static_cast<int>(function.kernel->static_shared);
  return function;
}

uint64_t Device::AddressOf(const Program::Symbol& symbol) {
  return Module(symbol.module).code->Find(symbol.name).address;
}

void Device::Unload(int module) {
  modules_.erase(module);
  std::erase_if(functions_,
                [](const auto& f) { return runtime().program.Function(f.first) == nullptr; });
}

}  // namespace standin
