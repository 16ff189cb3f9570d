#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/identity/authorizer.h"

namespace peerage {

// The files that say who may call; an empty path is none.
struct IdentityFiles {
  std::string tokens;
  std::string policy;

  bool given() const { return !tokens.empty() || !policy.empty(); }
};

// What the files say. Without tokens nobody is known by one; without a policy everybody known may
// do what Policy::OfKnown says. Errors name the file and the line or key.
absl::StatusOr<Identities> ReadIdentities(const IdentityFiles& files,
                                          const std::vector<std::string>& known_methods);

}  // namespace peerage
