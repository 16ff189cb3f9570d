#include "model/checkpoint/config_limits.h"

#include "absl/strings/str_cat.h"

namespace peerage {

absl::Status CheckHeads(const ModelConfig& config, const HeadKeys& keys) {
  if (config.num_heads % config.num_kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(keys.num_kv_heads, " is ", config.num_kv_heads,
                                                   ", not a divisor of ", keys.num_heads, " ",
                                                   config.num_heads));
  }
  if (config.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(keys.head_dim, " is ", config.head_dim, ", not an even number"));
  }
  return absl::OkStatus();
}

}  // namespace peerage
