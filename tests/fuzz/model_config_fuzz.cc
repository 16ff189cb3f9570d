#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "model/model_config.h"

// Every value of an accepted config is in range.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::vector<std::string> ignored;
  const auto config = peerage::ParseModelConfig(
      std::string_view(reinterpret_cast<const char*>(bytes), size), &ignored);
  if (!config.ok()) return 0;
  const bool in_range = config->vocab_size > 0 && config->hidden_size > 0 && config->head_dim > 0 &&
                        config->head_dim % 2 == 0 && config->num_kv_heads > 0 &&
                        config->num_heads % config->num_kv_heads == 0 &&
                        config->max_positions > 0 && std::isfinite(config->norm_eps) &&
                        config->norm_eps > 0 && std::isfinite(config->rope_theta) &&
                        config->rope_theta > 0 && !config->layers.empty();
  if (!in_range) std::abort();
  for (const peerage::LayerConfig& layer : config->layers) {
    if (layer.ffn.empty() || layer.ffn[0].intermediate_size <= 0) std::abort();
  }
  return 0;
}
