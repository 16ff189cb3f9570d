#include "client/npy_file.h"

#include <bit>
#include <vector>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

void AppendDoubles(const std::vector<double>& values, std::string& bytes) {
  static_assert(std::endian::native == std::endian::little);
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
}

}  // namespace

std::string ToNpy(const ExpertUsage& usage) {
  std::string header = absl::StrCat("{'descr': '<f8', 'fortran_order': False, 'shape': (2, ",
                                    usage.selections.size(), "), }");
  constexpr size_t kBefore = 10;  // magic, version, length
  header.append(63 - (kBefore + header.size()) % 64, ' ');
  header += '\n';
  std::string bytes = "\x93NUMPY";
  bytes += {'\x01', '\x00', static_cast<char>(header.size() & 0xFF),
            static_cast<char>(header.size() >> 8)};
  bytes += header;
  AppendDoubles({usage.selections.begin(), usage.selections.end()}, bytes);
  AppendDoubles(usage.score_sums, bytes);
  return bytes;
}

}  // namespace peerage
