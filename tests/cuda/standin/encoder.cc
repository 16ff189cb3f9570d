#include "encoder.h"

#include <algorithm>
#include <unordered_map>

#include "lanewise.h"

namespace ptx {
namespace {

using Table = std::unordered_map<std::string_view, void (*)(Encoder&)>;

Table AllOpcodes() {
  Table table;
  for (const auto family :
       {IntegerOpcodes(), BitOpcodes(), FloatOpcodes(), CompareOpcodes(), ConvertOpcodes(),
        MoveOpcodes(), MemoryOpcodes(), ControlOpcodes(), WarpOpcodes(), MatrixOpcodes()}) {
    for (const Opcode& opcode : family) table.emplace(opcode.name, opcode.encode);
  }
  return table;
}

void NotPredicate(Warp& w, const Inst& i, u32 m) { SetMask(w, i.r[0], m, ~*w.w(i.r[1])); }
void ConstantPredicate(Warp& w, const Inst& i, u32 m) {
  SetMask(w, i.r[0], m, static_cast<u32>(i.offset));
}

}  // namespace

Encoder::Encoder(Assembler& assembler, const Statement& statement, const Inst& begun)
    : inst(begun), assembler_(assembler), statement_(statement) {
  const std::string& name = statement.name;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    modifiers_.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  opcode_ = modifiers_.front();
  modifiers_.erase(modifiers_.begin());
}

void Encoder::Run() {
  static const Table* const kTable = new Table(AllOpcodes());
  const auto found = kTable->find(opcode_);
  if (found == kTable->end()) Refuse();
  try {
    for (const Operand& o : statement_.operands) values_.push_back(assembler_.Resolve(o));
  } catch (const Error& e) {
    Refuse(e.what());
  }
  found->second(*this);
  if (!modifiers_.empty()) Refuse("modifier ." + modifiers_.front() + " is not supported");
  assembler_.Push(inst, statement_.text);
}

bool Encoder::Take(std::string_view modifier) {
  const auto found = std::find(modifiers_.begin(), modifiers_.end(), modifier);
  if (found == modifiers_.end()) return false;
  modifiers_.erase(found);
  return true;
}

int Encoder::TakeOne(std::initializer_list<std::string_view> modifiers) {
  int index = 0;
  for (const std::string_view modifier : modifiers) {
    if (Take(modifier)) return index;
    ++index;
  }
  return -1;
}

int Encoder::Need(std::initializer_list<std::string_view> modifiers) {
  const int index = TakeOne(modifiers);
  if (index < 0) Refuse();
  return index;
}

Type Encoder::TakeType() {
  for (const std::string& modifier : modifiers_) {
    const Type type = TypeNamed(modifier);
    if (type == Type::kNone) continue;
    Take(modifier);
    return type;
  }
  return Type::kNone;
}

void Encoder::Want(size_t n) const {
  if (values_.size() != n) Refuse();
}

std::vector<Value> Encoder::Parts(size_t n) const {
  return values_[n].kind == Value::kVector ? values_[n].parts : std::vector<Value>{values_[n]};
}

u64 Encoder::Number(size_t n) const {
  if (values_[n].kind != Value::kConstant) Refuse("a number is wanted");
  return values_[n].value;
}

u32 Encoder::Use(const Value& value, int bytes) {
  const bool wide = bytes == 8;
  if (value.negated) Refuse();
  switch (value.kind) {
    case Value::kRegister:
      if (value.predicate || value.wide != wide) Refuse("a register of another width");
      return value.reg;
    case Value::kConstant:
    case Value::kSymbol:
      if (value.dynamic) return assembler_.registers().DynamicShared(wide);
      return assembler_.registers().Constant(wide ? value.value : value.value & 0xffffffff, wide);
    case Value::kSink:
      return assembler_.registers().New(wide);
    default:
      Refuse("an operand");
  }
}

u32 Encoder::UsePredicate(const Value& value) {
  if (value.kind == Value::kSink) return assembler_.registers().NewPredicate();
  const bool is_constant = value.kind == Value::kConstant;
  if (!is_constant && (value.kind != Value::kRegister || !value.predicate)) {
    Refuse("a predicate is wanted");
  }
  if (!is_constant && !value.negated) return value.reg;
  Inst made = inst;
  made.fn = is_constant ? ConstantPredicate : NotPredicate;
  made.kind = Kind::kPlain;
  made.r.fill(kNone);
  made.members = kNone;
  made.r[0] = assembler_.registers().NewPredicate();
  if (is_constant) {
    made.offset = value.value != 0 ? -1 : 0;
  } else {
    made.r[1] = value.reg;
  }
  assembler_.Push(made, statement_.text);
  return made.r[0];
}

u32 Encoder::UseAddress(size_t n) {
  const Value& a = values_[n];
  if (a.kind != Value::kAddress) Refuse("an address is wanted");
  inst.offset = a.offset;
  inst.address64 = a.reg == kNone || a.wide;
  if (a.reg != kNone) return a.reg;
  if (a.dynamic) return assembler_.registers().DynamicShared(true);
  return assembler_.registers().Constant(a.value, true);
}

void Encoder::Set(Fn fn, std::initializer_list<u32> registers) {
  if (fn == nullptr) Refuse();
  inst.fn = fn;
  std::copy(registers.begin(), registers.end(), inst.r.begin());
}

void Encoder::Same(Fn fn, size_t n, int bytes) {
  Want(n);
  if (fn == nullptr) Refuse();
  inst.fn = fn;
  for (size_t i = 0; i < n; ++i) inst.r[i] = Use(i, bytes);
}

void Encoder::Refuse(const std::string& why) const {
  throw Error("PTX line " + std::to_string(statement_.line) + ": " + why + ": " + statement_.text);
}

}  // namespace ptx
