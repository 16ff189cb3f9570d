// What a PTX text declares: kernels, device functions, variables.
#include <algorithm>
#include <cstring>
#include <utility>

#include "assembler.h"
#include "program.h"
#include "syntax.h"

namespace ptx {
namespace {

u32 Align(u32 x, u32 a) { return (x + a - 1) / a * a; }

class ModuleParser {
 public:
  ModuleParser(ModuleSyntax& module, std::unordered_map<std::string, Kernel>& kernels,
               std::string text)
      : module_(module),
        kernels_(kernels),
        text_(std::make_shared<const std::string>(std::move(text))),
        in_(*text_) {}

  void Run() {
    for (std::string_view word = in_.Next(); !word.empty(); word = in_.Next()) {
      if (word == ".extern") {
        is_external_ = true;
      } else if (word == ".visible" || word == ".weak" || word == ".common") {
        continue;
      } else {
        One(word);
        is_external_ = false;
      }
    }
  }

 private:
  void One(std::string_view word) {
    const Space space = SpaceNamed(word);
    if (word == ".file") {
      File();
    } else if (word == ".version" || word == ".target" || word == ".address_size") {
      in_.SkipPast('\n');
    } else if (word == ".section") {
      in_.SkipPast('{');
      in_.SkipBlock();
    } else if (word == ".entry") {
      Entry();
    } else if (word == ".func") {
      DeviceFunction();
    } else if (space == Space::kShared) {
      const Declaration d = ParseDeclaration(in_, space);
      in_.Expect(";");
      module_.shared[d.name] = d;
    } else if (space == Space::kGlobal || space == Space::kConst) {
      Variable(space);
    } else {
      in_.Fail("not supported: " + std::string(word));
    }
  }

  void File() {
    const int index = static_cast<int>(in_.Number());
    const std::string name(in_.Next());
    const size_t slash = name.find_last_of("/\"", name.size() - 2);
    (*files_)[index] = name.substr(slash + 1, name.size() - slash - 2);
    in_.SkipPast('\n');
  }

  void Entry() {
    FunctionSyntax f = Header();
    Kernel kernel;
    kernel.name = f.name;
    kernel.files = files_;
    for (const Declaration& d : f.parameters) {
      kernel.parameter_bytes = Align(kernel.parameter_bytes, d.align);
      kernel.parameters.push_back({kernel.parameter_bytes, static_cast<u32>(d.bytes())});
      kernel.parameter_bytes += static_cast<u32>(d.bytes());
    }
    for (std::string_view word = in_.Next(); word != "{"; word = in_.Next()) {
      if (word == ".maxntid") {
        kernel.max_threads = static_cast<u32>(in_.Number());
        while (in_.Take(",")) kernel.max_threads *= static_cast<u32>(in_.Number());
      } else if (word == ".minnctapersm" || word == ".maxnreg") {
        in_.Number();
      } else {
        in_.Fail("not supported: " + std::string(word));
      }
    }
    Body(f);
    const std::string name = kernel.name;
    kernels_[name] = std::move(kernel);
  }

  void DeviceFunction() {
    std::vector<Declaration> results;
    if (in_.Peek() == "(") results = Parameters();
    FunctionSyntax f = Header();
    f.results = std::move(results);
    while (in_.Take(".noreturn")) {
    }
    if (in_.Take(";")) {
      module_.functions.try_emplace(f.name, std::move(f));
      return;
    }
    in_.Expect("{");
    Body(f);
  }

  FunctionSyntax Header() {
    FunctionSyntax f;
    f.name = in_.Next();
    if (in_.Peek() == "(") f.parameters = Parameters();
    return f;
  }

  std::vector<Declaration> Parameters() {
    std::vector<Declaration> parameters;
    in_.Expect("(");
    while (!in_.Take(")")) {
      if (!parameters.empty()) in_.Expect(",");
      in_.Expect(".param");
      parameters.push_back(ParseDeclaration(in_, Space::kParameter));
    }
    return parameters;
  }

