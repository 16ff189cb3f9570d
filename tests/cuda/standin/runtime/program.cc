#include "program.h"

namespace standin {
namespace {

using Symbols = std::unordered_map<const void*, Program::Symbol>;

const Program::Symbol* Find(const Symbols& symbols, const void* host) {
  const auto found = symbols.find(host);
  return found == symbols.end() ? nullptr : &found->second;
}

}  // namespace

int Program::AddModule(const void* wrapper) {
  modules_[next_] = ReadFatBinary(wrapper);
  return next_++;
}

void Program::RemoveModule(int module) {
  modules_.erase(module);
  const auto of_module = [&](const auto& entry) { return entry.second.module == module; };
  std::erase_if(functions_, of_module);
  std::erase_if(variables_, of_module);
}

const Program::Symbol* Program::Function(const void* host) const { return Find(functions_, host); }
const Program::Symbol* Program::Variable(const void* host) const { return Find(variables_, host); }

}  // namespace standin
