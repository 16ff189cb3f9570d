// Products of small matrices by a warp: mma.sync. Sums are exact f32 (or integers) in order of k;
// devices sum in an order of their own.
#include <bit>

#include "encoder.h"
#include "lanewise.h"
#include "memory_ops.h"

namespace ptx {
namespace {

constexpr int kRows = 16, kColumns = 8;

// How an element of a or b is stored: kPerWord in a register.
struct AsF16 {
  using Number = float;
  static constexpr int kPerWord = 2;
  static Number Get(u32 word, int n) { return FromF16(word >> 16 * n & 0xffff); }
};
struct AsBf16 {
  using Number = float;
  static constexpr int kPerWord = 2;
  static Number Get(u32 word, int n) { return FromBf16(word >> 16 * n & 0xffff); }
};
struct AsTf32 {
  using Number = float;
  static constexpr int kPerWord = 1;
  static Number Get(u32 word, int) { return F32(word & 0xffffe000); }
};
template <class T>
struct AsByte {
  using Number = i32;
  static constexpr int kPerWord = 4;
  static Number Get(u32 word, int n) { return static_cast<T>(word >> 8 * n); }
};

inline float MultiplyAdd(float a, float b, float c) { return std::fma(a, b, c); }
inline i32 MultiplyAdd(i32 a, i32 b, i32 c) {
  return static_cast<i32>(static_cast<u32>(a) * static_cast<u32>(b) + static_cast<u32>(c));
}

// Registers by the fragments' layout: lane l has rows l/4 and l/4+8 of a, column l/4 of b; a word
// of it kPerWord neighbours in k, words that follow are half of kWidth apart in k.
template <class A, class B, int kDepth>
struct Product {
  using Number = typename A::Number;
  static constexpr int kPer = A::kPerWord;
  static constexpr int kSpan = 4 * kPer;         // of k in the words of one column of lanes
  static constexpr int kSteps = kDepth / kSpan;  // such words of a lane's row
  static constexpr int kWordsA = 2 * kSteps, kWordsB = kSteps;