  void Body(FunctionSyntax& f) {
    f.has_body = true;
    f.text = text_;
    f.begin = in_.at();
    f.line = in_.line();
    in_.SkipBlock();
    module_.functions[f.name] = std::move(f);
  }

  void Variable(Space space) {
    Declaration d = ParseDeclaration(in_, space);
    if (in_.Take("=")) {
      if (in_.Take("{")) {
        do d.initial.push_back(Value());
        while (in_.Take(","));
        in_.Expect("}");
      } else {
        d.initial.push_back(Value());
      }
    }
    in_.Expect(";");
    if (d.initial.size() > d.count && d.count != 0) in_.Fail("too many values for " + d.name);
    if (!is_external_) module_.variables[d.name] = std::move(d);
  }

  // A number, a name, generic(name), or either with a number added.
  Initial Value() {
    Initial value;
    const char c = in_.Peek()[0];
    if (c == '-' || (c >= '0' && c <= '9')) {
      value.value = in_.Number();
      return value;
    }
    const bool generic = in_.Take("generic");
    if (generic) in_.Expect("(");
    value.symbol = in_.Next();
    if (generic) in_.Expect(")");
    if (in_.Take("+")) value.value = in_.Number();
    return value;
  }

  ModuleSyntax& module_;
  std::unordered_map<std::string, Kernel>& kernels_;
  const std::shared_ptr<const std::string> text_;
  Lexer in_;
  const std::shared_ptr<std::map<int, std::string>> files_ =
      std::make_shared<std::map<int, std::string>>();
  bool is_external_ = false;
};

}  // namespace

Module::Module() : syntax_(std::make_unique<ModuleSyntax>()) {}
Module::~Module() = default;
Module::Module(Module&&) noexcept = default;
Module& Module::operator=(Module&&) noexcept = default;

void Module::Add(std::string text, Memory& memory) {
  ModuleParser(*syntax_, kernels_, std::move(text)).Run();
  PlaceVariables(memory);
}

Kernel& Module::Get(const std::string& name) {
  const auto found = kernels_.find(name);
  if (found == kernels_.end()) throw Error("no kernel " + name);
  Kernel& kernel = found->second;
  if (kernel.decoded) return kernel;
  try {
    Assemble(*this, *syntax_, kernel);
  } catch (Error& e) {
    throw Error(name + ": " + e.what());
  }
  return kernel;
}

// Addresses first: initial values may name them.
void Module::PlaceVariables(const Memory& memory) {
  std::vector<const Declaration*> placed;
  for (const auto& [name, d] : syntax_->variables) {
    if (globals_.contains(name)) continue;
    if (!memory.allocate) throw Error("no room for variables: " + name);
    globals_[name] = memory.allocate(std::max<u64>(d.bytes(), 1));
    placed.push_back(&d);
  }
  for (const Declaration* d : placed) {
    const u64 address = globals_.at(d->name);
    const size_t size = static_cast<size_t>(SizeOf(d->type));
    for (size_t i = 0; i < d->initial.size(); ++i) {
      u64 value = d->initial[i].value;
      if (const std::string& symbol = d->initial[i].symbol; !symbol.empty()) {
        const auto found = globals_.find(symbol);
        if (found == globals_.end()) {
          throw Error("PTX line " + std::to_string(d->line) + ": unknown symbol " + symbol);
        }
        value += found->second;
      }
      std::memcpy(memory.At(address) + size * i, &value, size);
    }
  }
}

Module::Variable Module::Find(const std::string& name) const {
  const auto found = globals_.find(name);
  if (found == globals_.end()) throw Error("no variable " + name);
  const auto declared = syntax_->variables.find(name);
  return {found->second, declared == syntax_->variables.end() ? 0 : declared->second.bytes()};
}

std::string Kernel::Place(const Inst& inst) const {
  const auto found = files->find(inst.line >> 16);
  return (found == files->end() ? "?" : found->second) + ":" + std::to_string(inst.line & 0xffff);
}

}  // namespace ptx
