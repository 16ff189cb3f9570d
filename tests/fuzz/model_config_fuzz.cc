// Any text is a config or an error that says why; never a crash.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const auto config =
      peerage::ParseModelConfig(std::string_view(reinterpret_cast<const char*>(bytes), size));
  if (!config.ok() && config.status().message().empty()) __builtin_trap();
  return 0;
}