  static void Multiply(Warp& w, const Inst& i, u32 first, Number (&c)[kRows][kColumns]) {
    Number a[kRows][kDepth], b[kDepth][kColumns];
    for (int l = 0; l < kLanes; ++l) {
      const int g = l / 4, q = l % 4 * kPer;
      for (int x = 0; x < kWordsA; ++x) {
        const u32 word = w.w(i.r[first + x])[l];
        for (int n = 0; n < kPer; ++n) a[g + x % 2 * 8][q + x / 2 * kSpan + n] = A::Get(word, n);
      }
      for (int x = 0; x < kWordsB; ++x) {
        const u32 word = w.w(i.r[first + kWordsA + x])[l];
        for (int n = 0; n < kPer; ++n) b[q + x * kSpan + n][g] = B::Get(word, n);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int k = 0; k < kDepth; ++k) {
        for (int n = 0; n < kColumns; ++n) c[r][n] = MultiplyAdd(a[r][k], b[k][n], c[r][n]);
      }
    }
  }
};

void WantWholeWarp(Warp& w, const Inst& i, u32 m) {
  if (m != kAll) throw Error("mma by part of a warp: " + Where(*w.block, i, w.first_thread));
}

// r: d, a, b, c; sums of 32 bits, four registers each
template <class P>
void Mma(Warp& w, const Inst& i, u32 m) {
  using Number = typename P::Number;
  WantWholeWarp(w, i, m);
  constexpr u32 kA = 4, kC = kA + P::kWordsA + P::kWordsB;
  Number c[kRows][kColumns];
  for (int l = 0; l < kLanes; ++l) {
    for (int x = 0; x < 4; ++x) {
      c[l / 4 + x / 2 * 8][l % 4 * 2 + x % 2] = w.at<Number>(i.r[kC + x])[l];
    }
  }
  P::Multiply(w, i, kA, c);
  for (int l = 0; l < kLanes; ++l) {
    for (int x = 0; x < 4; ++x) {
      w.at<Number>(i.r[x])[l] = c[l / 4 + x / 2 * 8][l % 4 * 2 + x % 2];
    }
  }
  ++w.block->counters.mma;
}

// The same with f16 sums, two of them in a register.
template <class P>
void MmaHalf(Warp& w, const Inst& i, u32 m) {
  WantWholeWarp(w, i, m);
  constexpr u32 kA = 2, kC = kA + P::kWordsA + P::kWordsB;
  float c[kRows][kColumns];
  for (int l = 0; l < kLanes; ++l) {
    for (int x = 0; x < 4; ++x) {
      c[l / 4 + x / 2 * 8][l % 4 * 2 + x % 2] =
          FromF16(w.w(i.r[kC + x / 2])[l] >> 16 * (x % 2) & 0xffff);
    }
  }
  P::Multiply(w, i, kA, c);
  for (int l = 0; l < kLanes; ++l) {
    for (int x = 0; x < 2; ++x) {
      const float* pair = &c[l / 4 + x * 8][l % 4 * 2];
      w.w(i.r[x])[l] = ToF16(pair[1]) << 16 | ToF16(pair[0]);
    }
  }
  ++w.block->counters.mma;
}

struct Shape {
  Fn fn = nullptr;
  size_t d = 4, a = 0, b = 0;
};
template <class P>
Shape FullShape() {
  return {Mma<P>, 4, P::kWordsA, P::kWordsB};
}
template <class P>
Shape HalfShape() {
  return {MmaHalf<P>, 2, P::kWordsA, P::kWordsB};
}

template <int kDepth>
Shape ByteShape(bool a_signed, bool b_signed) {
  if (a_signed && b_signed) return FullShape<Product<AsByte<i8>, AsByte<i8>, kDepth>>();
  if (a_signed) return FullShape<Product<AsByte<i8>, AsByte<u8>, kDepth>>();
  if (b_signed) return FullShape<Product<AsByte<u8>, AsByte<i8>, kDepth>>();
  return FullShape<Product<AsByte<u8>, AsByte<u8>, kDepth>>();
}
// `shape`: m16n8k4, k8, k16, k32
Shape ShapeOf(int shape, Type d, Type a, Type b) {
  const bool bytes = (a == Type::kU8 || a == Type::kS8) && (b == Type::kU8 || b == Type::kS8);
  if (bytes && d == Type::kS32) {
    if (shape == 2) return ByteShape<16>(a == Type::kS8, b == Type::kS8);
    if (shape == 3) return ByteShape<32>(a == Type::kS8, b == Type::kS8);
    return {};
  }
  if (a != b) return {};
  if (d == Type::kF16 && a == Type::kF16) {
    if (shape == 1) return HalfShape<Product<AsF16, AsF16, 8>>();
    if (shape == 2) return HalfShape<Product<AsF16, AsF16, 16>>();
    return {};
  }
  if (d != Type::kF32) return {};
  if (a == Type::kF16 && shape == 1) return FullShape<Product<AsF16, AsF16, 8>>();
  if (a == Type::kF16 && shape == 2) return FullShape<Product<AsF16, AsF16, 16>>();
  if (a == Type::kBf16 && shape == 1) return FullShape<Product<AsBf16, AsBf16, 8>>();
  if (a == Type::kBf16 && shape == 2) return FullShape<Product<AsBf16, AsBf16, 16>>();
  if (a == Type::kTf32 && shape == 0) return FullShape<Product<AsTf32, AsTf32, 4>>();
  if (a == Type::kTf32 && shape == 1) return FullShape<Product<AsTf32, AsTf32, 8>>();
  return {};
}

void EncodeMma(Encoder& e) {
  if (!e.Take("sync") || !e.Take("aligned")) e.Refuse();
  const int shape = e.Need({"m16n8k4", "m16n8k8", "m16n8k16", "m16n8k32"});
  if (!e.Take("row") || !e.Take("col")) e.Refuse();
  const Type d = e.TakeType(), a = e.TakeType(), b = e.TakeType(), c = e.TakeType();
  const Shape s = ShapeOf(shape, d, a, b);
  if (s.fn == nullptr || c != d) e.Refuse();
  e.Want(4);
  const size_t sizes[] = {s.d, s.a, s.b, s.d};
  size_t n = 0;
  for (size_t o = 0; o < 4; ++o) {
    const std::vector<Value> parts = e.Parts(o);
    if (parts.size() != sizes[o]) e.Refuse();
    for (const Value& part : parts) e.inst.r[n++] = e.Use(part, 4);
  }
  e.inst.kind = Kind::kCollective;
  e.inst.members = e.assembler().registers().Constant(kAll, false);
  e.inst.fn = s.fn;
}

}  // namespace

std::span<const Opcode> MatrixOpcodes() {
  static constexpr Opcode kOpcodes[] = {{"mma", EncodeMma}};
  return kOpcodes;
}

}  // namespace ptx
