// PTX's types.
#pragma once

#include <string_view>

#include "memory.h"

namespace ptx {

enum class Type : u8 {
  kNone,
  kU8,
  kU16,
  kU32,
  kU64,
  kS8,
  kS16,
  kS32,
  kS64,
  kB8,
  kB16,
  kB32,
  kB64,
  kF16,
  kBf16,
  kF32,
  kF64,
  kTf32,
  kF16x2,
  kBf16x2,
  kE4m3x2,
  kE5m2x2,
  kPred,
};

Type TypeNamed(std::string_view name);  // kNone when it is no type
int SizeOf(Type type);                  // bytes; of a predicate 1
constexpr bool IsUnsigned(Type t) { return t >= Type::kU8 && t <= Type::kU64; }
constexpr bool IsSigned(Type t) { return t >= Type::kS8 && t <= Type::kS64; }
constexpr bool IsInteger(Type t) { return IsUnsigned(t) || IsSigned(t); }
constexpr bool IsBits(Type t) { return t >= Type::kB8 && t <= Type::kB64; }
constexpr bool IsFloat(Type t) { return t >= Type::kF16 && t <= Type::kF64; }
// b16 as u16 and so on: for operations that do not care.
constexpr Type BitsAsUnsigned(Type t) {
  return IsBits(t) ? static_cast<Type>(static_cast<u8>(t) - 8) : t;
}

}  // namespace ptx
