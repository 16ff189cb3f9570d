#include "types.h"

#include <iterator>

namespace ptx {
namespace {

struct Row {
  std::string_view name;
  int bytes;
};
constexpr Row kRows[] = {{"", 0},       {"u8", 1},     {"u16", 2},  {"u32", 4},   {"u64", 8},
                         {"s8", 1},     {"s16", 2},    {"s32", 4},  {"s64", 8},   {"b8", 1},
                         {"b16", 2},    {"b32", 4},    {"b64", 8},  {"f16", 2},   {"bf16", 2},
                         {"f32", 4},    {"f64", 8},    {"tf32", 4}, {"f16x2", 4}, {"bf16x2", 4},
                         {"e4m3x2", 2}, {"e5m2x2", 2}, {"pred", 1}};

}  // namespace

Type TypeNamed(std::string_view name) {
  for (size_t i = 1; i < std::size(kRows); ++i) {
    if (kRows[i].name == name) return static_cast<Type>(i);
  }
  return Type::kNone;
}

int SizeOf(Type type) { return kRows[static_cast<size_t>(type)].bytes; }

}  // namespace ptx
