#include "server/identity/identity_files.h"

#include "base/error_text.h"
#include "base/status_macros.h"
#include "server/identity/watched_files.h"

namespace peerage {

absl::StatusOr<Identities> ReadIdentities(const IdentityFiles& files,
                                          const std::vector<std::string>& known_methods) {
  Identities identities{.policy = Policy::OfKnown(known_methods)};
  if (!files.tokens.empty()) {
    ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(files.tokens));
    ASSIGN_OR_RETURN(identities.tokens, At(files.tokens, BearerTokens::Parse(text)));
  }
  if (!files.policy.empty()) {
    ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(files.policy));
    ASSIGN_OR_RETURN(identities.policy, At(files.policy, Policy::Parse(text, known_methods)));
  }
  return identities;
}

}  // namespace peerage
