#include "assembler.h"

#include <algorithm>

#include "encoder.h"
#include "special_registers.h"

namespace ptx {
namespace {

constexpr u32 kRedZone = 32;
constexpr char kReturn[] = "the end of the function";

u32 Align(u32 x, u32 a) { return (x + a - 1) / a * a; }

}  // namespace

void Assembler::Run() {
  FunctionSyntax& entry = syntax_.functions.at(kernel_.name);
  frames_.emplace_back();
  frame().function = entry.name;
  for (size_t i = 0; i < entry.parameters.size(); ++i) {
    Value v;
    v.kind = Value::kSymbol;
    v.space = Space::kParameter;
    v.value = kernel_.parameters[i].offset;
    frame().scopes[0][entry.parameters[i].name] = v;
  }
  Body(entry);
  Inst end;
  end.kind = Kind::kExit;
  Push(end, "end");
  registers_.Place(kernel_, Align(kernel_.static_shared, 16));
  kernel_.decoded = true;
}

void Assembler::Fail(const Statement& s, const std::string& what) {
  throw Error("PTX line " + std::to_string(s.line) + ": " + what +
              (s.text.empty() ? "" : ": " + s.text));
}

// Into the frame on top.
void Assembler::Body(FunctionSyntax& function) {
  for (const Statement& s : function.Body()) One(s);
  frame().labels[kReturn] = static_cast<i32>(kernel_.code.size());
  ResolveLabels();
}

void Assembler::One(const Statement& s) {
  switch (s.kind) {
    case Statement::kOpen:
      frame().scopes.emplace_back();
      return;
    case Statement::kClose:
      if (frame().scopes.size() > 1) frame().scopes.pop_back();
      return;
    case Statement::kRegisters:
      return DeclareRegisters(s);
    case Statement::kVariable:
      return DeclareVariable(s.declarations[0]);
    case Statement::kTargets:
      frame().tables.emplace_back(s.name, std::vector<std::string>());
      for (const Operand& o : s.operands) frame().tables.back().second.push_back(o.name);
      return;
    case Statement::kLabel:
      if (!frame().labels.try_emplace(s.name, static_cast<i32>(kernel_.code.size())).second) {
        Fail(s, "label " + s.name + " is there twice");
      }
      return;
    case Statement::kInstruction:
      return Instruction(s);
  }
}

void Assembler::DeclareRegisters(const Statement& s) {
  for (const Declaration& d : s.declarations) {
    Value v;
    v.kind = Value::kRegister;
    v.predicate = d.type == Type::kPred;
    v.wide = SizeOf(d.type) == 8;
    for (int i = 0; i < std::max(d.registers, 1); ++i) {
      v.reg = v.predicate ? registers_.NewPredicate() : registers_.New(v.wide);
      frame().scopes.back()[d.registers < 0 ? d.name : d.name + std::to_string(i)] = v;
    }
  }
}

void Assembler::DeclareVariable(const Declaration& d) {
  if (d.space == Space::kShared) {
    frame().scopes.back()[d.name] = SharedVariable(d);
  } else if (d.space == Space::kLocal || d.space == Space::kParameter) {
    frame().scopes.back()[d.name] = LocalVariable(d);
  } else {
    throw Error("PTX line " + std::to_string(d.line) + ": a variable in a function: " + d.name);
  }
}

// The same for every call of the function that has it.
Value Assembler::SharedVariable(const Declaration& d) {
  const auto [it, is_new] = shared_.try_emplace(d.name);
  if (!is_new) return it->second;
  Value& v = it->second;
  v.kind = Value::kSymbol;
  v.space = Space::kShared;
  v.dynamic = d.count == 0;
  if (v.dynamic) return v;
  kernel_.static_shared = Align(kernel_.static_shared, std::max(d.align, 16u));
  v.value = kernel_.static_shared;
  kernel_.static_shared = Align(kernel_.static_shared + static_cast<u32>(d.bytes()), 4);
  kernel_.red_zones.push_back(kernel_.static_shared);
  kernel_.static_shared += kRedZone;
  return v;
}

// Arguments and results of calls too: a thread has them for itself.
Value Assembler::LocalVariable(const Declaration& d) {
  Value v;
  v.kind = Value::kSymbol;
  v.space = Space::kLocal;
  kernel_.local_bytes = Align(kernel_.local_bytes, std::max(d.align, 8u));
  v.value = kernel_.local_bytes;
  kernel_.local_bytes += static_cast<u32>(d.bytes());
  return v;
}

void Assembler::ResolveLabels() {
  const auto find = [&](const std::string& label) {
    const auto found = frame().labels.find(label);
    if (found == frame().labels.end()) throw Error("unknown label " + label);
    return found->second;
  };
  for (const auto& [at, label] : frame().jumps) kernel_.code[at].target = find(label);
  for (const auto& [name, index] : frame().table_index) {
    const auto table = std::find_if(frame().tables.begin(), frame().tables.end(),
                                    [&](const auto& t) { return t.first == name; });
    if (table == frame().tables.end()) throw Error("unknown table of labels " + name);
    for (const std::string& label : table->second) kernel_.tables[index].push_back(find(label));
  }
}

void Assembler::Push(const Inst& inst, const std::string& text) {
  kernel_.code.push_back(inst);
  kernel_.text.push_back(text);
}

void Assembler::JumpTo(const std::string& label) {
  frame().jumps.emplace_back(kernel_.code.size(), label);
}

u32 Assembler::Table(const std::string& name) {
  const auto [it, is_new] =
      frame().table_index.try_emplace(name, static_cast<u32>(kernel_.tables.size()));
  if (is_new) kernel_.tables.emplace_back();
  return it->second;
}

// ---- instructions

Inst Assembler::Begin(const Statement& s) {
  Inst inst;
  inst.number = s.line;
  inst.line = s.source;
  if (s.guard.empty()) return inst;
  const Value* guard = FindName(s.guard);
  if (guard == nullptr || !guard->predicate) Fail(s, "guard " + s.guard);
  inst.guard = guard->reg;
  inst.negated = s.guard_negated;
  return inst;
}

void Assembler::Instruction(const Statement& s) {
  const std::string base = s.name.substr(0, s.name.find('.'));
  if (base == "ret") return Return(s);
  if (base == "call") return Call(s);
  Encoder(*this, s, Begin(s)).Run();
}

void Assembler::Return(const Statement& s) {
  if (s.name != "ret" && s.name != "ret.uni") Fail(s, "not supported");
  Inst inst = Begin(s);
  inst.kind = IsInFunction() ? Kind::kBranch : Kind::kExit;
  if (IsInFunction()) JumpTo(kReturn);
  Push(inst, s.text);
}

// ---- names

const Value* Assembler::FindName(const std::string& name) const {
  const Frame& f = frames_.back();
  for (auto scope = f.scopes.rbegin(); scope != f.scopes.rend(); ++scope) {
    if (const auto found = scope->find(name); found != scope->end()) return &found->second;
  }
  return nullptr;
}

Value Assembler::Resolve(const Operand& operand) {
  Value v;
  switch (operand.kind) {
    case Operand::kSink:
      return v;
    case Operand::kNumber:
      v.kind = Value::kConstant;
      v.value = operand.value;
      return v;
    case Operand::kVector:
      v.kind = Value::kVector;
      for (const Operand& part : operand.parts) v.parts.push_back(Resolve(part));
      return v;
    case Operand::kAddress:
      return ResolveAddress(operand);
    case Operand::kName:
      v = ResolveName(operand);
      v.negated = operand.negated;
      return v;
  }
  return v;
}

Value Assembler::ResolveName(const Operand& operand) {
  const std::string& name = operand.name;
  Value v;
  if (const Value* found = FindName(name)) {
    v = *found;
  } else if (const auto* special = std::find(std::begin(kSpecials), std::end(kSpecials), name);
             special != std::end(kSpecials)) {
    v.kind = Value::kRegister;
    v.reg = registers_.Special(static_cast<int>(special - std::begin(kSpecials)));
  } else if (name == "WARP_SZ") {
    v.kind = Value::kConstant;
    v.value = 32;
  } else if (name[0] == '%') {
    throw Error("unknown register " + name);
  } else if (const auto shared = syntax_.shared.find(name); shared != syntax_.shared.end()) {
    v = SharedVariable(shared->second);
  } else if (const auto global = module_.globals().find(name); global != module_.globals().end()) {
    v.kind = Value::kSymbol;
    v.space = syntax_.variables.at(name).space;
    v.value = global->second;
  } else {
    v.kind = Value::kLabel;
    v.name = name;
  }
  if (operand.offset != 0 && (v.kind != Value::kSymbol || v.dynamic)) {
    throw Error("a sum of " + name + " and a number");
  }
  v.value += static_cast<u64>(operand.offset);
  return v;
}

Value Assembler::ResolveAddress(const Operand& operand) {
  Value v;
  v.kind = Value::kAddress;
  v.value = operand.value;
  v.offset = operand.offset;
  if (operand.name.empty()) return v;
  Operand name;
  name.kind = Operand::kName;
  name.name = operand.name;
  const Value base = ResolveName(name);
  if (base.kind == Value::kLabel || base.predicate) throw Error("unknown address " + operand.name);
  v.reg = base.kind == Value::kRegister ? base.reg : kNone;
  v.wide = base.wide;
  v.space = base.space;
  v.dynamic = base.dynamic;
  v.value = base.value;
  return v;
}

}  // namespace ptx
