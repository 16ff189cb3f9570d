// One instruction on its way from syntax to its decoded form; the families of opcodes read it.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "assembler.h"
#include "program.h"
#include "types.h"

namespace ptx {

class Encoder {
 public:
  Encoder(Assembler& assembler, const Statement& statement, const Inst& begun);
  // Finds the opcode in the families' tables, lets it encode, and refuses modifiers that it left.
  void Run();

  Inst inst;

  // Modifiers: each is taken by who knows it. An opcode's name is its first part.
  const std::string& opcode() const { return opcode_; }
  bool Take(std::string_view modifier);
  int TakeOne(std::initializer_list<std::string_view> modifiers);  // its index, or -1
  int Need(std::initializer_list<std::string_view> modifiers);     // or refuses
  Type TakeType();                                                 // the first that is there

  // Operands.
  size_t count() const { return values_.size(); }
  const Value& at(size_t n) const { return values_[n]; }
  bool pair() const { return statement_.pair; }  // the first two are d|p
  void Want(size_t n) const;
  void DropLast() { values_.pop_back(); }
  std::vector<Value> Parts(size_t n) const;  // of a vector; of anything else itself
  u64 Number(size_t n) const;                // of a constant
  // The register of an operand of so many bytes.
  u32 Use(size_t n, int bytes) { return Use(values_[n], bytes); }
  u32 Use(const Value& value, int bytes);
  u32 UsePredicate(size_t n) { return UsePredicate(values_[n]); }
  u32 UsePredicate(const Value& value);  // of a negated or constant one: a new register
  // Address operand: its base; sets inst.offset and inst.address64.
  u32 UseAddress(size_t n);
  Assembler& assembler() { return assembler_; }

  void Set(Fn fn, std::initializer_list<u32> registers);
  void Same(Fn fn, size_t n, int bytes);  // n operands of the same width
  [[noreturn]] void Refuse(const std::string& why = "not supported") const;

 private:
  Assembler& assembler_;
  const Statement& statement_;
  std::string opcode_;
  std::vector<std::string> modifiers_;
  std::vector<Value> values_;
};

// The opcodes of a family.
struct Opcode {
  std::string_view name;
  void (*encode)(Encoder&);
};
std::span<const Opcode> IntegerOpcodes();
std::span<const Opcode> BitOpcodes();
std::span<const Opcode> FloatOpcodes();
std::span<const Opcode> CompareOpcodes();
std::span<const Opcode> ConvertOpcodes();
std::span<const Opcode> MoveOpcodes();
std::span<const Opcode> MemoryOpcodes();
std::span<const Opcode> ControlOpcodes();
std::span<const Opcode> WarpOpcodes();
std::span<const Opcode> MatrixOpcodes();

// Opcodes that integers and floats share: add, sub, mul, fma, min, max, abs, neg, div.
void EncodeIntegerArithmetic(Encoder& e, Type type);
void EncodeFloatArithmetic(Encoder& e, Type type);

}  // namespace ptx
