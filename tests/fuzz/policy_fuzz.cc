// Any text as a policy: it is refused, or says of everybody what can be asked of it.
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "server/identity/policy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto policy = peerage::Policy::Parse(
      text, {"grpc.health.v1.Health/Check", "peerage.v1.AdminService/Drain", "peerage.v1.A/B"});
  if (!policy.ok()) return 0;
  for (const char* name : {"alice", "anonymous", "*", ""}) {
    const auto permissions = policy->Find(name);
    if (permissions == nullptr) continue;
    if (permissions->first_priority > permissions->last_priority) __builtin_trap();
    if (permissions->requests_per_second.value_or(1) <= 0) __builtin_trap();
    if (permissions->tokens_per_second.value_or(1) <= 0) __builtin_trap();
    if (permissions->concurrency.value_or(1) < 1) __builtin_trap();
  }
  return 0;
}
