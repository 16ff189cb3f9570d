#include "ptx_test/machine.h"

#include <sys/mman.h>

namespace ptx {
namespace {

constexpr u64 kBytes = u64{1} << 24;
constexpr u64 kBase = u64{1} << 40;
constexpr u64 kTouchBytes = kBytes / 4 * sizeof(Memory::Touch);
constexpr u64 kGap = 256;

}  // namespace

bool Noticed(const Outcome& outcome, const std::string& what) {
  if (outcome.error.find(what) != std::string::npos) return true;
  for (const std::string& report : outcome.reports) {
    if (report.find(what) != std::string::npos) return true;
  }
  return false;
}

// Pages that nobody touches cost nothing.
Machine::Machine() : module_(std::make_unique<Module>()) {
  const auto map = [](u64 bytes) {
    void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw Error("no memory for the test");
    return pages;
  };
  bytes_ = map(kBytes);
  touches_ = map(kTouchBytes);
  next_ = kBase;
  memory_.alias = reinterpret_cast<u64>(bytes_) - kBase;
  memory_.tracked = kBytes;
  memory_.first = kBase;
  memory_.touches = static_cast<Memory::Touch*>(touches_);
  memory_.allocate = [this](u64 bytes) {
    const u64 address = Allocate(bytes);
    memory_.MarkWritten(address, bytes);
    return address;
  };
}

Machine::~Machine() {
  munmap(bytes_, kBytes);
  munmap(touches_, kTouchBytes);
}

void Machine::Load(const std::string& text) {
  module_->Add(".version 8.0\n.target sm_80\n.address_size 64\n" + text, memory_);
}

u64 Machine::Allocate(u64 bytes) {
  const u64 address = next_;
  next_ += (bytes + 2 * kGap - 1) / kGap * kGap;
  if (next_ > kBase + kBytes) throw Error("the test wants too much memory");
  memory_.Add(address, bytes);
  memory_.MarkFresh(address, bytes);
  return address;
}

void Machine::Write(u64 address, const void* data, u64 bytes) {
  std::memcpy(memory_.At(address), data, bytes);
  memory_.MarkWritten(address, bytes);
}

Outcome Machine::Run(const std::string& kernel, const Shape& shape,
                     const std::vector<u64>& parameters) {
  Outcome outcome;
  options.print = [&](const std::string& text) { outcome.printed += text; };
  try {
    Launch launch;
    launch.kernel = &module_->Get(kernel);
    launch.grid = shape.grid;
    launch.block = shape.block;
    launch.dynamic_shared = shape.dynamic_shared;
    launch.parameters.assign(launch.kernel->parameter_bytes + 8, 0);
    for (size_t i = 0; i < parameters.size(); ++i) {
      const Parameter& p = launch.kernel->parameters.at(i);
      std::memcpy(launch.parameters.data() + p.offset, &parameters[i], p.bytes);
    }
    outcome.profile = Execute(launch, memory_, options, outcome.reports);
  } catch (const Error& error) {
    outcome.error = error.what();
  }
  return outcome;
}

std::string KernelText(int parameters, const std::string& body, const std::string& before) {
  std::string head = before + "\n.visible .entry test(";
  std::string loads;
  for (int i = 0; i < parameters; ++i) {
    const std::string n = std::to_string(i);
    head += (i == 0 ? ".param .u64 p" : ", .param .u64 p") + n;
    loads += "ld.param.u64 %p" + n + ", [p" + n + "];\n";
  }
  return head + ")\n{\n.reg .b64 %p<9>, %x<20>, %y<20>;\n.reg .b32 %r<40>, %t, %block;\n" +
         ".reg .f32 %f<20>;\n.reg .b16 %h<20>;\n.reg .pred %q<10>;\n" + loads +
         "mov.u32 %t, %tid.x;\nmov.u32 %block, %ctaid.x;\n" + body + "\nret;\n}\n";
}

Outcome RunOnce(Machine& machine, const Machine::Shape& shape, const std::vector<u64>& parameters,
                const std::string& body, const std::string& before) {
  try {
    machine.Load(KernelText(static_cast<int>(parameters.size()), body, before));
  } catch (const Error& error) {
    Outcome outcome;
    outcome.error = error.what();
    return outcome;
  }
  return machine.Run("test", shape, parameters);
}

}  // namespace ptx
