// Calls of device functions.
#include "assembler.h"
#include "memory_ops.h"
#include "print.h"

namespace ptx {

// call (results), name, (arguments): lists may be missing.
void Assembler::Call(const Statement& s) {
  if (s.name != "call" && s.name != "call.uni") Fail(s, "not supported");
  std::vector<Operand> results, arguments;
  std::string name;
  for (const Operand& o : s.operands) {
    if (o.kind == Operand::kVector) {
      (name.empty() ? results : arguments) = o.parts;
    } else if (o.kind == Operand::kName && name.empty()) {
      name = o.name;
    } else {
      Fail(s, "calls of what a register points to are not supported");
    }
  }
  const auto callee = syntax_.functions.find(name);
  if (callee == syntax_.functions.end()) Fail(s, "an unknown function");
  if (callee->second.has_body) return Inline(s, callee->second, results, arguments);
  CallBuiltIn(s, results, arguments);
}

// Lanes that do not take part go around the function.
void Assembler::Inline(const Statement& s, FunctionSyntax& callee,
                       const std::vector<Operand>& results, const std::vector<Operand>& arguments) {
  for (const Frame& f : frames_) {
    if (f.function == callee.name) Fail(s, "recursion is not supported");
  }
  Frame inner;
  inner.function = callee.name;
  Bind(s, callee.parameters, arguments, inner.scopes[0]);
  Bind(s, callee.results, results, inner.scopes[0]);
  const size_t around = kernel_.code.size();
  Inst skip = Begin(s);
  const bool is_guarded = skip.guard != kNone;
  if (is_guarded) {
    skip.kind = Kind::kBranch;
    skip.negated = !skip.negated;
    Push(skip, s.text);
  }
  frames_.push_back(std::move(inner));
  Body(callee);
  frames_.pop_back();
  if (is_guarded) kernel_.code[around].target = static_cast<i32>(kernel_.code.size());
}

// The callee's parameters are the caller's variables.
void Assembler::Bind(const Statement& s, const std::vector<Declaration>& declared,
                     const std::vector<Operand>& given, std::map<std::string, Value>& scope) {
  if (declared.size() != given.size()) Fail(s, "a call with other parameters");
  for (size_t i = 0; i < given.size(); ++i) {
    const Value v = Resolve(given[i]);
    if (v.kind != Value::kSymbol || v.space != Space::kLocal) Fail(s, "an argument not in memory");
    scope[declared[i].name] = v;
  }
}

// What the CUDA headers declare and the driver has.
void Assembler::CallBuiltIn(const Statement& s, const std::vector<Operand>& results,
                            const std::vector<Operand>& arguments) {
  std::string name;
  for (const Operand& o : s.operands) {
    if (o.kind == Operand::kName) name = o.name;
  }
  Inst inst = Begin(s);
  if (name == "vprintf" && arguments.size() == 2 && results.size() == 1) {
    inst.fn = Print;
    inst.r[0] = registers_.New(false);
    inst.r[1] = LoadArgument(s, arguments[0]);
    inst.r[2] = LoadArgument(s, arguments[1]);
    Push(inst, s.text);
    Inst store = Begin(s);
    store.fn = StoreLocal;
    store.bytes = 4;
    store.address64 = 1;
    store.r[0] = inst.r[0];
    store.r[1] = registers_.Constant(Resolve(results[0]).value, true);
    Push(store, s.text);
  } else if (name == "__assertfail" && arguments.size() == 5) {
    inst.fn = AssertFail;
    inst.r[0] = LoadArgument(s, arguments[0]);
    Push(inst, s.text);
  } else {
    Fail(s, "an unknown function");
  }
}

// The register with a 64-bit argument.
u32 Assembler::LoadArgument(const Statement& s, const Operand& argument) {
  const Value v = Resolve(argument);
  if (v.kind != Value::kSymbol || v.space != Space::kLocal) Fail(s, "an argument not in memory");
  Inst load = Begin(s);
  load.fn = LoadLocal;
  load.bytes = 8;
  load.address64 = 1;
  load.r[0] = registers_.New(true);
  load.r[1] = registers_.Constant(v.value, true);
  Push(load, s.text);
  return load.r[0];
}

}  // namespace ptx
