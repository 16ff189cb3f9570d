#include "ptx_test/opcode_case.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <map>

#include "ptx_test/machine.h"

namespace ptx {
namespace {

int BytesOf(const std::string& type) {
  if (type.ends_with("x2")) return type.starts_with("e") ? 2 : 4;
  return std::atoi(type.c_str() + type.find_first_of("123468")) / 8;
}

std::vector<u64> Integers(int bits) {
  const u64 all = bits == 64 ? ~u64{0} : (u64{1} << bits) - 1, top = u64{1} << (bits - 1);
  return {0,       1,          2,           3,
          7,       31,         32,          33,
          63,      64,         100,         top - 1,
          top,     top + 1,    all,         all - 1,
          all - 6, all / 3,    all / 3 * 2, 0x1234567890abcdefULL & all,
          127,     0x80 & all, 255,         0xfedcba9876543210ULL & all};
}

std::vector<u64> Floats(const std::vector<float>& values) {
  std::vector<u64> bits;
  for (const float f : values) bits.push_back(B(f));
  return bits;
}

const std::vector<float> kFloats = {0.0f,
                                    -0.0f,
                                    1.0f,
                                    -1.0f,
                                    1.5f,
                                    2.5f,
                                    -2.5f,
                                    0.5f,
                                    -0.5f,
                                    3.5f,
                                    0.1f,
                                    -7.75f,
                                    255.5f,
                                    256.0f,
                                    65504.0f,
                                    65520.0f,
                                    1e10f,
                                    -3e9f,
                                    2147483648.0f,
                                    4294967296.0f,
                                    1e20f,
                                    -1e20f,
                                    448.0f,
                                    464.0f,
                                    16777217.0f,
                                    1e-10f,
                                    0x1p-126f,
                                    0x1p-149f,
                                    -0x1p-149f,
                                    0x1.fffffcp-127f,
                                    0x1.fffffep127f,
                                    -0x1.fffffep127f,
                                    0x1.000002p0f,
                                    0x1.008p0f,
                                    0x1.018p0f,
                                    0x1.01p0f,
                                    0x1.03p0f,
                                    6e-8f,
                                    2.9e-8f,
                                    0.001953125f,
                                    0.0029296875f,
                                    INFINITY,
                                    -INFINITY,
                                    NAN};

std::vector<u64> Doubles() {
  std::vector<u64> bits;
  for (const float f : kFloats) bits.push_back(B(static_cast<double>(f)));
  for (const double d : {0x1p-1074, -0x1p-1022, 0x1.fffffffffffffp1023, 0.1, 9007199254740993.0,
                         9.3e18, -9.3e18, 1.8446744073709552e19, 0x1.0000001p0, 1e-40}) {
    bits.push_back(B(d));
  }
  return bits;
}

// Registers hold at least 16 bits; memory holds what the type has.
std::string Load(const std::string& name, const std::string& type, int parameter) {
  const int bytes = BytesOf(type);
  const std::string access = type[0] == 's' ? "s" : "u", n = std::to_string(parameter);
  return ".reg .b" + std::to_string(bytes == 1 ? 16 : 8 * bytes) + " %" + name + ";\n" +
         "mad.wide.u32 %x1, %t, " + std::to_string(bytes) + ", %p" + n + ";\n" + "ld.global." +
         access + std::to_string(8 * bytes) + " %" + name + ", [%x1];\n";
}

bool IsNan(const std::string& type, u64 bits) {
  if (type == "f32") return std::isnan(F(bits));
  if (type == "f64") return std::isnan(D(bits));
  if (type == "f16") return (bits & 0x7fff) > 0x7c00;
  return type == "bf16" && (bits & 0x7fff) > 0x7f80;
}
bool Same(const OpcodeCase& c, u64 got, u64 want) {
  if (got == want || (IsNan(c.result, got) && IsNan(c.result, want))) return true;
  if (c.result == "f16x2" || c.result == "bf16x2") {
    const std::string half = c.result.substr(0, c.result.size() - 2);
    const auto same = [&](u64 x, u64 y) { return x == y || (IsNan(half, x) && IsNan(half, y)); };
    return same(got & 0xffff, want & 0xffff) && same(got >> 16, want >> 16);
  }
  return c.tolerance > 0 && std::fabs(F(got) - F(want)) <= c.tolerance * std::fabs(F(want));
}

void Append(std::vector<u8>& bytes, u64 value, int size) {
  for (int i = 0; i < size; ++i) bytes.push_back(static_cast<u8>(value >> 8 * i));
}

}  // namespace

std::vector<u64> EdgeValues(const std::string& type) {
  if (type == "f32") return Floats(kFloats);
  if (type == "f64") return Doubles();
  if (type == "f16" || type == "bf16") {
    return {0,      0x8000, 1,      0x8001, 0x3c00, 0xbc00, 0x3f80, 0xbf80, 0x7bff, 0xfbff,
            0x7c00, 0xfc00, 0x7e00, 0x0400, 0x03ff, 0x3555, 0x4248, 0x5640, 0x7f7f, 0xff7f,
            0x7f80, 0xff80, 0x7fc0, 0x0080, 0x007f, 0x4049, 0x3dcd, 0xc2f7};
  }
  if (type == "f16x2")
    return {0x3c003c00, 0x80000000, 0x7bff0001, 0x7c00fc00, 0x7e003555, 0x42485640};
  if (type == "bf16x2")
    return {0x3f803f80, 0x80000000, 0x7f7f0001, 0x7f80ff80, 0x7fc03dcd, 0x40493f00};
  if (type == "e4m3x2" || type == "e5m2x2") {
    std::vector<u64> all;
    for (u64 x = 0; x < 256; ++x) all.push_back(x << 8 | (255 - x));
    return all;
  }
  return Integers(8 * BytesOf(type));
}

void Check(const OpcodeCase& c) {
  std::vector<std::vector<u64>> values;
  size_t n = 1;
  for (const std::string& type : c.operands) {
    values.push_back(EdgeValues(type));
    n *= values.back().size();
  }
  Machine machine;
  const int size = BytesOf(c.result);
  std::vector<u64> parameters = {machine.Allocate(n * static_cast<size_t>(size))};
  std::vector<std::vector<u64>> rows(n, std::vector<u64>(3, 0));
  std::string body = "mad.lo.u32 %t, %block, 128, %t;\nsetp.ge.u32 %q9, %t, " + std::to_string(n) +
                     ";\n@%q9 exit;\n.reg .b" + std::to_string(size == 1 ? 16 : 8 * size) +
                     " %d;\n";
  for (size_t o = 0; o < values.size(); ++o) {
    std::vector<u8> bytes;
    size_t stride = 1;
    for (size_t other = 0; other < o; ++other) stride *= values[other].size();
    for (size_t i = 0; i < n; ++i) {
      rows[i][o] = values[o][i / stride % values[o].size()];
      Append(bytes, rows[i][o], BytesOf(c.operands[o]));
    }
    parameters.push_back(machine.Upload(bytes));
    body +=
        Load(std::string(1, static_cast<char>('a' + o)), c.operands[o], static_cast<int>(o) + 1);
  }
  body += c.text + "\nmad.wide.u32 %x1, %t, " + std::to_string(size) + ", %p0;\nst.global.u" +
          std::to_string(8 * size) + " [%x1], %d;";
  const u32 blocks = static_cast<u32>((n + 127) / 128);
  const Outcome outcome = RunOnce(machine, {{blocks}, {128}, 0}, parameters, body);
  ASSERT_EQ(outcome.error, "") << c.text;
  EXPECT_TRUE(outcome.reports.empty()) << c.text << ": " << *outcome.reports.begin();
  const std::vector<u8> results = machine.Read<u8>(parameters[0], n * static_cast<size_t>(size));
  for (size_t i = 0; i < n; ++i) {
    u64 got = 0;
    std::memcpy(&got, results.data() + i * static_cast<size_t>(size), static_cast<size_t>(size));
    const u64 mask = size == 8 ? ~u64{0} : (u64{1} << 8 * size) - 1;
    const u64 want = c.host(rows[i][0], rows[i][1], rows[i][2]) & mask;
    ASSERT_TRUE(Same(c, got, want))
        << c.text << std::hex << " of " << rows[i][0] << ", " << rows[i][1] << ", " << rows[i][2]
        << " is " << got << " and not " << want;
  }
}

}  // namespace ptx
