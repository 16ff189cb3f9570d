#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/identity/permissions.h"

namespace peerage {

// Who may do what. Threads: immutable.
class Policy {
 public:
  // Reads JSON:
  //   {"principals": {"alice": {"methods": ["peerage.v1.InferenceService/*"], "models": ["*"],
  //                             "priorities": [0, 100], "tenants": ["alice"], "traces": "none",
  //                             "hidden_states": false, "expert_control": false,
  //                             "requests_per_second": 10, "tokens_per_second": 5000,
  //                             "concurrency": 8},
  //                   "anonymous": {"methods": ["grpc.health.v1.Health/*"]}}}
  // "anonymous" is whoever shows nothing, "*" everybody known who is not named. Whoever has no
  // entry may do nothing; keys that are left out get the defaults of Permissions, "models" all of
  // them and "tenants" the principal's name.
  // `known_methods` is what patterns are held against: one that fits none of them is an error.
  // A pattern with * does not cover the methods that change the server for all: they are to be
  // named.
  // INVALID_ARGUMENT names the key; for what is no JSON, the place.
  static absl::StatusOr<Policy> Parse(absl::string_view text,
                                      const std::vector<std::string>& known_methods);

  // Without a file: everybody known may do everything that a * covers, at any limit.
  static Policy OfKnown(const std::vector<std::string>& known_methods);

  // The permissions of an authenticated principal, or of kAnonymous; nullptr for none.
  std::shared_ptr<const Permissions> Find(const std::string& principal) const;

 private:
  std::map<std::string, std::shared_ptr<const Permissions>> entries_;
};

}  // namespace peerage
