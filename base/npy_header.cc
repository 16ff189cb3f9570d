#include "base/npy_header.h"

#include "absl/strings/str_cat.h"
#include "base/little_endian.h"

namespace peerage {

std::string NpyHeader(absl::string_view descr, absl::string_view shape) {
  std::string header =
      absl::StrCat("{'descr': ", descr, ", 'fortran_order': False, 'shape': ", shape, ", }");
  constexpr size_t kBefore = 10;  // magic, version, length
  header.append(63 - (kBefore + header.size()) % 64, ' ');
  header += '\n';
  return absl::StrCat("\x93NUMPY", absl::string_view("\x01\x00", 2),
                      LittleEndianBytes(static_cast<uint16_t>(header.size())), header);
}

}  // namespace peerage
